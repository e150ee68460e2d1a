//! Where the workers' standard output and error go.

use procession_process::Stdio;

use crate::builder::Builder;

/// Where both go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Builder {
    /// Where the standard output of all workers goes (default: that of this process), also of those that replace others.
    ///
    /// To tell them apart: [`Stdio::prefixed`], [`Stdio::lines`]; all lines of a worker have come when the pool is joined
    /// or dropped and has ended it, unless a callback takes too long for that. A callback may submit tasks to the pool,
    /// but must not wait for them. Nobody reads a [`Stdio::piped`]: there, what workers write is an error to them.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    /// use procession_process::Stdio;
    /// use std::sync::mpsc;
    ///
    /// let (lines, received) = mpsc::channel();
    /// let log = Stdio::lines(move |line| drop(lines.send(line.text.to_owned())));
    /// let pool = Pool::builder().workers(1).stdout(log).build()?;
    /// pool.map(|n: u32| println!("item {n}"), 0..2)?;
    /// pool.join();
    /// assert_eq!(received.iter().collect::<Vec<_>>(), ["item 0", "item 1"]);
    /// # Ok(()) }
    /// ```
    pub fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
        self.streams.stdout = stdio.into();
        self
    }

    /// Where the standard error of all workers goes, their panics among it; as [`stdout`](Self::stdout).
    pub fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
        self.streams.stderr = stdio.into();
        self
    }
}
