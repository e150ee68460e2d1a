//! What every start method promises: one function per promise, told how to build a process.
//!
//! `contract!(spawn, builder; settings: some_case;)` makes a module `spawn` with one test per case, so that a further start
//! method or another mechanism below is one more line; behind the semicolon are cases that not all methods have. Invariants: every case runs under a watchdog, and waits for events only.

use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_process::{Builder, JoinError};

pub(crate) mod deaths;
pub(crate) mod domains;
pub(crate) mod endings;
pub(crate) mod exits;
pub(crate) mod failures;
pub(crate) mod handles;
pub(crate) mod panics;
pub(crate) mod refusals;
pub(crate) mod scopes;
pub(crate) mod settings;
pub(crate) mod surroundings;
pub(crate) mod tree;
pub(crate) mod values;
pub(crate) mod waiting;

/// How a case gets a process that is still to be started.
pub(crate) type Start = fn() -> Builder;

/// No wait below is meant to be as long as this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Our end and the child's end of a pipe to agree on who goes on.
pub(crate) fn gate() -> (Duplex<u8, u8>, Duplex<u8, u8>) {
    pipe().expect("a pipe")
}

/// A task that says that it runs, and returns what it is told next.
pub(crate) fn hold(gate: Duplex<u8, u8>) -> u8 {
    gate.send(&1).expect("the parent is there");
    gate.recv().expect("the parent says when to go on")
}

/// Waits until the child at the other end says that its task runs.
pub(crate) fn await_start(gate: &Duplex<u8, u8>) {
    assert_eq!(gate.recv_timeout(PATIENCE).expect("the child says that it runs"), 1);
}

/// The variant that an outcome must have.
macro_rules! expected {
    ($outcome:expr, $pattern:pat => $value:expr) => {
        match $outcome {
            $pattern => $value,
            other => panic!("not {}: {other:?}", stringify!($pattern)),
        }
    };
    ($outcome:expr, $pattern:pat) => {
        expected!($outcome, $pattern => ())
    };
}
pub(crate) use expected;

pub(crate) fn is_taken<T>(outcome: &Result<T, JoinError>) -> bool {
    matches!(outcome, Err(JoinError::AlreadyTaken { .. }))
}

/// One module of tests named `$method`, whose processes `$builder` makes. `$runner` runs each case.
macro_rules! contract {
    ($method:ident, $builder:expr; $($more:tt)*) => {
        crate::suite::contract! { @common procession_testkit::guarded, $method $builder; $($more)*
            // Of a child that has nothing of its parent's memory and descriptors but what it is given.
            handles: an_end_goes_as_argument;
            endings: detached_it_runs_on;
            refusals: garbage_on_the_channel garbage_that_looks_like_a_report;
            surroundings: no_descriptor_but_its_own;
        }
    };
    (@common $runner:expr, $method:ident $builder:expr; $($more:tt)*) => {
        crate::suite::contract! { @cases $runner, $method $builder; $($more)*
            values: a_value_comes_back a_unit_comes_back every_kind_of_function a_call_written_as_a_call
                five_mebibytes_both_ways a_large_result_waits_for_nobody nested_data sixteen_at_once
                statics_are_the_child_s_own children_of_children;
            handles: an_end_comes_as_result a_dead_child_closes_its_end
                descriptors_both_ways six_hundred_descriptors_both_ways an_end_that_was_sent_is_moved;
            failures: an_error_is_a_value an_error_taken_by_question_mark join_flat_gives_value_or_failure
                a_failure_has_its_sources backtraces_where_asked_for;
            panics: message_place_and_thread the_backtrace_names_the_function a_payload_that_is_no_text
                a_payload_that_panics_when_dropped a_panic_while_unwinding a_caught_panic_is_no_outcome
                a_panic_in_another_thread_is_no_outcome a_replaced_hook;
            deaths: exit_codes an_abort a_kill_from_inside a_memory_error a_stack_overflow
                stopped_and_then_killed asked_from_outside asking_the_dead an_interrupt_can_be_ignored
                threads_left_behind output_is_flushed;
            refusals: an_argument_that_does_not_encode an_argument_that_does_not_decode
                a_result_that_does_not_encode a_result_that_does_not_decode;
            waiting: joining_in_every_form waiting_leaves_the_value errors_are_taken_once_too
                one_of_many_gets_the_value any_number_may_ask_at_once alive_until_it_ends
                the_descriptor_is_readable_at_death names;
            endings: dropping_ends dropping_ends_one_that_ignores_sigterm dropping_after_the_end
                detached_after_the_end;
            scopes: a_scope_joins_all a_scope_gives_the_first_failure a_failure_that_was_joined_is_told_once
                a_panicking_block_ends_its_children;
            domains: the_domain_is_the_tree_s the_domain_comes_beside_everything_else
                the_domain_is_known_before_the_argument;
            tree: a_child_knows_its_place a_child_knows_its_parent active_children_are_those_that_run
                a_daemon_is_one_by_its_flag_alone daemons_of_a_scope_serve_it_to_its_end;
            settings: environment variables_that_cannot_be directory stdio_of_every_kind
                stdio_of_a_program_that_has_none a_noisy_child_is_joined niceness affinity resource_limits
                process_groups;
            exits: hooks_run_whichever_way_it_leaves a_hook_runs_once_or_not_at_all hooks_may_fail_and_add_hooks
                a_hook_without_end_costs_the_limit hooks_of_the_first_process hooks_of_a_tree
                children_are_ended_before_the_last_hooks thread_locals_are_dropped_first;
            surroundings: the_caller_s_surroundings_of_that_moment nothing_of_the_handshake_stays;
        }
    };
    (@cases $runner:expr, $method:ident $builder:expr; $($topic:ident: $($case:ident)*;)*) => {
        mod $method {
            $($(
                #[test]
                fn $case() {
                    // Also prepares the process, where the builder does that.
                    drop($builder());
                    $runner(|| crate::suite::$topic::$case($builder));
                }
            )*)*
        }
    };
}
pub(crate) use contract;
