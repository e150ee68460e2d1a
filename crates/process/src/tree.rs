//! The tree of processes as seen from one of them: itself, its parent, its children.
//!
//! Invariants: a child knows who it is before its argument is decoded; a name says where in the tree a process is, and no
//! two children of one process have the same path; [`active_children`] holds no child back from ending, and lists none
//! that has ended. Held by the contract suite, `tests/suite/tree.rs`.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use procession_sys::per_process::PerProcess;
use procession_sys::poll::{self, Interest};
use procession_sys::signal::Signal;
use procession_sys::status::Exit;
use procession_sys::wait::{Source, Waitable, Watch};
use procession_sys::{Deadline, OsError};
use serde::{Deserialize, Serialize};

use crate::process::Shared;
use crate::wire::Channel;

/// Who a child is, as its parent tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) path: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) ends_with_parent: bool,
    pub(crate) parent_name: String,
    pub(crate) parent_pid: u32,
}

/// What a child knows: its place, and how to see that its parent lives.
#[derive(Debug)]
struct Known {
    place: Place,
    link: Arc<Link>,
}

/// What tells of the parent's death: its pidfd, or the hang-up of the channel where the kernel has no pidfds.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) parent: Option<OwnedFd>,
    pub(crate) channel: Arc<Channel>,
}

/// Whether this process is a child that must end because its parent has.
pub(crate) fn is_orphaned() -> bool {
    known().is_some_and(|known| known.place.ends_with_parent && !Parent { known }.is_alive())
}

impl Link {
    /// Ready once the parent has ended.
    pub(crate) fn watch(&self) -> (BorrowedFd<'_>, Interest) {
        match &self.parent {
            Some(parent) => (parent.as_fd(), Interest::Readable),
            None => (self.channel.as_fd(), Interest::HangUp),
        }
    }
}

/// What a child was told of itself; nothing in a process that is no child of ours.
static KNOWN: PerProcess<OnceLock<Known>> = PerProcess::new();
/// What copies of a child know that it forked by itself: what it was told.
static FIRST: OnceLock<&'static Known> = OnceLock::new();

fn known() -> Option<&'static Known> {
    KNOWN.get(OnceLock::new).get().or_else(|| FIRST.get().copied())
}

/// Takes the place in the tree that the parent gave.
pub(crate) fn enter(place: Place, link: Arc<Link>) {
    // Once in a process: a child is told its place once.
    let known = KNOWN.get(OnceLock::new);
    let _ = known.set(Known { place, link });
    let _ = known.get().map(|known| FIRST.set(known));
    // A forked child has its parent's count.
    STARTED.store(0, Ordering::Relaxed);
}

/// How many children this process has started.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The place of the next child.
pub(crate) fn next_place(name: Option<String>, daemon: bool, ends_with_parent: bool) -> Place {
    let me = current();
    let number = STARTED.fetch_add(1, Ordering::Relaxed) + 1;
    let path: Vec<u32> = me.path().iter().copied().chain([number]).collect();
    let name = name.unwrap_or_else(|| {
        let numbers: Vec<String> = path.iter().map(ToString::to_string).collect();
        format!("Process-{}", numbers.join(":"))
    });
    Place { name, path, daemon, ends_with_parent, parent_name: me.name().into(), parent_pid: me.pid() }
}

/// This process: its name, its number, its place in the tree.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::{Process, current};
///
/// assert_eq!(current().name(), "MainProcess");
/// let child = Process::builder().name("calc").spawn(|()| current().name().to_owned(), ())?;
/// assert_eq!(child.join()?, "calc");
/// # Ok(()) }
/// ```
#[doc(alias = "current_process")]
pub fn current() -> Current {
    Current { place: known().map(|known| &known.place) }
}

/// This process, as [`current`] gives it.
#[derive(Clone, Copy)]
pub struct Current {
    place: Option<&'static Place>,
}

impl Current {
    /// The name it was started with; `MainProcess` where it is the first of its tree.
    pub fn name(&self) -> &'static str {
        self.place.map_or("MainProcess", |place| &place.name)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Where it is in the tree: `[2, 1]` is the first child of the second child of the first process, and that one's path is
    /// empty. Counted are all children that a process started, from 1 on.
    pub fn path(&self) -> &'static [u32] {
        self.place.map_or(&[], |place| &place.path)
    }

    /// Whether it was started as a [daemon](crate::Builder::daemon).
    pub fn is_daemon(&self) -> bool {
        self.place.is_some_and(|place| place.daemon)
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("path", &self.path())
            .field("daemon", &self.is_daemon())
            .finish()
    }
}

/// The process that started this one; `None` in the first process of a tree.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::{parent, spawn};
///
/// assert!(parent().is_none());
/// let child = spawn(|()| parent().unwrap().pid(), ())?;
/// assert_eq!(child.join()?, std::process::id());
/// # Ok(()) }
/// ```
#[doc(alias = "parent_process")]
pub fn parent() -> Option<Parent> {
    known().map(|known| Parent { known })
}

/// The process that started this one, as [`parent`] gives it.
///
/// A child ends with its parent, so that it sees the parent's end only if it was started with
/// [`outlive_parent`](crate::Builder::outlive_parent). How the parent ended is told only to the parent's own parent.
#[derive(Clone, Copy)]
pub struct Parent {
    known: &'static Known,
}

impl Parent {
    /// Its process number. After its end, the number may belong to another.
    pub fn pid(&self) -> u32 {
        self.known.place.parent_pid
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        let place = &self.known.place;
        &place.parent_name
    }

    /// Whether it has not ended yet. Never blocks.
    pub fn is_alive(&self) -> bool {
        !matches!(self.join_by(Deadline::now()), Ok(true))
    }

    /// Waits until it has ended. Any number of threads may wait at once.
    ///
    /// # Errors
    /// Lack of memory in the system.
    pub fn join(&self) -> Result<(), OsError> {
        self.join_by(Deadline::NEVER).map(drop)
    }

    /// [`join`](Self::join) for at most `timeout`; `false` when it has not ended by then.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, OsError> {
        self.join_by(Deadline::after(timeout))
    }

    /// [`join`](Self::join) until `instant`; `false` when it has not ended by then.
    pub fn join_until(&self, instant: Instant) -> Result<bool, OsError> {
        self.join_by(Deadline::at(instant))
    }

    fn join_by(&self, deadline: Deadline) -> Result<bool, OsError> {
        Ok(poll::ready(&[self.known.link.watch()], deadline)?[0])
    }
}

/// Ready when it has ended. For `procession_pipe::wait`.
impl Waitable for Parent {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        let (descriptor, interest) = self.known.link.watch();
        watch.descriptor(Source::Borrowed(descriptor), interest);
        !self.is_alive()
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("name", &self.name()).field("pid", &self.pid()).finish_non_exhaustive()
    }
}

/// The children that this process has, in the order of their start.
static CHILDREN: PerProcess<Mutex<Vec<Weak<Shared>>>> = PerProcess::new();

fn children() -> MutexGuard<'static, Vec<Weak<Shared>>> {
    // A list of weak pointers is whole between any two operations on it.
    CHILDREN.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a child that has just been started into the list.
pub(crate) fn note(child: &Arc<Shared>) {
    let mut list = children();
    list.retain(|child| child.strong_count() > 0);
    list.push(Arc::downgrade(child));
}

/// The children of this process that have not ended, in the order of their start, also those that were
/// [detached](crate::Process::detach) or belong to a scope or a pool. Clears those that have ended out of the process
/// table; their values stay to be taken.
///
/// Never blocks.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::{Process, active_children};
///
/// let child = Process::builder().name("sleeper").spawn(|()| std::thread::park(), ())?;
/// assert!(active_children().iter().any(|active| active.pid() == child.pid()));
/// child.kill()?;
/// child.wait()?;
/// assert!(active_children().iter().all(|active| active.pid() != child.pid()));
/// # Ok(()) }
/// ```
pub fn active_children() -> Vec<ActiveChild> {
    let all: Vec<_> = children().iter().filter_map(Weak::upgrade).collect();
    all.into_iter().map(ActiveChild).filter(ActiveChild::is_alive).collect()
}

/// How long all children together have between being asked to end and being killed, when this process leaves.
const GRACE: Duration = Duration::from_secs(1);
/// How long the kernel then has.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Ends all children but those that may outlive this process, within a bound: asks, waits, kills, waits.
pub(crate) fn end_children() {
    let mut left = active_children();
    left.retain(|child| child.0.ends_with_parent());
    // What cannot be ended now ends by itself when this process has.
    for (ask, time) in [(Signal::TERM, GRACE), (Signal::KILL, LAST_WAIT)] {
        for child in &left {
            let _ = child.0.child().signal(ask);
        }
        let deadline = Deadline::after(time);
        left.retain(|child| !matches!(child.0.wait_for_end(deadline), Ok(Some(_))));
    }
}

/// A child without its value, as [`active_children`] gives it. Dropping it does nothing to the child.
#[derive(Clone)]
pub struct ActiveChild(Arc<Shared>);

impl ActiveChild {
    /// As [`Process::name`](crate::Process::name).
    pub fn name(&self) -> &str {
        &self.0.who().name
    }

    /// As [`Process::pid`](crate::Process::pid).
    pub fn pid(&self) -> u32 {
        self.0.who().pid
    }

    /// As [`Process::path`](crate::Process::path).
    pub fn path(&self) -> &[u32] {
        self.0.path()
    }

    /// As [`Process::is_daemon`](crate::Process::is_daemon).
    pub fn is_daemon(&self) -> bool {
        self.0.is_daemon()
    }

    /// As [`Process::is_alive`](crate::Process::is_alive).
    pub fn is_alive(&self) -> bool {
        !matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// As [`Process::try_wait`](crate::Process::try_wait).
    pub fn try_wait(&self) -> Result<Option<Exit>, OsError> {
        self.0.try_wait()
    }

    /// As [`Process::wait`](crate::Process::wait).
    pub fn wait(&self) -> Result<Exit, OsError> {
        Ok(self.0.wait(Deadline::NEVER)?.unwrap_or(Exit::Unknown))
    }

    /// As [`Process::wait_timeout`](crate::Process::wait_timeout).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Exit>, OsError> {
        self.0.wait(Deadline::after(timeout))
    }

    /// As [`Process::terminate`](crate::Process::terminate).
    pub fn terminate(&self) -> Result<(), OsError> {
        self.0.child().signal(Signal::TERM).map(drop)
    }

    /// As [`Process::kill`](crate::Process::kill).
    pub fn kill(&self) -> Result<(), OsError> {
        self.0.child().signal(Signal::KILL).map(drop)
    }
}

impl fmt::Debug for ActiveChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveChild")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
