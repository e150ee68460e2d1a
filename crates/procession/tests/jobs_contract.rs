//! Queues of jobs between processes: the contract of channels; workers that are killed, that end, and whom nobody follows.

#[path = "jobs_contract/deaths.rs"]
mod deaths;
#[path = "../../queue/tests/jobs_ends/mod.rs"]
mod jobs_ends;
#[path = "../../queue/tests/suite/mod.rs"]
mod suite;

use procession_codec::Message;
use procession_process::spawn;
use procession_queue::{JobReceiver, JobSender, jobs};
use suite::{Ends, Peer, World};

/// The others are processes of their own.
struct Processes;

impl World for Processes {
    type Tx = JobSender<u64>;
    type Rx = JobReceiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        jobs(n).unwrap()
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
    mod jobs {
        crate::suite::one::contract!(spawn, crate::Processes);
        crate::suite::many::contract!(spawn, crate::Processes);
        crate::suite::closes::contract!(spawn, crate::Processes);
        tests! { deaths:
            what_a_killed_worker_had_is_done_by_another
            all_that_a_killed_worker_had_come_back
            who_only_tries_gets_what_a_killed_worker_had
            a_sleeping_worker_gets_what_a_killed_one_had
            a_job_that_kills_its_workers_is_given_up
            the_death_of_a_worker_is_the_end_of_its_jobs
            the_last_worker_is_killed
            a_thread_of_a_worker_ends
            a_closed_queue_waits_for_what_may_come_back
            workers_in_turns_take_no_seats_for_ever
        }
    }
}
