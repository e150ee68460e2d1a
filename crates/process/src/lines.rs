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
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use procession_sys::event::Event;
use procession_sys::fork::{Epoch, epoch};
use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, OsError};

use crate::error::Who;
use crate::stdio::{CHUNK, LEFT_IN_PIPES, Stdio};

mod cutter;

use cutter::Cutter;

/// How long the thread rests where the system lacks the memory to wait.
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
    /// handed over when a join of it (but not [`try_join`](crate::Process::try_join)) or its scope returns; otherwise
    /// they come soon, at the latest when this process ends in order. Lines that children of the child write
    /// later come later.
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
    pub(crate) fn listen(self, who: &Who) -> Arc<Source> {
        let Self { pipe, stream, listener, seat } = self;
        let work = Work { cutter: Cutter::default(), listener };
        let state = State { pipe: Some(Arc::new(pipe.into())), work: Some(work) };
        let source =
            Arc::new(Source { who: who.clone(), stream, state: Mutex::new(state), free: Condvar::new() });
        seat.0.sources().list.push(Arc::clone(&source));
        // The end of the seat wakes the thread.
        drop(seat);
        source
    }
}

/// One pipe of one child.
#[derive(Debug)]
pub(crate) struct Source {
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
    /// Waits until nobody else does so, no longer than `deadline`.
    fn read(&self, most: usize, is_all: bool, deadline: Deadline) {
        let Some((mut work, mut pipe)) = self.begin(deadline) else { return };
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

    fn begin(&self, deadline: Deadline) -> Option<(Work, Option<Arc<File>>)> {
        let mut state = self.state();
        loop {
            if let Some(work) = state.work.take() {
                return Some((work, state.pipe.clone()));
            }
            state = match deadline.remaining() {
                Some(left) if left.is_zero() => return None,
                Some(left) => self.free.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.free.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The child has ended: hands on all that it wrote. Nothing in a callback, where the same may be under way below.
    pub(crate) fn drain(&self, deadline: Deadline) {
        if !IN_CALLBACK.get() {
            self.read(LEFT_IN_PIPES, true, deadline);
        }
    }

    /// Waits until the thread has handed on what stands in the pipe, no longer than `deadline`. Calls no callback: for those
    /// who must not be held up for ever.
    pub(crate) fn await_read(&self, deadline: Deadline) {
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

/// At the end of this process: waits until all that was written so far is handed on, no longer than `limit`.
pub(crate) fn await_all(limit: Duration) {
    let known = READER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some((_, reader)) = known.filter(|(then, _)| *then == epoch()) else { return };
    let (list, deadline) = (reader.sources().list.clone(), Deadline::after(limit));
    for source in list {
        source.await_read(deadline);
    }
}

/// The thread that reads, and what it reads.
struct Reader {
    sources: Mutex<Sources>,
    news: Event,
}

#[derive(Default)]
struct Sources {
    list: Vec<Arc<Source>>,
    /// Children that are being started.
    n_seats: usize,
    is_running: bool,
}

/// That of this process; a fork has the list of its parent, but not the thread.
static READER: Mutex<Option<(Epoch, Arc<Reader>)>> = Mutex::new(None);

impl Reader {
    fn of_this_process() -> Result<Arc<Self>, OsError> {
        let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epoch();
        if let Some((_, reader)) = reader.as_ref().filter(|(then, _)| *then == epoch) {
            return Ok(Arc::clone(reader));
        }
        let new = Arc::new(Self { sources: Mutex::default(), news: Event::new()? });
        *reader = Some((epoch, Arc::clone(&new)));
        Ok(new)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            // Before looking: what is new after that wakes us again.
            self.news.clear();
            let Some(open) = self.open() else { return };
            let pipes = open.iter().map(|(_, pipe)| pipe.as_fd());
            let waits: Vec<_> = pipes.chain([self.news.as_fd()]).map(|fd| (fd, Interest::Readable)).collect();
            let Ok(ready) = poll::ready(&waits, Deadline::NEVER) else {
                thread::park_timeout(LOOK_AGAIN);
                continue;
            };
            for ((source, _), _) in open.iter().zip(ready).filter(|(_, ready)| *ready) {
                source.read(CHUNK, false, Deadline::NEVER);
            }
        }
    }

    /// What there is to read; `None` when the thread may end.
    fn open(&self) -> Option<Vec<(Arc<Source>, Arc<File>)>> {
        let mut sources = self.sources();
        let with_pipe = |source: &Arc<Source>| Some((Arc::clone(source), source.pipe()?));
        let open: Vec<_> = sources.list.iter().filter_map(with_pipe).collect();
        sources.list = open.iter().map(|(source, _)| Arc::clone(source)).collect();
        sources.is_running = sources.n_seats > 0 || !open.is_empty();
        sources.is_running.then_some(open)
    }
}

/// As long as it is there the thread runs.
struct Seat(Arc<Reader>);

impl Seat {
    fn take() -> Result<Self, OsError> {
        let reader = Reader::of_this_process()?;
        let mut sources = reader.sources();
        if !sources.is_running {
            let run = Arc::clone(&reader);
            let thread = thread::Builder::new().name("procession-lines".into()).spawn(move || run.run());
            thread.map_err(|e| OsError::new("starting the thread that reads what children write", e))?;
            sources.is_running = true;
        }
        sources.n_seats += 1;
        drop(sources);
        Ok(Self(reader))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sources().n_seats -= 1;
        self.0.news.notify();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
