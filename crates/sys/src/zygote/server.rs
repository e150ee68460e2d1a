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
use crate::forked::{self, NoWayBack, place};
use crate::hook::{self, Bootstrap};
use crate::message::{Incoming, RecvError};
use crate::poll::{self, Interest};
use crate::signal::{self, Disposition, Signal};
use crate::spawn::CHILD_FD;
use crate::surroundings::{LIMITS, PROCESSES, Surroundings, processors};
use crate::{Deadline, OsError, Result, fork, limits, socket};

/// The longest request, in bytes: an environment cannot be as large.
const LIMIT: u64 = 64 << 20;
/// What the server is called in lists of processes; its children are not.
const NAME: &std::ffi::CStr = c"procession-fork";

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
    /// The status sockets of the children that run.
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
        // What each child would ask the kernel by itself.
        caps::has(Capability::Waitv);
        fork::epoch();
        let name = rustix::thread::name().unwrap_or_default();
        let _ = rustix::thread::set_name(NAME);
        Ok(Self {
            requests: Some(bootstrap.socket),
            parent,
            ended: signal_descriptor()?,
            incoming: Incoming::new(LIMIT),
            children: BTreeMap::new(),
            worn: Worn { surroundings, environment: Vec::new(), pointers: Vec::new() },
            name,
        })
    }

    /// Waits for one thing and does it; `false` if there is nothing more to do.
    fn step(&mut self) -> Result<bool> {
        if self.requests.is_none() && self.children.is_empty() {
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
            Err(_) => self.requests = None,
        }
    }

    fn start(&mut self, request: Request, given: Descriptors) {
        let pid = match self.fork(request, &given) {
            Ok(pid) => pid,
            Err((step, errno)) => return answer(&given.status, Answer::Failed(step, errno), None),
        };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => answer(&given.status, Answer::Started(number(pid)), Some(pidfd)),
            Err(errno) => {
                // It was not waited for, so the number is its own; it has no task yet.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                answer(&given.status, Answer::Failed(Step::Pidfd, errno.raw_os_error()), None);
            }
        }
        self.children.insert(pid.as_raw_nonzero().get(), given.status);
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
            become_child(&request, given, &self.worn.surroundings, &self.name);
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

/// In the forked child: what is left to put on; then as a program that was started again goes on.
fn become_child(request: &Request, given: &Descriptors, worn: &Surroundings, name: &CString) -> ! {
    let _bomb = NoWayBack;
    if dress(request, given, worn).is_err() {
        crate::child::end_now(hook::NOT_OURS);
    }
    let _ = rustix::thread::set_name(name);
    hook::go_on(request.nonce)
}

fn dress(request: &Request, given: &Descriptors, worn: &Surroundings) -> Result<()> {
    let wanted = &request.surroundings;
    for (number, descriptor) in (0..).zip(&given.standard) {
        match descriptor {
            Some(descriptor) => place(descriptor.as_fd(), number)?,
            // SAFETY: nobody in this process uses a standard descriptor that its caller has not.
            None => drop(unsafe { libc::close(number) }),
        }
    }
    place(given.channel.as_fd(), CHILD_FD)?;
    // SAFETY: closes what belongs to the server, whose code does not go on here.
    unsafe { libc::close_range(CHILD_FD.cast_unsigned() + 1, u32::MAX, 0) };
    let failed = |errno| OsError::new("preparing a child", errno);
    for ((resource, limit), now) in LIMITS.into_iter().zip(wanted.limits).zip(worn.limits) {
        if limit != now {
            setrlimit(resource, limit).map_err(failed)?;
        }
    }
    if wanted.niceness != worn.niceness {
        rustix::process::setpriority_process(None, wanted.niceness).map_err(failed)?;
    }
    if disposition(wanted.ignored, libc::SIGCHLD) == Disposition::Ignore {
        signal::set(Signal::CHLD, Disposition::Ignore)?;
    }
    set_blocked(wanted.blocked)
}
