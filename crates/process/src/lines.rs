//! Lines that children write, handed to this process: [`Stdio::lines`] and [`Stdio::prefixed`].
//!
//! One thread reads the pipes of all children that have this; it ends when the last pipe is at its end. Whoever joins a
//! child that has ended reads what is still in its pipes himself, so no line is missing when the join returns, and
//! nobody waits for a grandchild that keeps a pipe open: the thread goes on with that one.
//!
//! Invariants: what is read from a pipe is handed on by the thread that read it, one thread at a time, so lines of a
//! pipe keep their order; nobody waits for lines from inside of a callback. Held by `tests/lines.rs`.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, OsError};

use crate::error::Who;
use crate::stdio::{CHUNK, LEFT_IN_PIPES, Stdio};

mod cutter;
mod reader;

use cutter::Cutter;
use reader::Seat;

pub(crate) use reader::await_all;

/// How often somebody looks where nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

thread_local! {
    /// Whether this thread is in a callback.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// One line that a child has written; see [`Stdio::lines`]. Its text form is `[name pid] text`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Line<'l> {
    /// The child's name. Its own children, and programs that it starts, write under it as well.
    pub process: &'l str,
    /// The child's process number.
    pub pid: u32,
    /// Where it was written.
    pub stream: OutputStream,
    /// The line, without its end (`\n` or `\r\n`). What is no UTF-8 in it is replaced by `U+FFFD`.
    pub text: &'l str,
    /// Whether the line was too long and goes on with the next one of this stream.
    pub goes_on: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} {}] {}", self.process, self.pid, self.text)
    }
}

/// A stream that a child writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stdio {
    /// To `callback`, line by line: what the child prints, its panics, and whatever other code in it, or a program that it
    /// starts, writes there. For standard output and error; one clone may serve both, and many children.
    ///
    /// Lines of one stream keep their order. A line longer than 64 KiB comes in pieces ([`Line::goes_on`]); the last one
    /// comes although its end is missing. What a child wrote before it was killed arrives. All lines of a child have been
    /// handed over when [`join`](crate::Process::join) or its scope returns; so they have after a join with a deadline and
    /// a drop, as far as there was time (a drop takes a second at most). Otherwise they come soon, at the latest when this
    /// process ends in order. Lines that children of the child write later come later, under its name.
    ///
    /// The callback is called by a thread of ours that serves all children, or by one that joins the child; by one at a
    /// time. As long as it does not return nothing is read, and children that write wait when some 64 KiB of theirs are
    /// unread; likewise while this process is stopped. It may start and join children, but not wait for the one whose
    /// line it got: that may be waiting for it. If it panics, it is not called again, and what comes is thrown away.
    ///
    /// For standard input this is [`null`](Self::null).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, Stdio};
    /// use std::sync::mpsc;
    ///
    /// let (lines, received) = mpsc::channel();
    /// let log = Stdio::lines(move |line| drop(lines.send(line.text.to_owned())));
    /// let chatty = |n: u32| (0..n).for_each(|i| println!("step {i}"));
    /// Process::builder().stdout(log).spawn(chatty, 2)?.join()?;
    /// assert_eq!(received.try_iter().collect::<Vec<_>>(), ["step 0", "step 1"]);
    /// # Ok(()) }
    /// ```
    pub fn lines(callback: impl FnMut(Line<'_>) + Send + 'static) -> Self {
        Self::to_listener(Listener(Arc::new(Mutex::new(Some(Box::new(callback))))))
    }

    /// To the standard error of this process, each line with the child's name and number before it, and in one piece:
    /// `[Process-1 4711] step 0`. Otherwise as [`lines`](Self::lines). Errors of writing are ignored.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, Stdio};
    ///
    /// let child = Process::builder().stdout(Stdio::prefixed()).stderr(Stdio::prefixed());
    /// child.spawn(|()| println!("hello"), ())?.join()?;
    /// # Ok(()) }
    /// ```
    pub fn prefixed() -> Self {
        Self::lines(|line| {
            // In one write: a line is never torn apart by those of others.
            let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
        })
    }
}

type Callback = Box<dyn FnMut(Line<'_>) + Send>;

/// Who gets lines; nobody any more once it has panicked.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Mutex<Option<Callback>>>);

impl Listener {
    fn hear(&self, line: Line<'_>) {
        let mut callback = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(call) = callback.as_mut() else { return };
        IN_CALLBACK.set(true);
        let heard = catch_unwind(AssertUnwindSafe(|| call(line)));
        if heard.is_err() {
            // The panic has been printed. Dropping the callback may panic once more.
            let _ = catch_unwind(AssertUnwindSafe(|| *callback = None));
        }
        IN_CALLBACK.set(false);
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// A pipe of a child that is being started, and the thread that will read it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pipe: OwnedFd,
    stream: OutputStream,
    listener: Listener,
    seat: Seat,
}

impl Prepared {
    /// Also starts the thread, where there is none.
    pub(crate) fn new(pipe: OwnedFd, stream: OutputStream, listener: &Listener) -> Result<Self, OsError> {
        Ok(Self { pipe, stream, listener: listener.clone(), seat: Seat::take()? })
    }

    /// The child is there: from now on it is read.
    fn listen(self, who: &Who) -> Arc<Source> {
        let Self { pipe, stream, listener, seat } = self;
        let work = Work { cutter: Cutter::default(), listener };
        let state = State { pipe: Some(Arc::new(pipe.into())), work: Some(work) };
        let source =
            Arc::new(Source { who: who.clone(), stream, state: Mutex::new(state), free: Condvar::new() });
        seat.give(&source);
        source
    }
}

impl AsFd for Prepared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The pipes of one child that are read by lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(OnceLock<Vec<Arc<Source>>>);

impl Lines {
    /// The child is there: from now on they are read. Once for each child.
    pub(crate) fn listen(&self, prepared: Vec<Prepared>, who: &Who) {
        if !prepared.is_empty() {
            let _ = self.0.set(prepared.into_iter().map(|prepared| prepared.listen(who)).collect());
        }
    }

    /// The child has ended: hands on all that it wrote. With a deadline that is left to the thread, since a callback may
    /// take longer.
    pub(crate) fn drain(&self, deadline: Deadline) {
        if !deadline.is_never() {
            return self.await_read(deadline);
        }
        self.0.get().into_iter().flatten().for_each(|source| source.drain());
    }

    /// The child has ended: waits until all that it wrote is handed on, without doing so.
    pub(crate) fn await_read(&self, deadline: Deadline) {
        self.0.get().into_iter().flatten().for_each(|source| source.await_read(deadline));
    }
}

/// One pipe of one child.
#[derive(Debug)]
struct Source {
    who: Who,
    stream: OutputStream,
    state: Mutex<State>,
    /// Told when the work is put back.
    free: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` once it is at its end.
    pipe: Option<Arc<File>>,
    /// `None` while somebody does it.
    work: Option<Work>,
}

#[derive(Debug)]
struct Work {
    cutter: Cutter,
    listener: Listener,
}

impl Source {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pipe(&self) -> Option<Arc<File>> {
        self.state().pipe.clone()
    }

    /// Reads what is there now, at most about `most` bytes, and hands on its lines; `is_all` also what has no end yet.
    /// Waits until nobody else does so.
    fn read(&self, most: usize, is_all: bool) {
        let (mut work, mut pipe) = self.begin();
        let mut hear = |text: &str, goes_on| {
            let Who { name: process, pid } = &self.who;
            work.listener.hear(Line { process, pid: *pid, stream: self.stream, text, goes_on });
        };
        let mut buffer = vec![0; CHUNK];
        let mut left = most;
        while left > 0
            && let Some(open) = &pipe
            // Somebody else may have read what there was.
            && matches!(poll::one(open, Interest::Readable, Deadline::now()), Ok(true))
        {
            match (&**open).read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) if n > 0 => {
                    left = left.saturating_sub(n);
                    work.cutter.feed(&buffer[..n], &mut hear);
                }
                Ok(_) | Err(_) => pipe = None,
            }
        }
        if is_all || pipe.is_none() {
            work.cutter.finish(&mut hear);
        }
        *self.state() = State { pipe, work: Some(work) };
        self.free.notify_all();
    }

    fn begin(&self) -> (Work, Option<Arc<File>>) {
        let mut state = self.state();
        loop {
            if let Some(work) = state.work.take() {
                return (work, state.pipe.clone());
            }
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The child has ended: hands on all that it wrote. Nothing in a callback, where the same may be under way below.
    fn drain(&self) {
        if !IN_CALLBACK.get() {
            self.read(LEFT_IN_PIPES, true);
        }
    }

    /// Waits until the thread has handed on what stands in the pipe, no longer than `deadline`. Calls no callback: for those
    /// who must not be held up for ever.
    fn await_read(&self, deadline: Deadline) {
        if IN_CALLBACK.get() {
            return;
        }
        let mut state = self.state();
        loop {
            let is_empty =
                |pipe: &Arc<File>| matches!(poll::one(pipe, Interest::Readable, Deadline::now()), Ok(false));
            if state.work.is_some() && state.pipe.as_ref().is_none_or(is_empty) {
                return;
            }
            let left = deadline.remaining().unwrap_or(LOOK_AGAIN);
            if left.is_zero() {
                return;
            }
            // The thread tells after each read; if it has ended, nobody does.
            state =
                self.free.wait_timeout(state, left.min(LOOK_AGAIN)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
