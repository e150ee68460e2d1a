//! The contract of channels between threads of one process: `contract::queue::<implementation>::<file>::none::<case>`.
//! Over processes it is run by the crate that starts them.

mod peers;
mod suite;

use procession_codec::Message;
use procession_queue::{Receiver, Sender, bounded};
use suite::{Ends, Peer, World};

/// Ours between threads.
struct Threads;

impl World for Threads {
    type Tx = Sender<u64>;
    type Rx = Receiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        bounded(n).unwrap()
    }

    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R> {
        peers::start(task, ends)
    }
}

mod contract {
    mod queue {
        mod procession {
            crate::suite::one::contract!(none, crate::Threads);
            crate::suite::many::contract!(none, crate::Threads);
            crate::suite::closes::contract!(none, crate::Threads);
        }
        mod crossbeam {
            crate::suite::one::contract!(none, crate::peers::Crossbeam);
            crate::suite::many::contract!(none, crate::peers::Crossbeam);
        }
        mod mpsc {
            crate::suite::one::contract!(none, crate::peers::Mpsc);
        }
    }
}
