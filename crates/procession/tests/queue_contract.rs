//! The contract of channels between processes: `contract::queue::procession::<file>::spawn::<case>`. Its cases are those
//! of the crate that makes them; those that need a process to be killed, stopped or forked are here.

#[path = "queue_contract/deaths.rs"]
mod deaths;
#[path = "queue_contract/forks.rs"]
mod forks;
#[path = "queue_contract/stopped.rs"]
mod stopped;
#[path = "../../queue/tests/suite/mod.rs"]
mod suite;
#[path = "queue_contract/travel.rs"]
mod travel;

use procession_codec::Message;
use procession_process::spawn;
use procession_queue::{Receiver, Sender, bounded};
use suite::{Ends, Peer, World};

/// The others are processes of their own.
struct Processes;

impl World for Processes {
    type Tx = Sender<u64>;
    type Rx = Receiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        bounded(n).unwrap()
    }

    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R> {
        let process = spawn(task, ends).unwrap();
        Peer(Box::new(move || process.join().unwrap()))
    }
}

/// Tests of a module, under the leak counter.
macro_rules! tests {
    ($module:ident: $($case:ident)*) => {
        mod $module {
            mod spawn {
                $(
                    #[test]
                    fn $case() {
                        procession_testkit::counted(crate::$module::$case);
                    }
                )*
            }
        }
    };
}

mod contract {
    mod queue {
        mod procession {
            crate::suite::one::contract!(spawn, crate::Processes);
            crate::suite::many::contract!(spawn, crate::Processes);
            crate::suite::closes::contract!(spawn, crate::Processes);
            tests! { travel:
                workers_count_lines
                ends_in_pipes_and_results
                an_end_that_a_child_made
            }
            tests! { deaths:
                all_workers_are_killed
                all_workers_are_killed_and_the_queue_is_full
                a_sender_is_killed_on_its_way
                the_last_sender_is_killed_while_a_receiver_sleeps
                the_last_sender_is_killed_while_a_receiver_polls
                the_last_receiver_is_killed_while_a_sender_polls
                in_the_middle_of_a_very_large_message
            }
            tests! { stopped:
                a_sender_in_the_middle
                a_receiver_in_the_middle
            }
            tests! { forks:
                a_forked_child_uses_both_ends
                an_end_in_a_forked_child_keeps_its_side
                a_job_in_a_forked_child_stays_its_parents
            }
        }
    }
}
