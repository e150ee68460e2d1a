//! The ways to start a child, and which one is taken where none is asked for.
//!
//! Invariant: what a task sees of its parent, how it ends and what is told of it does not depend on the method. Held by the
//! contract suite, which runs over all of them.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

/// How a child is started: [`Builder::start_method`](crate::Builder::start_method).
///
/// | | what the child is | what its start costs | for |
/// |---|---|---|---|
/// | `Spawn` | the program, executed again | about a millisecond, whatever the size of the parent | everything; the only one for another [`program`](crate::Builder::program) |
/// | `ForkServer` | a fork of a small second process of the program | about 0.6 of that, whatever the size of the parent | many short children |
/// | `Fork` | a copy of this process, one thread of it | little from a small parent, some 55 ms and more from one with a gibibyte | [closures that capture](crate::Builder::fork), in programs with one thread |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is executed again (`posix_spawn` of `/proc/self/exe`).
    #[doc(alias = "spawn")]
    Spawn,
    /// A server that this process starts with its first such child, by `Spawn`, forks whenever it is asked to. It is called
    /// `procession-fork` in lists of processes, is no [child](crate::active_children) to be waited for, and ends with this
    /// process. Should it die, the next start makes another one; its children go on, and of one that ends then without a
    /// value the status may be [lost](crate::JoinError::StatusLost) (before Linux 6.15).
    ///
    /// A child has the environment, directory, standard descriptors, limits, processors, niceness, file mode mask, signal
    /// mask and group of processes that this process has at the moment of the call. Its control group, namespaces and
    /// out-of-memory score are those that the server was started with. All children of one server have one layout of the
    /// address space.
    ///
    /// Where the kernel has no pidfds (Linux before 5.4) such children are started by `Spawn`. A program whose constructors
    /// start threads before `main` cannot have a server: its starts fail with [`SpawnError::Os`](crate::SpawnError::Os).
    #[doc(alias = "forkserver")]
    ForkServer,
    /// This process is forked. Refused with [`SpawnError::Threads`](crate::SpawnError::Threads) where it has more than one
    /// thread, unless [that is allowed](crate::Builder::allow_threads).
    #[doc(alias = "fork")]
    Fork,
}

/// The one that was set; 0 is the one of the library.
static DEFAULT: AtomicU8 = AtomicU8::new(0);

const ALL: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork];

/// The method by which this process starts children that ask for none: what [`set_start_method`] set, here or in the parent,
/// else [`StartMethod::Spawn`].
///
/// ```
/// use procession_process::{StartMethod, start_method};
/// assert_eq!(start_method(), StartMethod::Spawn);
/// ```
#[doc(alias = "get_start_method")]
pub fn start_method() -> StartMethod {
    let set = usize::from(DEFAULT.load(Ordering::Relaxed));
    set.checked_sub(1).and_then(|n| ALL.get(n)).copied().unwrap_or(StartMethod::Spawn)
}

/// Sets the method for children that this process starts from now on and that ask for no other, and for theirs. Any number
/// of times; libraries leave it to the program.
///
/// Children of a process whose default is [`StartMethod::Fork`] have [`StartMethod::Spawn`]: a child has two threads.
///
/// ```standalone_crate
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::{StartMethod, set_start_method, spawn, start_method};
///
/// set_start_method(StartMethod::ForkServer);
/// assert_eq!(spawn(|()| start_method(), ())?.join()?, StartMethod::ForkServer);
/// # Ok(()) }
/// ```
#[doc(alias = "get_context")]
pub fn set_start_method(method: StartMethod) {
    let number = ALL.iter().position(|one| *one == method).unwrap_or(0) + 1;
    DEFAULT.store(u8::try_from(number).unwrap_or(0), Ordering::Relaxed);
}

/// What the children of this process shall start theirs by.
pub(crate) fn to_give() -> StartMethod {
    match start_method() {
        StartMethod::Fork => StartMethod::Spawn,
        method => method,
    }
}
