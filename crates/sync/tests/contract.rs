//! The contract of locks and signals between threads of one process: `contract::sync::<object>::none::<case>`. Over
//! processes it is run by the crate that starts them.

mod suite;

use std::thread;

use procession_codec::Message;
use procession_shm::Atomic;
use suite::{DIE, Method, Peer, Victim};

/// The others are threads.
struct Threads;

impl Method for Threads {
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static,
    {
        let thread = thread::spawn(move || task(argument));
        Peer(Box::new(move || thread.join().unwrap()))
    }

    fn start_victim<A>(task: fn((A, Atomic<u32>)), argument: A) -> Victim
    where
        A: Message + Send + 'static,
    {
        let stage = Atomic::new(0).unwrap();
        let theirs = stage.clone();
        let thread = thread::spawn(move || task((argument, theirs)));
        let finish = |stage: &Atomic<u32>, kill: bool| {
            if kill {
                stage.store(DIE);
            }
            thread.join().unwrap();
        };
        Victim { stage, pid: std::process::id(), finish: Box::new(finish) }
    }

    fn wait_for_death(stage: &Atomic<u32>) {
        suite::until(|| stage.load() == DIE);
    }
}

mod contract {
    mod sync {
        crate::suite::mutex::contract!(none, crate::Threads;);
        crate::suite::lock::contract!(none, crate::Threads;);
        crate::suite::rlock::contract!(none, crate::Threads;);
        crate::suite::condvar::contract!(none, crate::Threads;);
        crate::suite::event::contract!(none, crate::Threads;);
        crate::suite::semaphore::contract!(none, crate::Threads;);
        crate::suite::signals::contract!(none, crate::Threads;);
        crate::suite::barrier::contract!(none, crate::Threads;);
        crate::suite::rwlock::contract!(none, crate::Threads;);
        crate::suite::once::contract!(none, crate::Threads;);
        crate::suite::together::contract!(none, crate::Threads;);
    }
}
