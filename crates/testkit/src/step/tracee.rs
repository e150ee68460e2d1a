//! The two ends of a trace: the victim that asks for it, and the thread that steps it.
//!
//! Invariants: a [`Tracee`] stays on the thread that started it and reaps everything that thread waits for;
//! between two calls the traced thread stands still; dropping it kills and reaps.
//!
//! # Safety
//! `ptrace` is only used with requests that read or write nothing in the victim, or write a `siginfo_t` or
//! registers here.
//! Each names a thread that this one traces and that stands still, else the kernel answers `ESRCH`; a wrong
//! number is therefore an error and not a danger. If the victim is killed at any moment the next wait tells.

#![allow(unsafe_code, reason = "ptrace and waits that rustix does not have")]

use std::env;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use libc::{c_int, c_long, pid_t};

use super::watch::{Before, Watch};

/// Set for a victim that is being traced.
const TRACED: &str = "PROCESSION_TESTKIT_STEP";

/// The thread whose window is open, 0 while there is none.
static WINDOW: AtomicI32 = AtomicI32::new(0);
/// Its process: asking for it again would be a system call inside the window.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Opens the victim's window: from here on every instruction of this thread is a kill point.
///
/// Does nothing in a process that no [`kill_at`](super::kill_at) started.
///
/// # Blocking
/// Until the tracer lets it go on.
///
/// # Panics
/// When the kernel refuses the trace.
#[inline(never)]
pub fn here() {
    if env::var_os(TRACED).is_none() {
        return;
    }
    trace_me().expect("being traced by the parent");
    // SAFETY: gettid has no preconditions.
    let tid = unsafe { libc::gettid() };
    PROCESS.store(process::id().cast_signed(), Relaxed);
    WINDOW.store(tid, Relaxed);
    mark(tid);
}

/// Closes the victim's window. Does nothing when none is open.
#[inline(never)]
pub fn end() {
    let tid = WINDOW.load(Relaxed);
    if tid != 0 {
        mark(tid);
    }
}

/// Stops the calling thread, whose id is `tid`, in front of its tracer.
fn mark(tid: pid_t) {
    // SAFETY: a signal to the calling thread; SIGSTOP runs no handler.
    unsafe { libc::syscall(libc::SYS_tgkill, PROCESS.load(Relaxed), tid, libc::SIGSTOP) };
}

fn trace_me() -> io::Result<()> {
    // SAFETY: PTRACE_TRACEME ignores its other arguments and touches no memory.
    answer(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, ptr::null_mut::<u8>(), ptr::null_mut::<u8>()) })
}

/// Tries a trace on a child that never gets to run: it stops at its exec, is stepped once, and killed.
pub(super) fn probe() -> io::Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes one system call; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(trace_me) };
    let mut victim = Tracee::spawn(command)?;
    for _ in 0..2 {
        match victim.wait() {
            Event::Stopped(libc::SIGTRAP) => victim.request(libc::PTRACE_SINGLESTEP, 0)?,
            other => return Err(io::Error::other(format!("instead of a trap: {other:?}"))),
        }
    }
    Ok(())
}

/// Why the victim stands still after a step.
#[derive(Debug)]
pub(super) enum Stop {
    /// It did one instruction.
    Step,
    /// It closed its window.
    Mark,
    /// It is no more, and is reaped.
    Ended(ExitStatus),
}

/// What a wait tells.
#[derive(Debug)]
enum Event {
    /// The traced thread stands still at this signal.
    Stopped(c_int),
    /// The process has ended and is reaped.
    Ended(ExitStatus),
}

/// A victim and its tracer, which is the thread that started it.
#[derive(Debug)]
pub(super) struct Tracee {
    child: Child,
    /// The traced thread, as the first stop names it.
    tid: pid_t,
    /// A signal of somebody else's that the victim gets when it goes on.
    pending: c_int,
    reaped: bool,
    /// The kernel answers to this thread only.
    _stays: PhantomData<*const ()>,
}

impl Tracee {
    /// Starts the victim. The calling thread must have no other children.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let child = command.env(TRACED, "1").spawn()?;
        let tid = child.id().cast_signed();
        Ok(Self { child, tid, pending: 0, reaped: false, _stays: PhantomData })
    }

    /// Waits until the victim opens its window.
    pub(super) fn open(&mut self) {
        loop {
            match self.wait() {
                Event::Stopped(libc::SIGSTOP) if self.is_mark() => break,
                Event::Stopped(signal) => {
                    self.request(libc::PTRACE_CONT, signal).expect("a stopped victim goes on");
                }
                Event::Ended(status) => panic!("the victim opened no window: {status}"),
            }
        }
        let dies_with_us = c_long::from(libc::PTRACE_O_EXITKILL);
        self.ask(libc::PTRACE_SETOPTIONS, dies_with_us).expect("the options of a stopped victim");
    }

    /// Lets the victim do one instruction.
    pub(super) fn step(&mut self) -> Stop {
        loop {
            // A victim that somebody else killed answers ESRCH; the wait then tells how it ended.
            let _ = self.request(libc::PTRACE_SINGLESTEP, self.pending);
            self.pending = 0;
            match self.wait() {
                Event::Stopped(libc::SIGTRAP) => return Stop::Step,
                Event::Stopped(libc::SIGSTOP) if self.is_mark() => return Stop::Mark,
                Event::Stopped(signal) => self.pending = signal,
                Event::Ended(status) => return Stop::Ended(status),
            }
        }
    }

    /// A watch on the memory of the victim, which has opened its window.
    pub(super) fn watch(&self) -> io::Result<Watch> {
        Watch::new(self.child.id())
    }

    /// What the next instruction can change; nothing if the victim is no more, as the next step tells.
    pub(super) fn before(&self, watch: &Watch) -> Before {
        self.registers().map_or(Before::Nothing, |r| {
            let (low, high) =
                ([r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi], [r.r8, r.r9, r.r10, r.r11]);
            let numbered = [low.as_slice(), &high, &[r.r12, r.r13, r.r14, r.r15]].concat();
            watch.before(r.rip, &std::array::from_fn(|n| numbered[n]))
        })
    }

    /// Lets the victim run on untraced and waits for its end.
    pub(super) fn release(mut self) -> ExitStatus {
        self.request(libc::PTRACE_DETACH, 0).expect("a stopped victim can be let go");
        match self.wait() {
            Event::Ended(status) => status,
            Event::Stopped(signal) => panic!("a victim that is not traced stopped at signal {signal}"),
        }
    }

    /// Kills the victim where it stands and reaps it.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        while !self.reaped {
            self.wait();
        }
    }

    /// The next event of this thread's only child and of its traced thread.
    ///
    /// The end of the traced thread alone is passed over: the process has not ended with it.
    fn wait(&mut self) -> Event {
        loop {
            let mut status = 0;
            // SAFETY: `status` is a valid place for the result, and the call keeps no pointer to it.
            let id = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            if id < 0 {
                let error = io::Error::last_os_error();
                assert!(error.kind() == io::ErrorKind::Interrupted, "waiting for the victim: {error}");
            } else if libc::WIFSTOPPED(status) {
                self.tid = id;
                return Event::Stopped(libc::WSTOPSIG(status));
            } else if id == self.child.id().cast_signed() {
                self.reaped = true;
                return Event::Ended(ExitStatus::from_raw(status));
            }
        }
    }

    /// Whether the victim stands at a mark of its own and not at somebody's SIGSTOP.
    fn is_mark(&self) -> bool {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let none = ptr::null_mut::<u8>();
        // SAFETY: `info` is a valid place for a siginfo_t, which is all that this request writes.
        let asked = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.tid, none, info.as_mut_ptr()) };
        if answer(asked).is_err() {
            return false;
        }
        // SAFETY: all bytes were zero, a valid siginfo_t, before the kernel filled it in.
        let info = unsafe { info.assume_init() };
        // SAFETY: the field is valid for signals sent by tgkill, and any bits make a number.
        let sender = unsafe { info.si_pid() };
        info.si_code == libc::SI_TKILL && sender == self.child.id().cast_signed()
    }

    fn registers(&self) -> io::Result<libc::user_regs_struct> {
        let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
        let none = ptr::null_mut::<u8>();
        // SAFETY: `registers` is a valid place for a user_regs_struct, which is all that this request writes.
        let asked = unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.tid, none, registers.as_mut_ptr()) };
        answer(asked)?;
        // SAFETY: all bytes were zero, and any bits make the numbers of a user_regs_struct.
        Ok(unsafe { registers.assume_init() })
    }

    /// Lets the stopped victim go on in some way, with a signal or none.
    fn request(&self, request: libc::c_uint, signal: c_int) -> io::Result<()> {
        self.ask(request, c_long::from(signal))
    }

    fn ask(&self, request: libc::c_uint, number: c_long) -> io::Result<()> {
        let none = ptr::null_mut::<u8>();
        // SAFETY: the requests made here take a number and neither read nor write memory of this process.
        answer(unsafe { libc::ptrace(request, self.tid, none, number) })
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

fn answer(code: c_long) -> io::Result<()> {
    if code == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
