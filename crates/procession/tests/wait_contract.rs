//! The contract of waiting for many things at once: `contract::wait::<kind>::spawn::<case>`, and, for all kinds at once,
//! `contract::wait::mixed::spawn::<case>`. Whoever makes a thing ready, or dies, is a process of its own.

#[path = "wait_contract/cases.rs"]
mod cases;
#[path = "wait_contract/jobs.rs"]
mod jobs;
#[path = "wait_contract/kinds.rs"]
mod kinds;
#[path = "wait_contract/mixed.rs"]
mod mixed;

macro_rules! suite {
    ($($kind:ident = $type:ty;)*) => {
        mod contract {
            mod wait {
                $(
                    mod $kind {
                        mod spawn {
                            suite! { @cases $type;
                                ready_before
                                becomes_ready_while_waiting
                                timeout
                                peer_killed_while_waiting
                                never_ready_hides_nothing
                            }
                        }
                    }
                )*
                mod mixed {
                    mod spawn {
                        suite! { @mixed mixed
                            each_kind_in_turn
                            two_hundred_things
                            killed_and_quickly_cleared
                            ping_pong_between_two_processes
                            ping_pong_over_queues_only
                            every_message_is_had_once
                            a_waiter_that_was_woken_is_killed
                            a_waiter_that_was_woken_does_not_receive
                        }
                    }
                }
                mod jobs_of_workers {
                    mod spawn {
                        suite! { @mixed jobs
                            a_worker_is_killed
                            a_worker_was_killed
                            a_worker_gives_its_job_back
                            what_is_given_up_is_nothing_to_receive
                            what_is_given_up_keeps_nobody_waiting
                            what_workers_have_is_waited_for
                            every_job_is_done_though_workers_are_killed
                        }
                    }
                }
            }
        }
    };
    (@cases $type:ty; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                procession_testkit::counted(crate::cases::$case::<$type>);
            }
        )*
    };
    (@mixed $module:ident $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                procession_testkit::counted(crate::$module::$case);
            }
        )*
    };
}

suite! {
    duplex = crate::kinds::OfDuplex;
    connection = crate::kinds::OfConnection;
    channel = crate::kinds::OfChannel;
    room_in_a_channel = crate::kinds::OfChannelRoom;
    half = crate::kinds::OfHalf;
    queue = crate::kinds::OfQueue;
    closed_queue = crate::kinds::OfClosedQueue;
    room_in_a_queue = crate::kinds::OfQueueRoom;
    jobs = crate::kinds::OfJobs;
    closed_jobs = crate::kinds::OfClosedJobs;
    room_for_jobs = crate::kinds::OfJobRoom;
    both_ends_of_a_queue = crate::kinds::OfBothEnds;
    event = crate::kinds::OfEvent;
    process = crate::kinds::OfProcess;
    foreign = crate::kinds::OfForeign;
}
