//! What locks and signals promise, whatever the others run in: threads, or processes.
//!
//! A case is generic over the [`Method`] that starts the others and runs twice under the leak counter, so each of them
//! also shows that no descriptor stays open. Each object has a file with its cases and a macro `contract!` that makes the
//! tests: `suite::mutex::contract!(none, crate::Threads; extra::case …);` in `mod contract { mod sync { … } }`.
#![allow(dead_code, reason = "each program uses what it needs")]

pub(crate) mod barrier;
pub(crate) mod condvar;
pub(crate) mod event;
pub(crate) mod lock;
pub(crate) mod mutex;
pub(crate) mod once;
pub(crate) mod rlock;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod signals;
pub(crate) mod together;

use std::thread;
use std::time::Duration;

use procession_codec::Message;
use procession_shm::Atomic;

/// A time that nothing here takes.
pub(crate) const FAR: Duration = Duration::from_secs(50);
/// A time for what is expected not to happen.
pub(crate) const SOON: Duration = Duration::from_millis(10);

/// What a victim's stage is once it is where it shall die.
const READY: u32 = 1;
/// What makes it end, where nothing can kill it.
pub(crate) const DIE: u32 = 2;

/// How the others are run.
pub(crate) trait Method {
    /// Runs a task beside the caller.
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static;

    /// Runs a task that leaks the guards of what it holds, and ends with [`Method::ready_to_die`].
    fn start_victim<A>(task: fn((A, Atomic<u32>)), argument: A) -> Victim
    where
        A: Message + Send + 'static;

    /// Waits to be killed; a thread, to be told that it shall end.
    fn wait_for_death(stage: &Atomic<u32>);

    /// Says that the calling victim has all that it shall die with, and waits.
    fn ready_to_die(stage: &Atomic<u32>) {
        stage.store(READY);
        Self::wait_for_death(stage);
    }
}

/// One of the others, running.
#[must_use]
pub(crate) struct Peer<R>(pub(crate) Box<dyn FnOnce() -> R>);

impl<R> Peer<R> {
    /// Waits for its end.
    pub(crate) fn join(self) -> R {
        (self.0)()
    }
}

/// Kills a victim if told so, and waits until it is gone.
pub(crate) type Finish = Box<dyn FnOnce(&Atomic<u32>, bool)>;

/// One of the others, that shall die.
#[must_use]
pub(crate) struct Victim {
    pub(crate) stage: Atomic<u32>,
    pub(crate) pid: u32,
    pub(crate) finish: Finish,
}

impl Victim {
    /// Waits until it is where it shall die.
    pub(crate) fn ready(self) -> Self {
        until(|| self.stage.load() == READY);
        self
    }

    /// Kills it, and waits until it is gone; says what the number of its process was.
    pub(crate) fn die(self) -> u32 {
        (self.finish)(&self.stage, true);
        self.pid
    }

    /// Waits for the end of one that was spared: it ends by itself.
    pub(crate) fn end(self) {
        (self.finish)(&self.stage, false);
    }
}

/// Waits for what another does, by looking.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// The tests of one object with one method, and further ones that only this method has.
macro_rules! cases {
    ($object:ident, $method:ident, $type:ty; { $($extra:ident::$more:ident)* } $($case:ident)*) => {
        mod $object {
            mod $method {
                $(
                    #[test]
                    fn $case() {
                        procession_testkit::counted(crate::suite::$object::$case::<$type>);
                    }
                )*
                $(
                    #[test]
                    fn $more() {
                        procession_testkit::counted(crate::$extra::$more);
                    }
                )*
            }
        }
    };
}
pub(crate) use cases;
