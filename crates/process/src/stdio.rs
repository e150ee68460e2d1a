//! Where a child's standard input, output and error go.
//!
//! Pipes are those of the standard library: what reads `ChildStdout` reads ours.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, MutexGuard, PoisonError};

use procession_codec::Message;
use procession_sys::poll::{self, Interest};
use procession_sys::{Deadline, OsError};

use crate::error::JoinError;
use crate::lines::{Listener, OutputStream, Prepared};
use crate::process::Process;

/// Where a child's standard input, output or error goes; see [`Builder::stdin`](crate::Builder::stdin).
///
/// Made from a file or another descriptor it is that one: the child reads and writes where it stands, and so may others.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_process::{Process, Stdio};
/// use std::io::Read;
///
/// let child = Process::builder().stdout(Stdio::piped()).spawn(|()| println!("hello"), ())?;
/// let mut said = String::new();
/// child.take_stdout().unwrap().read_to_string(&mut said)?;
/// assert_eq!(said, "hello\n");
/// child.join()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stdio(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    Inherit,
    Null,
    Piped,
    To(Arc<OwnedFd>),
    Lines(Listener),
}

impl Stdio {
    /// That of this process: the default.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Nowhere: input is at its end, output is thrown away.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// To this process, by a pipe: [`Process::take_stdin`](crate::Process::take_stdin) and the others give our end of it.
    ///
    /// A pipe holds some 64 KiB: a child that writes more waits until they are read, and an end that is dropped without
    /// reading makes its writes fail.
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    pub(crate) fn to_listener(listener: Listener) -> Self {
        Self(Kind::Lines(listener))
    }

    /// The child's end, and ours.
    pub(crate) fn open(&self, stream: Stream) -> Result<Ends, OsError> {
        let failed =
            |e: io::Error| OsError::new(format!("preparing a child's standard {}", stream.name()), e);
        match &self.0 {
            Kind::Inherit => Ok((None, None)),
            Kind::Null => {
                let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(failed)?;
                Ok((Some(Arc::new(null.into())), None))
            }
            Kind::Piped => {
                let (read, write) = io::pipe().map_err(failed)?;
                let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
                let (theirs, ours) = if stream == Stream::Input { (read, write) } else { (write, read) };
                Ok((Some(Arc::new(theirs)), Some(Ours::Pipe(ours))))
            }
            Kind::Lines(listener) => {
                let Some(of) = stream.output() else { return Self::null().open(stream) };
                let (read, write) = io::pipe().map_err(failed)?;
                let prepared = Prepared::new(read.into(), of, listener)?;
                Ok((Some(Arc::new(write.into())), Some(Ours::Lines(prepared))))
            }
            Kind::To(descriptor) => Ok((Some(Arc::clone(descriptor)), None)),
        }
    }
}

/// The child's end, unless it inherits ours, and ours, where there is one.
type Ends = (Option<Arc<OwnedFd>>, Option<Ours>);

/// Our end of a pipe.
#[derive(Debug)]
pub(crate) enum Ours {
    /// To be taken.
    Pipe(OwnedFd),
    /// Read by us, by lines.
    Lines(Prepared),
}

impl AsFd for Ours {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            Self::Lines(prepared) => prepared.as_fd(),
        }
    }
}

impl From<OwnedFd> for Stdio {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Kind::To(Arc::new(descriptor)))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        OwnedFd::from(file).into()
    }
}

/// Which of the three, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Input,
    Output,
    Error,
}

impl Stream {
    pub(crate) const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Error];

    fn output(self) -> Option<OutputStream> {
        match self {
            Self::Input => None,
            Self::Output => Some(OutputStream::Stdout),
            Self::Error => Some(OutputStream::Stderr),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
        }
    }
}

/// Our ends that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    /// Those that are read by lines.
    pub(crate) lines: Vec<Prepared>,
}

impl From<[Option<Ours>; 3]> for Pipes {
    fn from(ends: [Option<Ours>; 3]) -> Self {
        let mut lines = Vec::new();
        let [stdin, stdout, stderr] = ends.map(|end| match end? {
            Ours::Pipe(pipe) => Some(pipe),
            Ours::Lines(prepared) => {
                lines.push(prepared);
                None
            }
        });
        let (stdin, stdout, stderr) = (stdin.map(Into::into), stdout.map(Into::into), stderr.map(Into::into));
        Self { stdin, stdout, stderr, lines }
    }
}

impl<R> Process<R> {
    /// Our end of its standard input, if that is [piped](crate::Stdio::piped) and was not taken before. The child reads to
    /// the end of it once this is dropped.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.pipes().stdin.take()
    }

    /// Our end of its standard output, if that is [piped](crate::Stdio::piped) and was not taken before.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.pipes().stdout.take()
    }

    /// Our end of its standard error, if that is [piped](crate::Stdio::piped) and was not taken before.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.pipes().stderr.take()
    }

    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        // Nothing is done under this lock but to take one of three.
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what nobody else reads, until the child has ended, so that it never waits for a reader.
    pub(crate) fn listen_in_vain(&self) -> Result<(), OsError> {
        let (stdout, stderr) = self.take_outputs();
        if stdout.is_none() && stderr.is_none() {
            return Ok(());
        }
        self.listen([stdout, stderr], &mut |_, _| {})
    }

    /// Our ends of what the child writes. Its input ends here: nobody who takes an end later than this could feed it.
    fn take_outputs(&self) -> (Option<OwnedFd>, Option<OwnedFd>) {
        let Pipes { stdout, stderr, .. } = std::mem::take(&mut *self.pipes());
        (stdout.map(Into::into), stderr.map(Into::into))
    }

    /// Hands what comes on `pipes` to `sink`, until all are at their end or the child has ended. A child of the child that
    /// still holds a pipe is not waited for: what is in the pipe then is read, and no more.
    fn listen(&self, pipes: [Option<OwnedFd>; 2], sink: &mut dyn FnMut(usize, &[u8])) -> Result<(), OsError> {
        let mut pipes = pipes.map(|pipe| pipe.map(File::from));
        let mut buffer = vec![0; CHUNK];
        let mut left = LEFT_IN_PIPES;
        loop {
            // Asked before reading: what it wrote before it ended is then certainly there to read.
            let ended = self.shared().wait(Deadline::now())?.is_some();
            let open: Vec<usize> = (0..2).filter(|n| pipes[*n].is_some()).collect();
            if open.is_empty() || left == 0 {
                return Ok(());
            }
            let mut waits: Vec<_> =
                pipes.iter().flatten().map(|pipe| (pipe.as_fd(), Interest::Readable)).collect();
            let until = if ended {
                Deadline::now()
            } else {
                waits.push((self.as_fd(), Interest::Readable));
                self.shared().late_at()
            };
            let ready = poll::ready(&waits, until)?;
            if ended && !ready.contains(&true) {
                return Ok(());
            }
            for (n, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                let read = pipes[n].as_mut().map_or(Ok(0), |pipe| pipe.read(&mut buffer));
                let n_bytes = read.map_err(|e| OsError::new("reading what a child writes", e))?;
                sink(n, &buffer[..n_bytes]);
                if n_bytes == 0 {
                    pipes[n] = None;
                }
                if ended {
                    left = left.saturating_sub(n_bytes);
                }
            }
        }
    }
}

/// How much is read at once, in bytes.
pub(crate) const CHUNK: usize = 64 << 10;
/// More than two pipes hold, in bytes: what is read after the child's end was not all written by it.
pub(crate) const LEFT_IN_PIPES: usize = 2 << 20;

impl<R: Message> Process<R> {
    /// [`join`](Self::join), with all that the child has written to those [pipes](Stdio::piped) of its standard output and
    /// error that nobody has taken. Its piped input, if nobody has taken that, is at its end.
    ///
    /// Blocks as long as the task runs. What children of the child write after its end is not waited for.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, Stdio};
    ///
    /// let noisy = |n: usize| print!("{}", "x".repeat(n));
    /// let child = Process::builder().stdout(Stdio::piped()).spawn(noisy, 1 << 20)?;
    /// let output = child.join_with_output();
    /// output.outcome?;
    /// assert_eq!(output.stdout.len(), 1 << 20);
    /// # Ok(()) }
    /// ```
    pub fn join_with_output(self) -> Output<R> {
        let (stdout, stderr) = self.take_outputs();
        let mut written = [Vec::new(), Vec::new()];
        let heard = self.listen([stdout, stderr], &mut |n, bytes| written[n].extend_from_slice(bytes));
        let outcome = heard.map_err(JoinError::from).and_then(|()| self.join_to_end());
        let [stdout, stderr] = written;
        Output { outcome, stdout, stderr }
    }
}

/// What came of a child, from [`Process::join_with_output`].
#[derive(Debug)]
pub struct Output<R> {
    /// The value of the task, or why there is none.
    pub outcome: Result<R, JoinError>,
    /// What the child wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What the child wrote to its standard error.
    pub stderr: Vec<u8>,
}
