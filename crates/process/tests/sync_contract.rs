//! The contract of locks and signals between processes: `contract::sync::<object>::spawn::<case>`. Its cases are those of
//! the crate that makes them; those that need a process to be killed asleep, stopped, forked or replaced are here.

#[path = "../../sync/tests/suite/mod.rs"]
mod suite;

use std::thread;

use procession_codec::Message;
use procession_process::{JoinError, spawn};
use procession_shm::Atomic;
use suite::{Method, Peer, Victim};

/// The others are processes of their own.
struct Processes;

impl Method for Processes {
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static,
    {
        let process = spawn(task, argument).unwrap();
        Peer(Box::new(move || process.join().unwrap()))
    }

    fn start_victim<A>(task: fn((A, Atomic<u32>)), argument: A) -> Victim
    where
        A: Message + Send + 'static,
    {
        let stage = Atomic::new(0).unwrap();
        let process = spawn(task, (argument, stage.clone())).unwrap();
        let pid = process.pid();
        let die = move |_: &Atomic<u32>| {
            process.kill().unwrap();
            assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
        };
        Victim { stage, pid, die: Box::new(die) }
    }

    fn wait_for_death(_: &Atomic<u32>) {
        loop {
            thread::park();
        }
    }
}

mod contract {
    mod sync {
        crate::suite::mutex::contract!(spawn, crate::Processes;);
        crate::suite::lock::contract!(spawn, crate::Processes;);
        crate::suite::rlock::contract!(spawn, crate::Processes;);
        crate::suite::condvar::contract!(spawn, crate::Processes;);
    }
}
