//! The contract of pipes with both ends in this process: `contract::pipe::duplex::none::<case>`. Over processes it is
//! run by the crate that starts them.

mod suite;

use std::thread;

use procession_codec::Message;
use suite::{Method, Peer};

/// The other end is a thread.
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
}

suite::contract!(none, crate::Threads;);
