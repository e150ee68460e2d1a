//! The handle of a child, and what all handles of one child share.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::child::Child;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::hook::Started;
use procession_sys::signal::Signal;
use procession_sys::status::Exit;
use procession_sys::{Deadline, OsError};

use crate::builder::Builder;
use crate::companion::Companions;
use crate::domain::Obituary;
use crate::error::{JoinError, Who};
use crate::lines::Lines;
use crate::outcome::{Handshake, Reports, Value};
use crate::reaper;
use crate::stdio::Pipes;
use crate::tree::Place;

/// How long a dropped handle waits between asking its child to end (`SIGTERM`) and killing it.
const GRACE: Duration = Duration::from_secs(1);
/// How long it then waits for the kernel, before leaving the rest to the reaper.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A child process that runs one task, and the place its value of type `R` arrives at.
///
/// Dropping it ends the child: `SIGTERM`, a second of grace, `SIGKILL`, and its entry in the process table is
/// gone. To wait for the value instead, [`join`](Process::join); to let the child run on, [`detach`](Process::detach).
/// In any case the child ends when this process does: one that leaves by itself (`main` returns or panics, its task does,
/// `exit` is called) ends its children first, as a drop of their handles would; of any other end they learn at once, and end.
///
/// Send and Sync: any number of threads may wait and ask at once; the value goes to the first that takes it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = procession_process::spawn(|n: u64| n * n, 12)?;
/// println!("{} is process {}", child.name(), child.pid());
/// assert_eq!(child.join()?, 144);
/// # Ok(()) }
/// ```
#[must_use = "dropping a Process ends its child: join it, keep it, or detach it"]
pub struct Process<R = ()> {
    shared: Arc<Shared>,
    ends_child: bool,
    pub(crate) pipes: Mutex<Pipes>,
    value: PhantomData<fn() -> R>,
}

/// What every handle of one child shares.
#[derive(Debug)]
pub(crate) struct Shared {
    who: Who,
    place: Place,
    /// The process whose child it is.
    epoch: Epoch,
    started: Started,
    obituary: Obituary,
    /// Where the kernel has no pidfds: the read end of a pipe whose write end only the child holds.
    sentinel: Option<OwnedFd>,
    start_timeout: Duration,
    start_deadline: Instant,
    state: Mutex<State>,
    /// What it writes that is read by lines.
    pub(crate) lines: Lines,
    /// Who stays here for it.
    pub(crate) companions: Companions,
}

#[derive(Debug)]
struct State {
    reports: Reports,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Pending,
    Ready(Result<Value, JoinError>),
    Taken,
}

impl Shared {
    pub(crate) fn new(
        who: Who,
        place: Place,
        started: Started,
        sentinel: Option<OwnedFd>,
        start_timeout: Duration,
    ) -> Self {
        let now = Instant::now();
        let start_deadline = now.checked_add(start_timeout).unwrap_or(now + Duration::from_secs(86_400));
        let state = State { reports: Reports::new(), outcome: Outcome::Pending };
        Self {
            who,
            place,
            epoch: epoch(),
            started,
            obituary: Obituary::default(),
            sentinel,
            start_timeout,
            start_deadline,
            state: Mutex::new(state),
            lines: Lines::default(),
            companions: Companions::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name and number.
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    pub(crate) fn path(&self) -> &[u32] {
        &self.place.path
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.place.daemon
    }

    pub(crate) fn ends_with_parent(&self) -> bool {
        self.place.ends_with_parent
    }

    /// For its number, its descriptor, and signals. Its end is asked for here, so that it is told.
    pub(crate) fn child(&self) -> &Child {
        &self.started.child
    }

    /// How it ended, if it has. Never blocks.
    pub(crate) fn try_wait(&self) -> Result<Option<Exit>, OsError> {
        self.tell(self.child().try_wait(), Deadline::now())
    }

    /// How it ended, unless it is still running at `deadline`, however late its start is.
    pub(crate) fn wait_for_end(&self, deadline: Deadline) -> Result<Option<Exit>, OsError> {
        self.tell(self.child().wait(deadline), deadline)
    }

    /// Who reports that the child has ended has told its death before.
    fn tell(&self, exit: Result<Option<Exit>, OsError>, deadline: Deadline) -> Result<Option<Exit>, OsError> {
        if let Ok(Some(_)) = exit {
            self.obituary.tell(self.who.pid);
            self.companions.ended(&self.who, deadline);
        }
        exit
    }

    /// Our end of the child's channel.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.started.socket.as_fd()
    }

    /// Waits for the end, no longer than `deadline`; a child that does not report within its start timeout is killed.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<Option<Exit>, OsError> {
        loop {
            let late = self.late_at();
            if let Some(exit) = self.wait_for_end(deadline.min(late))? {
                return Ok(Some(exit));
            }
            if late.has_passed() {
                self.give_up_on_a_late_start()?;
            } else if deadline.has_passed() {
                return Ok(None);
            }
        }
    }

    /// When the child is to be killed, should it not have reported by then. A report that nobody has looked for yet
    /// counts as none.
    pub(crate) fn late_at(&self) -> Deadline {
        let awaited = self.state().reports.handshake == Handshake::Awaited;
        if awaited { Deadline::at(self.start_deadline) } else { Deadline::NEVER }
    }

    #[cold]
    fn give_up_on_a_late_start(&self) -> Result<(), OsError> {
        let mut state = self.state();
        state.reports.look_for_hello(&self.started);
        if state.reports.handshake == Handshake::Awaited {
            state.reports.handshake = Handshake::TimedOut;
            self.child().signal(Signal::KILL)?;
        }
        Ok(())
    }

    /// The outcome, taken, once the child has ended and its lines were handed over; `None` at the deadline.
    pub(crate) fn take(&self, deadline: Deadline) -> Result<Option<Value>, JoinError> {
        let Some(exit) = self.wait(deadline)? else { return Ok(None) };
        if !deadline.has_passed() {
            self.lines.drain(deadline);
        }
        let mut state = self.state();
        self.settle(&mut state, exit);
        match std::mem::replace(&mut state.outcome, Outcome::Taken) {
            Outcome::Ready(outcome) => outcome.map(Some),
            Outcome::Pending | Outcome::Taken => Err(JoinError::AlreadyTaken { who: self.who.clone() }),
        }
    }

    /// The error of an ended child, unless its value or error was taken.
    pub(crate) fn take_error(&self) -> Option<JoinError> {
        match self.wait(Deadline::NEVER) {
            Ok(Some(exit)) => {
                self.lines.drain(Deadline::NEVER);
                let mut state = self.state();
                self.settle(&mut state, exit);
                if !matches!(state.outcome, Outcome::Ready(Err(_))) {
                    return None;
                }
                match std::mem::replace(&mut state.outcome, Outcome::Taken) {
                    Outcome::Ready(Err(error)) => Some(error),
                    _ => None,
                }
            }
            Ok(None) => None,
            Err(e) => Some(JoinError::Os(e)),
        }
    }

    fn settle(&self, state: &mut State, exit: Exit) {
        if matches!(state.outcome, Outcome::Pending) {
            state.reports.drain(&self.started);
            state.outcome = Outcome::Ready(state.reports.decide(&self.who, exit, self.start_timeout));
        }
    }

    /// Ends the child within a bound: asks, waits, kills, waits.
    pub(crate) fn end(self: &Arc<Self>) {
        // A forked copy of the parent has handles to what are not its children.
        if self.epoch != epoch() {
            return;
        }
        // Nothing to do about an error here: what cannot be ended now is left to the reaper.
        let ended = |exit: Result<Option<Exit>, OsError>| matches!(exit, Ok(Some(_)));
        if ended(self.try_wait()) {
            return;
        }
        let _ = self.child().signal(Signal::TERM);
        if ended(self.wait_for_end(Deadline::after(GRACE))) {
            return;
        }
        let _ = self.child().signal(Signal::KILL);
        if !ended(self.wait_for_end(Deadline::after(LAST_WAIT))) {
            reaper::adopt(Arc::clone(self));
        }
    }
}

impl Process {
    /// Settings for a process that is still to be started.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<R> Process<R> {
    pub(crate) fn new(shared: Arc<Shared>, mut pipes: Pipes) -> Self {
        shared.lines.listen(std::mem::take(&mut pipes.lines), &shared.who);
        Self { shared, ends_child: true, pipes: Mutex::new(pipes), value: PhantomData }
    }

    /// From now on dropping the handle does nothing to the child.
    pub(crate) fn disarm(&mut self) {
        self.ends_child = false;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its name: the one given, or `Process-N`.
    pub fn name(&self) -> &str {
        &self.shared.who.name
    }

    /// Its process number. After the process has ended and was waited for, the number may belong to another.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.shared.who.pid
    }

    /// Where in the tree it is: the [path](crate::Current::path) of this process, and the number of the child.
    pub fn path(&self) -> &[u32] {
        self.shared.path()
    }

    /// Whether it was started as a [daemon](Builder::daemon).
    pub fn is_daemon(&self) -> bool {
        self.shared.is_daemon()
    }

    /// Whether it has not ended yet. Never blocks.
    pub fn is_alive(&self) -> bool {
        !matches!(self.shared.try_wait(), Ok(Some(_)))
    }

    /// How it ended, if it has. Never blocks; leaves the value where it is.
    #[doc(alias = "exitcode")]
    pub fn try_wait(&self) -> Result<Option<Exit>, OsError> {
        self.shared.try_wait()
    }

    /// Waits until it has ended, and says how. Any number of threads may wait at once; the value stays to be taken.
    pub fn wait(&self) -> Result<Exit, OsError> {
        Ok(self.shared.wait(Deadline::NEVER)?.unwrap_or(Exit::Unknown))
    }

    /// [`wait`](Self::wait) for at most `timeout`; `None` when it is still running then.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Exit>, OsError> {
        self.shared.wait(Deadline::after(timeout))
    }

    /// [`wait`](Self::wait) until `instant`; `None` when it is still running then.
    pub fn wait_until(&self, instant: Instant) -> Result<Option<Exit>, OsError> {
        self.shared.wait(Deadline::at(instant))
    }

    /// Sends `SIGINT`, as Ctrl-C does. No effect on a process that has ended.
    pub fn interrupt(&self) -> Result<(), OsError> {
        self.shared.child().signal(Signal::INT).map(drop)
    }

    /// Sends `SIGTERM`: ends it, unless it handles that signal. No effect on a process that has ended.
    pub fn terminate(&self) -> Result<(), OsError> {
        self.shared.child().signal(Signal::TERM).map(drop)
    }

    /// Sends `SIGKILL`: ends it in any case. Does not wait. No effect on a process that has ended.
    pub fn kill(&self) -> Result<(), OsError> {
        self.shared.child().signal(Signal::KILL).map(drop)
    }

    /// Lets the child run on without this handle; its value is lost. It still ends when this process does, and its
    /// entry in the process table is cleared by a background thread.
    pub fn detach(mut self) {
        self.disarm();
        if self.is_alive() {
            reaper::adopt(Arc::clone(&self.shared));
        }
    }
}

impl<R: Message> Process<R> {
    /// Waits for the end of the child and returns the value of its task.
    ///
    /// Errors: one variant of [`JoinError`] for each way to end without a value, and for a value that was already
    /// taken through [`try_join`](Self::try_join) or [`join_timeout`](Self::join_timeout). Blocks as long as the task
    /// runs; a child that dies, of whatever, ends the wait.
    ///
    /// [Pipes](crate::Stdio::piped) of the child that nobody has taken are read meanwhile, and thrown away, so that it does
    /// not wait for a reader: see [`join_with_output`](Self::join_with_output).
    pub fn join(self) -> Result<R, JoinError> {
        self.join_to_end()
    }

    pub(crate) fn join_to_end(&self) -> Result<R, JoinError> {
        self.listen_in_vain()?;
        let taken = self.shared.take(Deadline::NEVER)?;
        let Some(value) = taken else { return Err(JoinError::StatusLost { who: self.shared.who.clone() }) };
        value.decode(&self.shared.who)
    }

    /// The value if the child has ended, `None` while it runs. Never blocks.
    pub fn try_join(&self) -> Result<Option<R>, JoinError> {
        self.join_by(Deadline::now())
    }

    /// [`join`](Self::join) for at most `timeout`; `None` when the child is still running then.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, JoinError> {
        self.join_by(Deadline::after(timeout))
    }

    /// [`join`](Self::join) until `instant`; `None` when the child is still running then.
    pub fn join_until(&self, instant: Instant) -> Result<Option<R>, JoinError> {
        self.join_by(Deadline::at(instant))
    }

    fn join_by(&self, deadline: Deadline) -> Result<Option<R>, JoinError> {
        self.shared.take(deadline)?.map(|value| value.decode(&self.shared.who)).transpose()
    }
}

impl<R> AsFd for Process<R> {
    /// A descriptor that is readable once the child has ended, for `poll` and event loops. Never read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let shared = &self.shared;
        let fallback = shared.sentinel.as_ref().unwrap_or(&shared.started.socket);
        shared.child().pidfd().unwrap_or_else(|| fallback.as_fd())
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        if self.ends_child {
            self.shared.end();
            self.shared.lines.await_read(Deadline::after(GRACE));
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.try_wait();
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("exit", &state)
            .finish()
    }
}
