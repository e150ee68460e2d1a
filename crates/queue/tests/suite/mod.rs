//! What channels promise, whoever made them and whatever their users run in: ours and those of threads, as the oracle;
//! threads, and processes.
//!
//! A [`World`] makes a channel of numbers and starts those who use it. A case is generic over it and runs twice under the
//! leak counter, so each of them also shows that no descriptor and no mapping stays. `one.rs` is for all worlds, `many.rs`
//! for those whose receivers can be many, `closes.rs` for those that can be closed:
//! `suite::one::contract!(none, crate::Threads);`.
#![allow(dead_code, reason = "each program uses what it needs")]

pub(crate) mod closes;
pub(crate) mod many;
pub(crate) mod one;
pub(crate) mod ours;

use std::time::Duration;

use procession_codec::Message;

/// A time that nothing here takes.
pub(crate) const FAR: Duration = Duration::from_secs(50);
/// A time for what is expected not to happen.
pub(crate) const SOON: Duration = Duration::from_millis(5);

/// Why nothing was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Full,
    Empty,
    TimedOut,
    Closed,
    Disconnected,
    Other,
}

/// The sending end of a channel of numbers.
pub(crate) trait Tx: Clone + Send + 'static {
    fn send(&self, n: u64) -> Result<(), (u64, Fault)>;
    fn try_send(&self, n: u64) -> Result<(), (u64, Fault)>;
    /// Gives up after a time, where that can be asked for.
    fn send_timeout(&self, n: u64, time: Duration) -> Option<Result<(), (u64, Fault)>>;
}

/// The receiving end.
pub(crate) trait Rx: Sized + Send + 'static {
    fn recv(&self) -> Result<u64, Fault>;
    fn try_recv(&self) -> Result<u64, Fault>;
    fn recv_timeout(&self, time: Duration) -> Result<u64, Fault>;
    fn iter(&self) -> impl Iterator<Item = u64>;
    fn try_iter(&self) -> impl Iterator<Item = u64>;
    fn into_iter(self) -> impl Iterator<Item = u64>;
}

/// An end that says how much is queued.
pub(crate) trait Gauge {
    /// Length, whether it is empty, whether it is full, and the capacity.
    fn gauge(&self) -> (usize, bool, bool, usize);
}

/// An end that closes the channel.
pub(crate) trait Closes {
    fn close(&self);
    fn is_closed(&self) -> bool;
}

/// Channels, and how their users are run.
pub(crate) trait World: Sized {
    type Tx: Tx;
    type Rx: Rx;
    /// A channel for `n` numbers.
    fn make(n: usize) -> (Self::Tx, Self::Rx);
    /// Runs a task beside the caller.
    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R>;
}

/// What a task gets: ends, a number, and where it can say that it has come so far.
pub(crate) type Ends<W> = (Option<<W as World>::Tx>, Option<<W as World>::Rx>, u64, Option<<W as World>::Tx>);

/// One of the others, running.
#[must_use]
pub(crate) struct Peer<R>(pub(crate) Box<dyn FnOnce() -> R>);

impl<R> Peer<R> {
    /// Waits for its end.
    pub(crate) fn join(self) -> R {
        (self.0)()
    }
}

/// Starts a task that will sleep, and waits until it most likely does.
pub(crate) fn start_sleeper<W: World, R: Message + Send + 'static>(
    task: fn(Ends<W>) -> R,
    tx: Option<W::Tx>,
    rx: Option<W::Rx>,
) -> Peer<R> {
    let (ready, heard) = W::make(1);
    let peer = W::start(task, (tx, rx, 7, Some(ready)));
    assert_eq!(heard.recv(), Ok(1));
    // Both ways, asleep and on its way there, are right.
    for _ in 0..200 {
        std::thread::yield_now();
    }
    peer
}

/// The tests of one file in one world.
macro_rules! cases {
    ($file:ident, $method:ident, $world:ty; $($case:ident)*) => {
        mod $file {
            mod $method {
                $(
                    #[test]
                    fn $case() {
                        procession_testkit::counted(crate::suite::$file::$case::<$world>);
                    }
                )*
            }
        }
    };
}
pub(crate) use cases;
