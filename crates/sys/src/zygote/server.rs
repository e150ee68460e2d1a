//! The server's side: one thread, which puts on what surrounds the caller, forks, and reports who has ended.
//!
//! It never runs code of the program but for the constructors that ran before it. All signals are held back here, so that
//! nothing but `SIGKILL` and the end of its parent ends it while it has something to tell; a forked child lets through what
//! the caller does.
//!
//! # Safety
//! The process has one thread: the server refuses to serve in one that has more. So `environ` may be exchanged, and a
//! forked child may run anything. What `environ` points to is in [`Worn`], which is kept until something else is put on.
#![allow(unsafe_code, reason = "forks, and sets signals and the environment for the children")]

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::io::{Error, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::fs::Mode;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, setrlimit};

use super::request::{Answer, Descriptors, Request, Step};
use crate::caps::{self, Capability};
use crate::child::foreign::kept;
use crate::forked;
use crate::hook::Bootstrap;
use crate::message::{Incoming, RecvError};
use crate::poll::{self, Interest};
use crate::signal::{self, Disposition, Signal};
use crate::status::Exit;
use crate::surroundings::{PROCESSES, Surroundings, processors};
use crate::{Deadline, OsError, Result, fork, limits, socket};

/// The longest request, in bytes: an environment cannot be as large.
const LIMIT: u64 = 64 << 20;
/// What the server is called in lists of processes; its children are not.
const NAME: &std::ffi::CStr = c"procession-fork";

mod dress;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Runs in a process that was started for it; the answer is its exit code.
pub(super) fn serve(bootstrap: Bootstrap) -> i32 {
    let Ok(mut server) = Server::new(bootstrap) else { return 1 };
    loop {
        match server.step() {
            Ok(true) => {}
            Ok(false) => return 0,
            Err(_) => return 1,
        }
    }
}

struct Server {
    /// Where requests come from; `None` once there will be no more.
    requests: Option<OwnedFd>,
    parent: OwnedFd,
    /// Readable when a child has ended.
    ended: OwnedFd,
    incoming: Incoming,
    /// Whether the kernel clears children away and remembers how they ended.
    is_remembered: bool,
    /// The status sockets of the children that run, where the kernel does not remember.
    children: BTreeMap<i32, OwnedFd>,
    worn: Worn,
    /// What children are called in lists of processes.
    name: CString,
}

/// What the server has on, and its next child inherits.
struct Worn {
    surroundings: Surroundings,
    environment: Vec<u8>,
    /// To the variables in `environment`, and null.
    pointers: Vec<*mut c_char>,
}

impl Server {
    fn new(bootstrap: Bootstrap) -> Result<Self> {
        let n_threads = forked::n_threads()?;
        let Some(parent) = bootstrap.parent.filter(|_| n_threads == 1) else {
            // A constructor of the program has started a thread, or the kernel has no pidfds.
            return Err(OsError::from_errno("serving forks", libc::ENOTSUP));
        };
        // Its parent may have had few left at this moment. Children have as many as their caller.
        let _ = limits::raise_descriptor_limit();
        let surroundings = Surroundings::now()?;
        // A child that nobody waits for would take its status with it.
        signal::set(Signal::CHLD, Disposition::Default)?;
        set_blocked(u64::MAX)?;
        let is_remembered = is_remembered();
        if is_remembered {
            signal::set(Signal::CHLD, Disposition::Ignore)?;
        }
        warm_up();
        let name = rustix::thread::name().unwrap_or_default();
        let _ = rustix::thread::set_name(NAME);
        Ok(Self {
            requests: Some(bootstrap.socket),
            parent,
            ended: signal_descriptor()?,
            incoming: Incoming::new(LIMIT),
            is_remembered,
            children: BTreeMap::new(),
            worn: Worn { surroundings, environment: Vec::new(), pointers: Vec::new() },
            name,
        })
    }

    /// Waits for one thing and does it; `false` if there is nothing more to do.
    fn step(&mut self) -> Result<bool> {
        if self.requests.is_none() && !self.has_children() {
            return Ok(false);
        }
        let own = [(self.parent.as_fd(), Interest::Readable), (self.ended.as_fd(), Interest::Readable)];
        let requests = self.requests.as_ref().map(|socket| (socket.as_fd(), Interest::Readable));
        let ready = poll::ready(&own.into_iter().chain(requests).collect::<Vec<_>>(), Deadline::NEVER)?;
        if ready[0] {
            return Ok(false);
        }
        if ready[1] {
            self.reap();
        }
        if ready.get(2) == Some(&true) {
            self.receive();
        }
        Ok(true)
    }

    fn has_children(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions};
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !self.children.is_empty()
            || (self.is_remembered && rustix::process::waitid(WaitId::All, look).is_ok())
    }

    /// There will be no more requests. The end of the last child is an event again.
    fn retire(&mut self) {
        self.requests = None;
        let _ = signal::set(Signal::CHLD, Disposition::Default);
    }

    /// Reports all that have ended.
    fn reap(&mut self) {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        let _ = rustix::io::read(&self.ended, &mut info);
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(socket) = self.children.remove(&pid.as_raw_nonzero().get()) {
                // Nobody may want to know it any more.
                answer(&socket, Answer::Ended(status.as_raw()), None);
            }
        }
    }

    fn receive(&mut self) {
        let Some(socket) = &self.requests else { return };
        match self.incoming.recv(socket, Deadline::now()) {
            Ok(message) => {
                let Some(request) = Request::from_bytes(&message.bytes) else { return };
                let Some(given) = Descriptors::take(message.descriptors, request.standard) else { return };
                self.start(request, given);
            }
            // Its status socket is closed by this: the caller takes that for an answer.
            Err(RecvError::DescriptorsLost | RecvError::TimedOut | RecvError::TooLarge { .. }) => {}
            Err(_) => self.retire(),
        }
    }

    fn start(&mut self, request: Request, given: Descriptors) {
        // Until there is a pidfd, its number must be its own, and somebody must be there to remember it.
        self.let_children_wait(true);
        let (step, errno) = match self.fork(request, &given) {
            Err(why) => why,
            Ok(pid) => match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => {
                    self.let_children_wait(false);
                    let is_told = if self.is_remembered { Answer::Released } else { Answer::Started };
                    answer(&given.status, is_told(number(pid)), Some(pidfd));
                    if !self.is_remembered {
                        self.children.insert(pid.as_raw_nonzero().get(), given.status);
                    }
                    return;
                }
                Err(errno) => {
                    // It was not waited for, so the number is its own; it has no task yet.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    (Step::Pidfd, errno.raw_os_error())
                }
            },
        };
        self.let_children_wait(false);
        answer(&given.status, Answer::Failed(step, errno), None);
    }

    /// Whether children that end from now on wait to be waited for, where else the kernel clears them away.
    fn let_children_wait(&mut self, yes: bool) {
        if !self.is_remembered {
            return;
        }
        let _ = signal::set(Signal::CHLD, if yes { Disposition::Default } else { Disposition::Ignore });
        // Those that ended meanwhile.
        while !yes && matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    }

    /// Makes the child. It is in its group, and everything else that may be refused is done.
    fn fork(&mut self, request: Request, given: &Descriptors) -> std::result::Result<Pid, (Step, i32)> {
        let wanted = &request.surroundings;
        self.worn.put_on(wanted).map_err(|errno| (Step::Surroundings, errno))?;
        if self.worn.pointers.is_empty() || self.worn.environment != request.environment {
            self.worn.set_environment(request.environment.clone());
        }
        let failed = |step| move |errno: rustix::io::Errno| (step, errno.raw_os_error());
        rustix::process::fchdir(&given.directory).map_err(failed(Step::Directory))?;
        // A caller that may make no more processes makes none by this one.
        let (wanted, own) = (wanted.limits[PROCESSES], self.worn.surroundings.limits[PROCESSES]);
        let limit = Rlimit { current: wanted.current, maximum: own.maximum };
        let _ = (limit != own).then(|| setrlimit(Resource::Nproc, limit));
        // SAFETY: there is one thread (module page).
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            self.become_child(&request, given);
        }
        let forked = if pid > 0 { Pid::from_raw(pid) } else { None };
        let forked = forked.ok_or_else(|| (Step::Fork, Error::last_os_error().raw_os_error().unwrap_or(0)));
        let _ = (limit != own).then(|| setrlimit(Resource::Nproc, own));
        // No directory is held in use by a server that may live long.
        let _ = rustix::process::chdir("/");
        let pid = forked?;
        if request.group != self.worn.surroundings.group {
            let group = Pid::from_raw(request.group.cast_signed());
            if let Err(errno) = rustix::process::setpgid(Some(pid), group) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                return Err((Step::Group, errno.raw_os_error()));
            }
        }
        Ok(pid)
    }
}

impl Worn {
    /// What can be taken off again, and what can be refused. Errors: as numbers of the system.
    fn put_on(&mut self, wanted: &Surroundings) -> std::result::Result<(), i32> {
        let raw = |errno: rustix::io::Errno| errno.raw_os_error();
        let worn = &mut self.surroundings;
        if worn.umask != wanted.umask {
            rustix::process::umask(Mode::from_bits_truncate(wanted.umask));
            worn.umask = wanted.umask;
        }
        if worn.processors != wanted.processors {
            let set = processors(&wanted.processors).ok_or(libc::EINVAL)?;
            rustix::thread::sched_setaffinity(None, &set).map_err(raw)?;
            worn.processors.clone_from(&wanted.processors);
        }
        if wanted.niceness < worn.niceness {
            rustix::process::setpriority_process(None, wanted.niceness).map_err(raw)?;
            worn.niceness = wanted.niceness;
        }
        for number in signals(worn.ignored ^ wanted.ignored).filter(|number| *number != libc::SIGCHLD) {
            let _ = signal::set(Signal(number), disposition(wanted.ignored, number));
        }
        worn.ignored = wanted.ignored;
        Ok(())
    }

    fn set_environment(&mut self, mut environment: Vec<u8>) {
        let mut pointers = pointers(&mut environment);
        set_environ(&mut pointers);
        // The old ones go here, when nothing points to them any more.
        (self.environment, self.pointers) = (environment, pointers);
    }
}

/// To the variables in a block, each of which has a NUL behind it; and null.
pub(crate) fn pointers(block: &mut Vec<u8>) -> Vec<*mut c_char> {
    let start = block.as_mut_ptr().cast::<c_char>();
    let mut place = 0;
    let mut pointers = Vec::new();
    for variable in block.split_inclusive(|byte| *byte == 0) {
        pointers.push(start.wrapping_add(place));
        place += variable.len();
    }
    pointers.push(ptr::null_mut());
    pointers
}

/// The environment of this process is from now on what the pointers say, which the caller keeps. In a process with one
/// thread.
pub(crate) fn set_environ(pointers: &mut [*mut c_char]) {
    // SAFETY: there is one thread, and the caller keeps what is pointed to (module page).
    unsafe { environ = pointers.as_mut_ptr() };
}

/// The numbers of the signals in a set, bit 0 of which is signal 1.
fn signals(set: u64) -> impl Iterator<Item = i32> {
    (1..=64).filter(move |number| set >> (number - 1) & 1 != 0)
}

fn disposition(ignored: u64, number: i32) -> Disposition {
    if ignored >> (number - 1) & 1 == 0 { Disposition::Default } else { Disposition::Ignore }
}

fn set_blocked(wanted: u64) -> Result<()> {
    let set = signal_set(wanted);
    // SAFETY: the set is a local variable; the old one is not asked for.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(OsError::from_errno("setting which signals wait", error)) }
}

fn signal_set(wanted: u64) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to writable memory of the right type.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for number in signals(wanted) {
        // SAFETY: the set was filled above; libc refuses the numbers that it keeps for itself.
        unsafe { libc::sigaddset(set.as_mut_ptr(), number) };
    }
    // SAFETY: `sigemptyset` filled it.
    unsafe { set.assume_init() }
}

/// Readable while a child has ended and was not reported.
fn signal_descriptor() -> Result<OwnedFd> {
    let set = signal_set(1 << (libc::SIGCHLD - 1));
    // SAFETY: the set is a local variable; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(OsError::new("watching for ends of children", Error::last_os_error()));
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn answer(socket: &OwnedFd, answer: Answer, pidfd: Option<OwnedFd>) {
    let pidfd: Vec<_> = pidfd.iter().map(AsFd::as_fd).collect();
    // Who does not listen any more has ended, and its children will.
    let _ = socket::send_packet(socket, &[IoSlice::new(&answer.to_bytes())], &pidfd, Deadline::now());
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Whether the kernel tells of a process that nobody waited for how it ended. Asked with one that ends at once.
fn is_remembered() -> bool {
    if caps::is_switched_off("exit_info") {
        return false;
    }
    const CODE: i32 = 57;
    // SAFETY: there is one thread (module page).
    let pid = match unsafe { libc::fork() } {
        0 => crate::child::end_now(CODE),
        pid => Pid::from_raw(pid),
    };
    let Some(pid) = pid.filter(|pid| pid.as_raw_nonzero().get() > 0) else { return false };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(rustix::io::Errno::INTR)) {}
    pidfd.is_ok_and(|pidfd| kept(pidfd.as_fd()) == Some(Exit::Code(CODE)))
}

/// What each child would ask the kernel, the loader and libc by itself, and find again: answers, addresses of functions,
/// the memory of a thread that has ended.
fn warm_up() {
    caps::has(Capability::Waitv);
    fork::epoch();
    let _ = crate::life::layout();
}
