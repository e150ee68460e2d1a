//! Where a pool's time goes: [`Insights`], their text, and what they say in one line.
//!
//! Workers count in memory that outlives them ([`ledger`]), with a [`stopwatch`] that does not slow tiny tasks; the pool
//! adds what it knows itself ([`book`]) when it is asked. Rules and texts of the verdict are in [`verdict`]. Invariants:
//! the shares of a worker are together the time that it lived; what a worker writes is bounded, never trusted. Held by
//! `tests/insights.rs` and the tests below.

use std::fmt;
use std::ops::Add;
use std::sync::Arc;
use std::time::Duration;

use crate::collector::Shared;
use crate::error::TaskId;
use crate::pool::Pool;
use ledger::{N_SLOWEST, Slow};

pub use verdict::Verdict;

pub(crate) mod book;
pub(crate) mod ledger;
pub(crate) mod stopwatch;
mod verdict;

/// Where the time of a pool's workers went: from its start, or, by [`since`](Self::since), within a window.
///
/// Made by [`Pool::insights`]. Its text is a table with a line for each worker, the slowest tasks, and a
/// [verdict](Self::verdict).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::builder().workers(2).name("render").build()?;
/// let before = pool.insights();
/// pool.map(std::thread::sleep, [Duration::from_millis(3); 20])?;
/// let insights = pool.insights().since(&before);
/// println!("{insights}");
/// assert_eq!(insights.total().done, 20);
/// assert!(insights.total().shares.work >= Duration::from_millis(60));
/// assert_eq!(insights.slowest().len(), 5);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Insights {
    pool: Arc<str>,
    workers: Vec<WorkerInsights>,
    /// More than are shown: what is subtracted from them leaves some.
    slowest: Vec<SlowTask>,
}

/// How the time of workers divides. Together the five are the time that the workers lived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shares {
    /// From the start of the process until it asked for its first job; with it what an
    /// [initializer](crate::Builder::initializer) took.
    pub start: Duration,
    /// The pool had nothing for it.
    pub idle: Duration,
    /// In tasks. A task that a worker died in counts up to its death.
    pub work: Duration,
    /// Decoding arguments, encoding results, and handing them over.
    pub serialise: Duration,
    /// Waiting for jobs that were on their way, and for the pool to take in what was done.
    pub wait: Duration,
}

impl Shares {
    /// The time that the workers lived.
    pub fn total(&self) -> Duration {
        self.parts().into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }

    /// In the order of [`PARTS`].
    fn parts(&self) -> [Duration; 5] {
        [self.start, self.idle, self.work, self.serialise, self.wait]
    }

    fn of(parts: [Duration; 5]) -> Self {
        let [start, idle, work, serialise, wait] = parts;
        Self { start, idle, work, serialise, wait }
    }

    /// Each in percent of the total; all 0 where that is 0.
    fn percents(&self) -> [u8; 5] {
        let total = self.total().as_nanos().max(1);
        self.parts().map(|part| u8::try_from((part.as_nanos() * 100 + total / 2) / total).unwrap_or(100))
    }
}

/// Names of the shares.
const PARTS: [&str; 5] = ["start", "idle", "work", "serialise", "wait"];

impl Add for Shares {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let other = other.parts();
        let mut parts = self.parts().into_iter().zip(other).map(|(one, two)| one.saturating_add(two));
        Self::of([(); 5].map(|()| parts.next().unwrap_or_default()))
    }
}

/// What one place of a pool did: the worker there now, and those that it replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInsights {
    /// Name of the worker that is there, or was there last.
    pub name: String,
    /// Its process number, or that of the last one.
    pub pid: Option<u32>,
    /// Where the time went.
    pub shares: Shares,
    /// Tasks that gave a value.
    pub done: u64,
    /// Tasks that gave none: a panic, an argument or a value that did not travel.
    pub failed: u64,
    /// Tasks that a worker was in when it ended, of whatever; they may have been tried again since.
    pub lost: u64,
    /// Workers started here to replace another.
    pub restarts: u64,
}

impl WorkerInsights {
    /// As of a pool with one worker.
    fn add(&mut self, other: &Self) {
        self.shares = self.shares + other.shares;
        self.done = self.done.saturating_add(other.done);
        self.failed = self.failed.saturating_add(other.failed);
        self.lost = self.lost.saturating_add(other.lost);
        self.restarts = self.restarts.saturating_add(other.restarts);
    }

    /// Without what was before.
    fn since(&self, earlier: &Self) -> Self {
        let mut before = earlier.shares.parts().into_iter();
        let parts = self.shares.parts().map(|part| part.saturating_sub(before.next().unwrap_or_default()));
        Self {
            name: self.name.clone(),
            pid: self.pid,
            shares: Shares::of(parts),
            done: self.done.saturating_sub(earlier.done),
            failed: self.failed.saturating_sub(earlier.failed),
            lost: self.lost.saturating_sub(earlier.lost),
            restarts: self.restarts.saturating_sub(earlier.restarts),
        }
    }
}

/// One of the slowest tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowTask {
    /// Which.
    pub task: TaskId,
    /// How long it ran, without decoding and encoding; for one that its worker died in, until then.
    pub took: Duration,
}

impl Insights {
    /// The places of the pool, each with the worker that is there and those before it.
    pub fn workers(&self) -> &[WorkerInsights] {
        &self.workers
    }

    /// All workers together; under the name of the pool, without a process number.
    pub fn total(&self) -> WorkerInsights {
        let mut total = WorkerInsights { name: self.pool.to_string(), ..WorkerInsights::default() };
        self.workers.iter().for_each(|worker| total.add(worker));
        total
    }

    /// The slowest tasks, at most five, the slowest first. Of tasks that take less than some 20 µs only one in 16 is looked
    /// at, unless it takes so long that the kernel's ticks tell.
    pub fn slowest(&self) -> &[SlowTask] {
        &self.slowest[..self.slowest.len().min(N_SLOWEST)]
    }

    /// What it comes to, in one line.
    pub fn verdict(&self) -> Verdict {
        verdict::of(&self.workers)
    }

    /// What has been since `earlier`, which is of the same pool. Of the slowest tasks those remain that `earlier` has not;
    /// a task that is slow in this window only, and not among the slowest of its worker, is not known.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession_pool::Pool::new(1)?;
    /// pool.map(f64::sqrt, [1.0, 4.0])?;
    /// let before = pool.insights();
    /// pool.map(f64::sqrt, [9.0])?;
    /// assert_eq!(pool.insights().since(&before).total().done, 1);
    /// # Ok(()) }
    /// ```
    pub fn since(&self, earlier: &Self) -> Self {
        let none = WorkerInsights::default();
        let before = earlier.workers.iter().chain(std::iter::repeat(&none));
        let workers = self.workers.iter().zip(before).map(|(now, before)| now.since(before)).collect();
        let is_new = |slow: &&SlowTask| !earlier.slowest.iter().any(|before| before.task == slow.task);
        let slowest = self.slowest.iter().filter(is_new).cloned().collect();
        Self { pool: Arc::clone(&self.pool), workers, slowest }
    }

    fn of(shared: &Shared) -> Self {
        let crew = shared.crew();
        let read: Vec<_> = crew.places.iter().map(|place| place.book.read(place.worker.as_deref())).collect();
        let n_tasks = crew.n_tasks();
        drop(crew);
        let (workers, slowest): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        let mut slowest: Vec<Slow> =
            slowest.into_iter().flatten().filter(|slow| slow.task < n_tasks).collect();
        slowest.sort_unstable_by_key(|slow| std::cmp::Reverse((slow.nanos, slow.task)));
        let pool = Arc::clone(&shared.name);
        let slow_task = |slow: Slow| SlowTask {
            task: TaskId { pool: Arc::clone(&pool), number: slow.task },
            took: Duration::from_nanos(slow.nanos),
        };
        let slowest = slowest.into_iter().map(slow_task).collect();
        Self { pool, workers, slowest }
    }
}

impl Pool {
    /// Where the time of its workers went since they were started: to be printed, or asked. Does not wait, and costs the
    /// workers nothing; the pool's own counting costs a task some 10 ns in a chunk, and some hundred alone.
    ///
    /// For the time of one part of a program, ask before and after it: [`Insights::since`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = procession_pool::Pool::new(1)?;
    /// assert_eq!(pool.map(|n: u32| n + 1, [1, 2])?, [2, 3]);
    /// let insights = pool.insights();
    /// assert_eq!(insights.workers()[0].done, 2);
    /// println!("{}", insights.verdict());
    /// # Ok(()) }
    /// ```
    ///
    /// If a worker dies, what it noted counts, and its task up to its death.
    pub fn insights(&self) -> Insights {
        Insights::of(self.shared())
    }
}

/// The slowest few of `tasks`, in no order. A task that was run twice counts once.
fn slowest_of(tasks: impl Iterator<Item = Slow>) -> Vec<Slow> {
    let mut slowest: Vec<Slow> = tasks.collect();
    slowest.sort_unstable_by_key(|slow| std::cmp::Reverse((slow.nanos, slow.task)));
    let mut seen = Vec::new();
    slowest.retain(|slow| {
        !seen.contains(&slow.task) && {
            seen.push(slow.task);
            true
        }
    });
    slowest.truncate(N_SLOWEST);
    slowest
}

impl fmt::Display for Insights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let WorkerInsights { done, failed, lost, restarts, .. } = total;
        let n = self.workers.len();
        writeln!(
            f,
            "pool {}: {n} workers, {done} tasks done, {failed} failed, {lost} lost, {restarts} restarts",
            self.pool
        )?;
        let width = self.workers.iter().map(|worker| worker.name.chars().count()).max().unwrap_or(0).max(5);
        write!(f, "{:width$}", "")?;
        PARTS.iter().try_for_each(|part| write!(f, " {part:>9}"))?;
        writeln!(f, " {:>9}", "tasks")?;
        let all = (n > 1).then(|| WorkerInsights { name: "all".into(), ..total });
        for worker in self.workers.iter().chain(&all) {
            write!(f, "{:width$}", worker.name)?;
            worker.shares.percents().iter().try_for_each(|percent| write!(f, " {percent:>7} %"))?;
            writeln!(f, " {:>9}", worker.done.saturating_add(worker.failed))?;
        }
        for (n, slow) in self.slowest().iter().enumerate() {
            let before = if n == 0 { "slowest:" } else { "," };
            write!(f, "{before} task {} {:.1?}", slow.task.number, slow.took)?;
        }
        if !self.slowest().is_empty() {
            writeln!(f)?;
        }
        self.verdict().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(parts: [u64; 5]) -> Shares {
        Shares::of(parts.map(Duration::from_millis))
    }

    fn insights(workers: &[(u64, [u64; 5])], slowest: &[(u64, u64)]) -> Insights {
        let pool: Arc<str> = "render".into();
        let worker = |(n, (done, parts)): (usize, &(u64, [u64; 5]))| WorkerInsights {
            name: format!("render-{}", n + 1),
            shares: millis(*parts),
            done: *done,
            ..WorkerInsights::default()
        };
        let slow = |(number, millis): &(u64, u64)| SlowTask {
            task: TaskId { pool: Arc::clone(&pool), number: *number },
            took: Duration::from_millis(*millis),
        };
        let slowest = slowest.iter().map(slow).collect();
        Insights { workers: workers.iter().enumerate().map(worker).collect(), slowest, pool }
    }

    #[test]
    fn as_text() {
        let some = insights(&[(7, [10, 0, 970, 10, 10]), (5, [20, 0, 960, 0, 20])], &[(3, 500), (1, 20)]);
        let expected = "\
pool render: 2 workers, 12 tasks done, 0 failed, 0 lost, 0 restarts
             start      idle      work serialise      wait     tasks
render-1       1 %       0 %      97 %       1 %       1 %         7
render-2       2 %       0 %      96 %       0 %       2 %         5
all            2 %       0 %      97 %       1 %       2 %        12
slowest: task 3 500.0ms, task 1 20.0ms
97 % work: fine";
        assert_eq!(some.to_string(), expected);
    }

    #[test]
    fn a_window_is_what_came_since() {
        let before = insights(&[(7, [10, 5, 100, 10, 10])], &[(3, 500), (1, 20)]);
        let after =
            insights(&[(9, [10, 6, 300, 10, 14]), (1, [0, 0, 1, 0, 0])], &[(9, 600), (3, 500), (1, 20)]);
        let window = after.since(&before);
        assert_eq!(window.workers()[0].shares, millis([0, 1, 200, 0, 4]));
        assert_eq!((window.workers()[0].done, window.workers()[1].done, window.total().done), (2, 1, 3));
        assert_eq!(window.slowest().iter().map(|slow| slow.task.number).collect::<Vec<_>>(), [9]);
        // In the wrong order it is nothing, and no panic.
        assert_eq!(before.since(&after).total().shares.total(), Duration::ZERO);
    }

    #[test]
    fn the_slowest_five_each_once() {
        let tasks = [(1, 5), (2, 9), (1, 7), (3, 2), (4, 1), (5, 8), (6, 6)];
        let slow = slowest_of(tasks.into_iter().map(|(task, nanos)| Slow { task, nanos }));
        assert_eq!(
            slow.iter().map(|slow| (slow.task, slow.nanos)).collect::<Vec<_>>(),
            [(2, 9), (5, 8), (1, 7), (6, 6), (3, 2)]
        );
    }
}
