//! Starting a child: settings, and the steps from a function to a running process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use procession_codec::handles::Outgoing as Handles;
use procession_codec::{Bytes, Codec, Message, Postcard, handles};
use procession_sys::hook::Started;
use procession_sys::memory::Memfd;
use procession_sys::message::{Outgoing, SendError};
use procession_sys::signal::Signal;
use procession_sys::{Deadline, OsError, forked, limits, socket};

use crate::error::{SpawnError, Who};
use crate::process::{Process, Shared};
use crate::settings::{Settings, Way};
use crate::start_method::{self, StartMethod};
use crate::wire::{self, Body, Start};
use crate::{child, companion, domain, exit, tree};

/// How long a child may take until it reports, unless set otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `task(argument)` in a new child process.
///
/// Returns as soon as the child exists, about a millisecond; what happens to it from then on is told by
/// [`Process::join`]. The argument is encoded here and now; arguments above 16 KiB travel in shared memory, so the call
/// never waits for the child. Handles in the argument (pipe ends, descriptors) go with it.
///
/// The child sees the caller's environment, directory, limits and stdio of this moment, and no other descriptors.
///
/// Errors: the argument does not encode, or no process could be started; the first child of a tree also needs half a
/// mebibyte for what the tree [shares](crate). See [`Builder`] for settings.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let roots = procession_process::spawn(f64::sqrt, 2.25)?;
/// assert_eq!(roots.join()?, 1.5);
/// # Ok(()) }
/// ```
#[doc(alias = "Process.start")]
pub fn spawn<A: Message, R: Message>(task: fn(A) -> R, argument: A) -> Result<Process<R>, SpawnError> {
    Builder::new().spawn(task, argument)
}

/// Settings of a process that is still to be started; made by [`Process::builder`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::Process;
///
/// let child = Process::builder().name("calc").spawn(|n: u32| n + 1, 1)?;
/// assert_eq!(child.name(), "calc");
/// assert_eq!(child.join()?, 2);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings start nothing by themselves"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    outlive_parent: bool,
    ignore_interrupt: bool,
    start_timeout: Duration,
    start_method: Option<StartMethod>,
    allow_threads: bool,
    pub(crate) settings: Settings,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            daemon: false,
            outlive_parent: false,
            ignore_interrupt: false,
            start_timeout: START_TIMEOUT,
            start_method: None,
            allow_threads: false,
            settings: Settings::default(),
        }
    }

    /// The process's name: in errors, and as the name of the thread that runs the task, so also in its panics
    /// (default `Process-N` for the N-th child of the first process, `Process-N:M` for the M-th child of that). NUL
    /// characters are replaced.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().replace('\0', "\u{fffd}"));
        self
    }

    /// Whether the child is a daemon (default no): one that serves others, and is not waited for. A [scope](crate::scope)
    /// that has joined its other children ends its daemons. In all else it is a child like others, and may have children
    /// of its own, which are no daemons unless started so.
    pub fn daemon(mut self, yes: bool) -> Self {
        self.daemon = yes;
        self
    }

    /// Whether the child goes on when this process has ended (default no). Until it has its task it ends with this
    /// process all the same. Dropping the handle ends it still: [detach](Process::detach) it for that.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, parent};
    ///
    /// let child = Process::builder().outlive_parent(true).spawn(|()| parent().unwrap().is_alive(), ())?;
    /// assert!(child.join()?);
    /// # Ok(()) }
    /// ```
    pub fn outlive_parent(mut self, yes: bool) -> Self {
        self.outlive_parent = yes;
        self
    }

    /// Whether the child ignores `SIGINT` (default no), so that Ctrl-C reaches the parent only and the parent decides.
    /// Set before the task starts; the task may set it otherwise.
    pub fn ignore_interrupt(mut self, yes: bool) -> Self {
        self.ignore_interrupt = yes;
        self
    }

    /// How long the child may take from its start until it reports (default 10 s). One that takes longer is killed by
    /// whoever waits for it, who gets [`JoinError::NoHandshake`](crate::JoinError::NoHandshake), or in the background if it
    /// was [detached](Process::detach).
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How the child is started (default: [`start_method()`](crate::start_method())).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, StartMethod};
    ///
    /// let child = Process::builder().start_method(StartMethod::ForkServer).spawn(|n: u32| n + 1, 1)?;
    /// assert_eq!(child.join()?, 2);
    /// # Ok(()) }
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = Some(method);
        self
    }

    /// Whether this process may be [forked](StartMethod::Fork) though it has more than one thread (default no). No effect on
    /// the other methods.
    ///
    /// In the child only the thread goes on that started it. Whatever another one held at that moment stays held there:
    /// locks of the program and of libraries, also of the standard library, such as that of standard output, of the
    /// environment while somebody changes it, of the panic hook while somebody panics. A child that needs one of them waits
    /// for ever. libc's allocator, and what is shared between processes, are safe. For programs that know what their other
    /// threads do.
    pub fn allow_threads(mut self, yes: bool) -> Self {
        self.allow_threads = yes;
        self
    }

    /// Starts the process, as [`spawn`] does.
    pub fn spawn<A: Message, R: Message>(
        self,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<Process<R>, SpawnError> {
        // Where the limit cannot be raised, the lower one holds.
        let _ = limits::raise_descriptor_limit();
        let mut bytes = Vec::new();
        let ((), handles) = handles::collect(|| Postcard::encode_into(&argument, &mut bytes))
            .map_err(SpawnError::Argument)?;
        let (body, memory) = Body::pack(bytes)?;
        let way = self.way()?;
        let process = self.launch(way, Load { function: child::token(task), body, memory, handles })?;
        // With it goes our side of what has moved.
        drop(argument);
        Ok(process)
    }

    /// Forks this process, and runs `task` in the child, whatever it captures: [`StartMethod::Fork`], whatever was set.
    ///
    /// The child is a copy of this process, with its memory, its open descriptors and its signal handlers, and one of its
    /// threads. What it captured is there twice from then on: here it is dropped before this returns, in the child by the
    /// task. The same is true of all else that the process had: a temporary directory that removes itself when it is dropped
    /// must not be captured, and a descriptor that the child still has is not closed by closing it here. So a pipe whose end
    /// the child inherited by accident does not end before the child does: use [`spawn`](Self::spawn) with the end as an
    /// argument, by another method, where that matters. Of the children and exit hooks of this process the child has none.
    ///
    /// # Errors
    /// [`SpawnError::Threads`] if this process has more than one thread, unless that is [allowed](Self::allow_threads);
    /// else as [`spawn`](Self::spawn).
    ///
    /// ```
    /// use procession_process::{Process, SpawnError, StartMethod};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let words = vec!["a", "b", "c"];
    /// match Process::builder().fork(|| words.concat()) {
    ///     Ok(child) => assert_eq!(child.join()?, "abc"),
    ///     // In a program with threads.
    ///     Err(SpawnError::Threads { n }) => assert!(n > 1),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn fork<R: Message>(self, task: impl FnOnce() -> R + Send) -> Result<Process<R>, SpawnError> {
        self.check_threads()?;
        let _ = limits::raise_descriptor_limit();
        let way = Way::Fork(Box::new(|bootstrap| child::enter_forked(bootstrap, task)));
        let body = Body::Inline(Vec::new().into());
        let load = Load { function: Vec::new().into(), body, memory: None, handles: Handles::default() };
        self.launch(way, load)
    }

    fn check_threads(&self) -> Result<(), SpawnError> {
        match forked::n_threads()? {
            n if n > 1 && !self.allow_threads => Err(SpawnError::Threads { n }),
            _ => Ok(()),
        }
    }

    /// How a task is started that is sent.
    fn way(&self) -> Result<Way<'static>, SpawnError> {
        Ok(match self.start_method.unwrap_or_else(start_method::start_method) {
            StartMethod::Spawn => Way::Spawn(child::enter),
            StartMethod::ForkServer => Way::ForkServer(child::enter, Deadline::after(self.start_timeout)),
            StartMethod::Fork => {
                self.check_threads()?;
                Way::Fork(Box::new(child::enter))
            }
        })
    }

    /// Starts the process and gives it its task.
    fn launch<R>(self, way: Way<'_>, load: Load) -> Result<Process<R>, SpawnError> {
        let Load { function, body, memory, handles } = load;
        let domain = domain::to_give()?;
        let gifts = companion::gifts(way.method());
        let (started, pipes) = self.settings.start(way)?;
        let prepared = self.settings.adjust(&started.child);
        let (sentinel, theirs) = match prepared.and_then(|()| Ok(sentinel(&started)?)) {
            Ok(ends) => ends.unzip(),
            Err(e) => return Err(abandon(&started, e)),
        };
        let place = tree::next_place(self.name, self.daemon, !self.outlive_parent);
        let who = Who { name: place.name.clone(), pid: started.child.pid() };
        let start = Start {
            place: place.clone(),
            function,
            ignore_interrupt: self.ignore_interrupt,
            start_method: start_method::to_give(),
            domain: domain.is_some(),
            sentinel: sentinel.is_some(),
            argument: body,
            gifts: companion::sent(&gifts),
        };
        let shared = Arc::new(Shared::new(who, place, started, sentinel, self.start_timeout));
        tree::note(&shared);
        shared.companions.started(&gifts, shared.who());
        exit::arm();
        // From here on an early return drops the handle, which ends the child.
        let process = Process::new(Arc::clone(&shared), pipes);
        let descriptors: Vec<_> = handles
            .descriptors()
            .chain(companion::descriptors(&gifts))
            .chain(domain.as_ref().map(AsFd::as_fd))
            .chain(theirs.as_ref().map(AsFd::as_fd))
            .chain(memory.as_ref().map(AsFd::as_fd))
            .collect();
        let deadline = Deadline::after(self.start_timeout);
        match wire::send(&mut Outgoing::new(), shared.socket(), &start, &descriptors, deadline) {
            Ok(()) => {}
            // It is already dead: its outcome says of what. The handles stay ours.
            Err(SendError::Closed) => return Ok(process),
            Err(e) => {
                let doing = format!("handing its task to process {}", process.pid());
                return Err(SpawnError::Os(OsError::new(doing, io::Error::other(e))));
            }
        }
        drop(descriptors);
        handles.commit();
        Ok(process)
    }
}

/// What a child gets to do.
struct Load {
    function: Bytes,
    body: Body,
    memory: Option<Memfd>,
    handles: Handles,
}

/// Where the kernel has no pidfds, two descriptors: ours is readable once theirs, which only the child holds, is gone.
fn sentinel(started: &Started) -> Result<Option<(OwnedFd, OwnedFd)>, OsError> {
    if started.child.pidfd().is_some() { Ok(None) } else { socket::pair().map(Some) }
}

/// Ends a child that no handle has been made for yet. It has no task, so nobody misses it.
#[cold]
fn abandon(started: &Started, error: SpawnError) -> SpawnError {
    // A child that cannot be ended or waited for now sees the end of its channel and ends by itself.
    let killed = started.child.signal(Signal::KILL);
    let _ = killed.and_then(|_| started.child.wait(Deadline::after(START_TIMEOUT)));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program that is started again is then the test harness itself.
    #[test]
    fn a_unit_test_spawns() {
        assert_eq!(spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
    }
}
