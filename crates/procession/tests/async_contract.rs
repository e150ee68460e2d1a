//! The contract of futures, whatever polls them: `contract::futures::<executor>::spawn::<case>`. The other ends are
//! processes, whose calls wait.

#[path = "async_contract/cases.rs"]
mod cases;
#[path = "async_contract/dropped.rs"]
mod dropped;
#[path = "async_contract/executors.rs"]
mod executors;
#[path = "async_contract/jobs.rs"]
mod jobs;
#[path = "async_contract/tasks.rs"]
mod tasks;

use executors::{Plain, TokioMany, TokioOne};

macro_rules! contract {
    ($($executor:ident = $type:ty;)*) => {
        mod contract {
            mod futures {
                $(
                    mod $executor {
                        mod spawn {
                            contract! { @cases $type;
                                cases::ping_pong_over_pipes
                                cases::ping_pong_over_queues
                                cases::many_at_once
                                cases::long_messages_both_ways
                                cases::long_messages_of_many_at_once
                                cases::a_full_queue
                                cases::peers_are_killed
                                cases::peers_are_killed_while_it_is_full
                                cases::processes
                                cases::events
                                dropped::receivers_lose_nothing
                                dropped::receivers_of_a_queue_lose_nothing
                                dropped::a_sender_leaves_nothing_half_sent
                                dropped::a_sender_lets_others_send
                                dropped::a_sender_has_its_handles_again
                                dropped::an_end_moves_when_nobody_waits
                                dropped::deadlines_of_the_runtime
                                jobs::ping_pong_over_jobs
                                jobs::a_full_queue_of_jobs
                                jobs::all_cells_in_use
                                jobs::join_awaits_all
                                jobs::join_names_dead_letters
                                jobs::the_last_worker_is_killed
                                jobs::what_a_killed_worker_had
                                jobs::what_a_living_worker_has
                                jobs::receivers_that_are_dropped_lose_nothing
                                jobs::senders_that_are_dropped_send_nothing
                                jobs::an_end_is_gone_soon_after_its_futures
                                tasks::values_and_failures
                                tasks::awaited_by_themselves
                                tasks::one_that_is_dropped_leaves_the_value
                                tasks::the_value_is_given_once
                                tasks::whole_maps
                                tasks::the_pool_ends
                                tasks::a_waker_that_uses_the_pool
                            }
                        }
                    }
                )*
            }
        }
    };
    (@cases $type:ty; $($module:ident::$case:ident)*) => {
        $(
            #[test]
            fn $case() {
                procession_testkit::counted(crate::$module::$case::<$type>);
            }
        )*
    };
}

contract! {
    plain = crate::Plain;
    tokio_one = crate::TokioOne;
    tokio_many = crate::TokioMany;
}
