//! What every kind of pool promises: one function per promise, told how to build a pool.
//!
//! `contract!(spawn, builder)` makes a module `spawn` with one test per case, so that a further start method or another
//! implementation is one more line. Invariants: every case runs under a watchdog and waits for events only; tasks are
//! counted in memory that outlives their workers, so "run once" is seen and not believed.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, pipe};
use procession_pool::Builder;
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::processes::{self, Identity, Signal, State};

pub(crate) mod callbacks;
pub(crate) mod cancels;
pub(crate) mod contexts;
pub(crate) mod deaths;
pub(crate) mod endings;
pub(crate) mod every_end;
pub(crate) mod failures;
pub(crate) mod handles;
pub(crate) mod large;
pub(crate) mod lazy;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod outside;
pub(crate) mod priorities;
pub(crate) mod recycling;
pub(crate) mod reports;
pub(crate) mod retries;
pub(crate) mod setups;
pub(crate) mod sizes;
pub(crate) mod tasks;
pub(crate) mod together;
pub(crate) mod values;
pub(crate) mod ways;

/// How a case gets a pool that is still to be built.
pub(crate) type Build = fn() -> Builder;

/// No wait below is meant to be as long as this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Our end and a task's end of a pipe to agree on who goes on.
pub(crate) fn gate() -> (Duplex<u8, u8>, Duplex<u8, u8>) {
    pipe().expect("a pipe")
}

/// A task that says that it runs, and returns what it is told next.
pub(crate) fn hold(gate: Duplex<u8, u8>) -> u8 {
    gate.send(&1).expect("the pool's process is there");
    gate.recv().expect("it says when to go on")
}

/// Waits until the task at the other end says that it runs.
pub(crate) fn await_start(gate: &Duplex<u8, u8>) {
    assert_eq!(gate.recv_timeout(PATIENCE).expect("the task says that it runs"), 1);
}

/// Counters in memory that no worker takes with it.
pub(crate) struct Tally {
    memory: Descriptor,
    map: Mapping,
}

impl Tally {
    pub(crate) fn new(n: usize) -> Self {
        let memory = Memfd::sealed("tally", 8 * n as u64).expect("memory");
        let map = Mapping::shared(&memory).expect("a mapping");
        Self { memory: memory.into_fd().into(), map }
    }

    /// Counts in any process.
    pub(crate) fn strike(memory: Descriptor, index: usize) {
        let memory = Memfd::adopt(memory.into_owned().expect("ours alone")).expect("a tally");
        Mapping::shared(&memory).expect("a mapping").atomic_u64(8 * index).fetch_add(1, SeqCst);
    }

    /// What tasks need to count.
    pub(crate) fn handle(&self) -> Descriptor {
        Descriptor::from(self.memory.as_fd().try_clone_to_owned().expect("a descriptor"))
    }

    pub(crate) fn count(&self, index: usize) -> u64 {
        self.map.atomic_u64(8 * index).load(SeqCst)
    }
}

/// Ends the calling process with `signal`.
pub(crate) fn signal_self(signal: Signal) -> ! {
    // Who runs the tests may have us ignore it (`nohup`); SIGKILL cannot be.
    let of_sys = procession_process::Signal(signal.as_raw());
    let _ = procession_sys::signal::set(of_sys, procession_sys::signal::Disposition::Default);
    processes::kill(std::process::id(), signal).expect("we may signal ourselves");
    // Another thread may be the one that takes it: it may be a moment until this one notices.
    loop {
        std::thread::park();
    }
}

/// Sends `signal` to a worker, which may have ended; waits until it has if the signal is deadly.
pub(crate) fn strike(worker: u32, signal: Signal) {
    let Some(identity) = Identity::of(worker) else { return };
    let sent = identity.kill(signal);
    if sent.is_ok() && signal == Signal::KILL {
        assert!(identity.wait_ended(PATIENCE), "a killed worker ends");
    }
}

/// Stops a worker and returns once it is stopped.
pub(crate) fn stop(worker: u32) {
    processes::kill(worker, Signal::STOP).expect("a living worker");
    while processes::state(worker) != Some(State::Stopped) {
        std::thread::yield_now();
    }
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

/// One module of tests named `$method`, whose pools `$builder` makes.
macro_rules! contract {
    ($method:ident, $builder:expr) => {
        crate::suite::contract! { @cases $method $builder;
            values: values_in_order nothing_to_do one_item a_hundred_thousand_tiny_items maps_from_many_threads
                two_pools_at_once a_pool_inside_a_task a_task_that_spawns statics_are_the_worker_s_own
                numbers_pids_and_names;
            lazy: ordered_results unordered_results pulls_no_more_than_in_flight
                an_endless_iterator_is_not_drained dropped_early_nothing_more_begins dropped_inside_a_chunk
                what_waits_is_let_go_at_the_drop a_panic_in_the_iterator a_panic_in_the_iterator_and_on
                size_hints results_in_time fixed_chunks several_at_once_on_one_pool;
            tasks: every_form_of_waiting the_value_is_given_once a_waiter_learns_that_the_value_is_gone
                a_dropped_task_still_runs many_threads_submit ids_count_from_one no_workers;
            cancels: what_waits_never_begins what_runs_is_ended_first what_is_done_stays_done
                cancelled_by_many_at_once a_stopped_worker_is_ended cancelled_at_any_moment
                cancelled_and_the_pool_dropped cancelled_while_joining a_worker_on_its_way;
            limits: an_endless_task_is_ended a_limit_of_its_own the_others_of_its_chunk a_stopped_task
                a_worker_stopped_before_it_begins limits_while_everything_else_runs at_its_limit_exactly;
            retries: tried_until_it_succeeds given_up_with_its_history poison_is_given_up_early
                slow_attempts_are_no_poison what_is_not_tried_again poison_in_a_map cancelled_between_attempts
                kills_that_nobody_notices;
            recycling: a_worker_for_every_task no_worker_runs_more_than_it_may recycled_among_deaths
                recycled_with_handles_and_large_answers;
            setups: every_worker_has_its_state failures_are_told_at_build an_argument_that_does_not_travel
                who_takes_the_place_is_set_up_too it_fails_later exits_of_idle_workers exits_of_recycled_workers
                an_exit_that_goes_wrong no_state_is_a_panic;
            large: five_mebibytes_both_ways many_of_five_mebibytes answers_beyond_the_journal
                one_large_answer_in_the_middle large_and_small_in_turn answers_around_every_bound
                a_death_after_large_answers;
            handles: a_descriptor_goes_and_comes a_pipe_to_a_running_task many_descriptors_in_one_chunk
                many_descriptors_in_one_answer handles_of_the_dead_are_closed handles_of_what_comes_after_a_death a_handle_refused_stays_ours;
            failures: a_panic_costs_its_item thousands_of_panics an_argument_that_does_not_encode
                an_argument_that_does_not_decode a_result_that_does_not_encode
                a_result_that_does_not_decode panics_while_encoding an_old_panic_is_no_reason;
            deaths: exits_cost_their_task signals_cost_their_task a_stack_overflow
                one_of_a_thousand_kills a_hundred_killers_in_a_row killers_at_every_place
                a_killer_among_the_answers an_image_replaced;
            outside: idle_workers_are_replaced every_worker_killed_at_once killed_right_after_submit
                three_hundred_kills_under_load a_stopped_worker_holds_up_nobody
                dropped_with_a_stopped_worker dropped_with_stubborn_tasks;
            endings: closed_takes_no_more join_waits_for_all dropping_tells_every_waiter
                dropping_ends_running_tasks joined_in_time terminated_within_its_grace maps_of_a_closed_pool killed_while_closed;
            reports: the_whole_text_of_a_death what_a_panic_tells arguments_are_shown_only_on_demand
                closures_and_labels what_never_ran_has_no_report errors_of_tasks exits_are_told_with_their_help;
            memory: what_has_grown_is_replaced replaced_inside_a_chunk a_bound_that_nobody_keeps
                what_grows_too_large_is_ended below_its_limit_it_runs_on too_large_again_and_again
                memory_in_the_text_of_a_death;
            contexts: encoded_and_decoded_once kept_by_who_takes_the_place let_go_with_its_handle
                let_go_after_its_last_task no_more_than_a_few_are_kept contexts_that_do_not_travel
                a_hundred_mebibytes maps_with_a_context a_context_with_a_handle;
            together: the_first_of_several tasks_of_several_types a_wait_that_is_over_leaves_nothing
                together_with_other_things
                outcomes_as_they_come each_outcome_once;
            callbacks: called_in_the_order_of_the_outcomes called_when_the_worker_is_dead
                a_panic_in_a_callback_harms_nobody callbacks_use_the_pool joins_wait_for_callbacks
                dropped_with_callbacks;
            ways: applied each_outcome_in_its_place as_they_are_done a_whole_map a_whole_map_that_fails
                a_whole_map_given_up;
            priorities: the_highest_goes_first what_comes_back_is_the_first_of_its_own a_death_changes_no_order;
            sizes: grown_and_shrunk shrunk_under_load shrunk_while_all_are_busy resized_at_random_with_kills
                idle_workers_end and_come_back_when_needed started_on_demand warm_when_all_have_asked
                a_warm_up_that_fails;
            every_end: every_end_one_by_one every_end_in_chunks every_end_in_maps panics_on_our_side_of_a_map;
        }
    };
    (@cases $method:ident $builder:expr; $($topic:ident: $($case:ident)*;)*) => {
        mod $method {
            $($(
                #[test]
                fn $case() {
                    procession_testkit::guarded(|| crate::suite::$topic::$case($builder));
                }
            )*)*
        }
    };
}
pub(crate) use contract;
