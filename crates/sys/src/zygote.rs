//! Starting children by a fork server: a second process of the same program, small and with one thread, which forks when
//! it is asked to. What that costs does not depend on the size of the caller, and no program is executed.
//!
//! Each process has one of its own, started with its first such child, as `hook` starts all children. A
//! child meets its parent as after an execution: the same hello, the same descriptors and nothing else of the server's. What
//! the first packet would tell it comes with the request, and the server's own start has proved that it is of this image.
//!
//! The child is not its parent's to wait for. Where the kernel remembers for a pidfd how a process ended that is gone (Linux
//! 6.15), the server has its children cleared away by the kernel, and nobody tells their status: it is asked for. Elsewhere
//! the server waits for them, and tells.
//!
//! | killed | what happens |
//! |---|---|
//! | the server, while nothing is asked of it | the next start makes another one |
//! | the server, while it is asked | the same: another one is asked. A child that the first one may have made has no task, sees its channel close, and ends |
//! | the server, while children run | they go on. Their ends are seen by their pidfds; how they ended is what the kernel remembers (Linux 6.15), or what this process is told as their new parent, or lost: [`Unknown`](crate::status::Exit::Unknown) |
//! | the parent | the server sees its pidfd and ends, and so do the children, which watch the parent and not the server |
//! | a child | the kernel remembers how; or the server reaps it and reports |
//!
//! A child has what surrounds its caller at the moment of the start, not what surrounded the server at its own: see
//! `surroundings`. It is asked for with what surrounded the caller's last one, and ended without having had a task if that
//! turns out to be no longer so. A server that cannot have it (the caller has given up privileges, or is in another
//! session) is replaced, and ends with the last of its children. What the kernel attaches to a process beyond that, such
//! as its control group and its namespaces, is as it was when the server was started.
//!
//! Invariants: a request is answered at most once, and a child gets its task only after that, so no task runs twice; a
//! forked copy of a process never asks its parent's server. Held by the contract suite of `procession-process`, and its
//! `tests/fork_server.rs`.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

use crate::caps::{self, Capability};
use crate::child::Child;
use crate::hook::{self, Bootstrap, Invitation, Started};
use crate::message::{Outgoing, SendError};
use crate::per_process::PerProcess;
use crate::poll::{self, Interest};
use crate::signal::Signal;
use crate::socket::{Direction, RecvFailed};
use crate::spawn::Differences;
use crate::status::Exit;
use crate::surroundings::Surroundings;
use crate::{Deadline, OsError, Result, socket};

mod request;
mod server;

pub(crate) use server::{pointers, set_environ};

use request::{ANSWER, Answer, Request, Step};

/// How often another server is started for one child.
const ATTEMPTS: u32 = 8;
/// How long a server that closed a socket may take to be seen dead.
const DYING: Duration = Duration::from_secs(1);

/// Starts this program's `entry` in a child, as [`hook::start_with`] does, by this process's fork server.
///
/// Where the kernel has no pidfds it is that very function. Errors: as there; the server did not answer before `deadline`
/// (it is killed then, and the next start makes another).
pub fn start_with(
    entry: fn(Bootstrap) -> i32,
    environment: Option<Vec<(OsString, OsString)>>,
    differences: &Differences<'_>,
    deadline: Deadline,
) -> Result<Started> {
    if !caps::has(Capability::Pidfd) {
        return hook::start_with(entry, environment, differences);
    }
    for _ in 0..ATTEMPTS {
        let server = Server::current()?;
        let invitation = hook::invite_by_another()?;
        // To look takes as long as to fork: so the server is asked for what was there last, and looked for meanwhile. A child
        // that has it otherwise has no task yet, and gets none.
        let (guess, is_known) = match LAST.try_with(RefCell::take) {
            Ok(Some(last)) => (last, false),
            _ => (Surroundings::now()?, true),
        };
        if guess.identity != server.identity {
            if is_known {
                retire(&server);
            }
            continue;
        }
        let variables = environment.clone().unwrap_or_else(|| std::env::vars_os().collect());
        let asked = server.ask(entry, &invitation, &guess, &variables, differences, deadline)?;
        let is_so = is_known || Surroundings::now()? == guess;
        let answer = asked.map_or(Ok(None), |status| server.await_answer(status, deadline));
        if !is_so {
            // It may have been refused for what is not so, too.
            answer.ok().flatten().iter().for_each(abandon);
            continue;
        }
        let _ = LAST.try_with(|last| last.replace(Some(guess)));
        match answer? {
            Some(child) => return Ok(invitation.into_started(child)),
            None => {
                // The next server is asked for what is certain.
                let _ = LAST.try_with(RefCell::take);
                retire(&server);
            }
        }
    }
    Err(OsError::new("starting a child", io::Error::other("one fork server after another has ended")))
}

thread_local! {
    /// What surrounded this thread when it started a child last.
    static LAST: RefCell<Option<Surroundings>> = const { RefCell::new(None) };
}

/// Ends a child that nobody has heard of.
#[cold]
fn abandon(child: &Child) {
    let killed = child.signal(Signal::KILL);
    let _ = killed.and_then(|_| child.wait(Deadline::after(DYING)));
}

/// The number of the fork server of this process, if there is one. For tests of its death.
#[doc(hidden)]
pub fn server_pid() -> Option<u32> {
    servers().current.as_ref().map(|server| server.child.pid())
}

/// Ends the fork server of this process, if it has one. Its children go on.
pub fn end() {
    let mut servers = servers();
    let current = servers.current.take();
    for server in servers.retired.drain(..).chain(current) {
        let _ = server.child.signal(Signal::KILL);
        let _ = server.child.wait(Deadline::after(DYING));
    }
}

/// The servers of this process.
#[derive(Debug, Default)]
struct Servers {
    current: Option<Arc<Server>>,
    /// Those that get no more requests, until they are waited for.
    retired: Vec<Arc<Server>>,
}

fn servers() -> MutexGuard<'static, Servers> {
    static SERVERS: PerProcess<Mutex<Servers>> = PerProcess::new();
    // Whole between any two operations on it.
    SERVERS.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fork server of this process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    socket: OwnedFd,
    outgoing: Mutex<Outgoing>,
    /// What its children cannot have otherwise.
    identity: String,
}

/// Makes `server` end once it has no children. The next start makes another.
fn retire(server: &Arc<Server>) {
    let mut servers = servers();
    if servers.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, server)) {
        servers.current = None;
        // Also where a forked copy of this process has the socket too.
        let _ = socket::shut_down(&server.socket, Direction::Outgoing);
        servers.retired.push(Arc::clone(server));
    }
    servers.sweep();
}

impl Servers {
    /// Waits for those that have ended.
    fn sweep(&mut self) {
        self.retired.retain(|server| matches!(server.child.try_wait(), Ok(None)));
    }
}

impl Server {
    fn current() -> Result<Arc<Self>> {
        let mut servers = servers();
        servers.sweep();
        if let Some(current) = &servers.current {
            return Ok(Arc::clone(current));
        }
        let started = Arc::new(Self::start()?);
        servers.current = Some(Arc::clone(&started));
        Ok(started)
    }

    fn start() -> Result<Self> {
        let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(|errno| OsError::new("opening /dev/null for a fork server", errno))?;
        // A reader of ours shall not wait for its end as well.
        let differences = Differences { standard: [Some(null.as_fd()); 3], ..Differences::default() };
        let identity = Surroundings::now()?.identity;
        let started = hook::start_with(server::serve, None, &differences)?;
        let (child, socket) = started.into_parts();
        Ok(Self { child, socket, outgoing: Mutex::new(Outgoing::new()), identity })
    }

    /// Asks for a child; where the answer will come, or `None` if the server has died.
    fn ask(
        self: &Arc<Self>,
        entry: fn(Bootstrap) -> i32,
        invitation: &Invitation,
        surroundings: &Surroundings,
        variables: &[(OsString, OsString)],
        differences: &Differences<'_>,
        deadline: Deadline,
    ) -> Result<Option<OwnedFd>> {
        let (status, theirs) = socket::pair()?;
        let directory =
            differences.directory.map_or_else(|| here().map(Held::Own), |one| Ok(Held::Theirs(one)))?;
        let standard = standard(differences);
        let request = Request {
            nonce: invitation.nonce(),
            entry: hook::entry_token(entry),
            standard: standard.map(|one| one.is_some()),
            group: differences.group.unwrap_or(surroundings.group),
            surroundings: surroundings.clone(),
            environment: block(variables)?,
        };
        if i32::try_from(request.group).is_err() {
            return Err(OsError::from_errno(Step::Group.doing(), libc::EINVAL));
        }
        let mut descriptors = vec![invitation.theirs(), theirs.as_fd(), directory.as_fd()];
        descriptors.extend(standard.into_iter().flatten());
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = outgoing.send(&self.socket, &request.to_bytes(), &descriptors, deadline);
        drop(outgoing);
        drop((theirs, directory));
        match sent {
            Ok(()) => Ok(Some(status)),
            Err(SendError::Closed) => Ok(None),
            Err(SendError::TimedOut) => Err(self.give_up()),
            Err(SendError::Os(e)) => Err(e),
        }
    }

    /// The child; `None` if the server has died, or cannot have what surrounds this thread.
    fn await_answer(self: &Arc<Self>, status: OwnedFd, deadline: Deadline) -> Result<Option<Child>> {
        let mut pidfd = Vec::new();
        loop {
            match receive(&status, &mut pidfd) {
                Ok(Answer::Started(pid)) => {
                    let (pid, pidfd) = taken(pid, pidfd.pop())?;
                    let reported = Reported { status, server: Arc::clone(self) };
                    return Ok(Some(Child::reported(pid, pidfd, reported)));
                }
                Ok(Answer::Released(pid)) => {
                    let (pid, pidfd) = taken(pid, pidfd.pop())?;
                    return Ok(Some(Child::released(pid, pidfd)));
                }
                Ok(Answer::Failed(Step::Surroundings, _) | Answer::Ended(_)) => return Ok(None),
                Ok(Answer::Failed(step, errno)) => return Err(OsError::from_errno(step.doing(), errno)),
                Err(RecvFailed::TimedOut) => {}
                // Its death may be seen a moment after the end of its sockets.
                Err(RecvFailed::Closed) if self.has_ended(Deadline::after(DYING))? => return Ok(None),
                Err(RecvFailed::Closed | RecvFailed::DescriptorsLost { .. }) => {
                    let doing = "handing descriptors to or from the fork server";
                    return Err(OsError::from_errno(doing, libc::EMFILE));
                }
                Err(RecvFailed::Os(e)) => return Err(e),
                Err(_) => return Ok(None),
            }
            if self.has_ended(Deadline::now())? {
                // What it said last may have come since.
                if matches!(poll::one(&status, Interest::Readable, Deadline::now()), Ok(true)) {
                    continue;
                }
                return Ok(None);
            }
            if deadline.has_passed() {
                return Err(self.give_up());
            }
            let watched = [Some(status.as_fd()), self.child.pidfd()];
            let watched: Vec<_> = watched.into_iter().flatten().map(|fd| (fd, Interest::Readable)).collect();
            poll::ready(&watched, deadline)?;
        }
    }

    /// Whether it has ended, or does before the deadline.
    fn has_ended(&self, deadline: Deadline) -> Result<bool> {
        self.child.wait(deadline).map(|exit| exit.is_some())
    }

    /// It does not answer: nobody shall ask it again.
    #[cold]
    fn give_up(self: &Arc<Self>) -> OsError {
        let _ = self.child.signal(Signal::KILL);
        retire(self);
        OsError::new("waiting for the fork server", io::Error::from(io::ErrorKind::TimedOut))
    }
}

/// A child that the server has made.
fn taken(pid: u32, pidfd: Option<OwnedFd>) -> Result<(Pid, OwnedFd)> {
    let both = Pid::from_raw(pid.cast_signed()).zip(pidfd);
    let garbled = || OsError::new("taking over a child of the fork server", io::ErrorKind::InvalidData);
    both.ok_or_else(garbled)
}

impl Step {
    fn doing(self) -> &'static str {
        match self {
            Self::Surroundings => "giving a child the surroundings of its caller",
            Self::Directory => "entering the directory of a child",
            Self::Group => "starting a child in a group of processes",
            Self::Fork => "forking a child",
            Self::Pidfd => "opening a pidfd of a forked child",
        }
    }
}

/// How the status of a child comes that a server has forked.
#[derive(Debug)]
pub(crate) struct Reported {
    status: OwnedFd,
    server: Arc<Server>,
}

/// What is known of such a child's status.
#[derive(Debug)]
pub(crate) enum Report {
    /// Nothing yet.
    Awaited,
    Ended(Exit),
    /// The server died before it could tell.
    Lost,
}

impl Reported {
    /// What has come. With `dead`, the child has ended: then waits a moment for the server, which is told by the kernel at
    /// the same time as we.
    pub(crate) fn look(&self, dead: bool) -> Report {
        let deadline = if dead { Deadline::after(DYING) } else { Deadline::now() };
        loop {
            match receive(&self.status, &mut Vec::new()) {
                Ok(Answer::Ended(status)) => return Report::Ended(Exit::from_wait_status(status)),
                Err(RecvFailed::TimedOut) => {}
                Ok(_) | Err(_) => return Report::Lost,
            }
            if deadline.has_passed() {
                return Report::Awaited;
            }
            let watched = [Some(self.status.as_fd()), self.server.child.pidfd()];
            let watched: Vec<_> = watched.into_iter().flatten().map(|fd| (fd, Interest::Readable)).collect();
            match poll::ready(&watched, deadline).as_deref() {
                Ok([false, true]) => return Report::Lost,
                Ok(_) => {}
                Err(_) => return Report::Awaited,
            }
        }
    }
}

/// The next packet on a status socket. Does not wait.
fn receive(status: &OwnedFd, pidfd: &mut Vec<OwnedFd>) -> std::result::Result<Answer, RecvFailed> {
    let mut bytes = [0; ANSWER];
    let packet = socket::recv_packet(status, &mut [IoSliceMut::new(&mut bytes)], pidfd, Deadline::now())?;
    let whole = Answer::from_bytes(&bytes).filter(|_| packet.bytes == ANSWER);
    whole.ok_or(RecvFailed::Truncated)
}

/// A descriptor of the caller's, or ours.
enum Held<'a> {
    Own(OwnedFd),
    Theirs(BorrowedFd<'a>),
}

impl AsFd for Held<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(own) => own.as_fd(),
            Self::Theirs(theirs) => *theirs,
        }
    }
}

/// The directory that this process works in.
fn here() -> Result<OwnedFd> {
    // Through this link, because that takes no right to list it or to look a name up in it.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::openat(CWD, "/proc/self/cwd", flags, Mode::empty());
    here.map_err(|errno| OsError::new("opening the directory of this process", errno))
}

/// The standard descriptors of a child, as far as they are open.
fn standard<'a>(differences: &Differences<'a>) -> [Option<BorrowedFd<'a>>; 3] {
    let ours = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut standard = differences.standard;
    for (one, ours) in standard.iter_mut().zip(ours) {
        let open =
            rustix::io::fcntl_getfd(ours).is_ok_and(|flags| !flags.contains(rustix::io::FdFlags::CLOEXEC));
        *one = one.or(open.then_some(ours));
    }
    standard
}

/// The variables as a program gets them, each with a NUL behind it.
pub(crate) fn block(variables: &[(OsString, OsString)]) -> Result<Vec<u8>> {
    let mut block = Vec::with_capacity(4096);
    for (name, value) in variables {
        let start = block.len();
        block.extend_from_slice(name.as_bytes());
        block.push(b'=');
        block.extend_from_slice(value.as_bytes());
        if block[start..].contains(&0) {
            return Err(OsError::from_errno("preparing a child's environment", libc::EINVAL));
        }
        block.push(0);
    }
    Ok(block)
}
