//! What insights come to, in one line. The rules, of which the first that holds counts:
//!
//! | rule | verdict |
//! |---|---|
//! | no task has ended, and none has cost a worker | `Nothing` |
//! | work is [`ENOUGH_WORK`] percent or more | `Fine` |
//! | starts are a quarter or more, and no other share but work is larger | `Starting` |
//! | idle is the largest share but work; one worker worked [`UNEVEN`] times as long as another, and most of its time | `Uneven` |
//! | idle is the largest share but work | `Idle` |
//! | so is serialise | `Serialising` |
//! | otherwise: wait is, or a start that is less than a quarter | `Waiting`; with next to no waiting, `Fine` |

use std::fmt;

use super::{Shares, WorkerInsights};

/// Work in percent from which on all is well.
const ENOUGH_WORK: u8 = 80;
/// Percents of starts that are too many.
const MANY_STARTS: u8 = 25;
/// A worker that works so many times as long as another has the longer tasks.
const UNEVEN: u128 = 2;
/// A worker works most of its time from this percentage on.
const BUSY: u8 = 70;
/// Percents of waiting that are not worth a word.
const LITTLE: u8 = 5;

/// What [insights](crate::Insights) come to. Its text is one line with a remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// No task has ended yet.
    Nothing,
    /// Work dominates; so many percent.
    Fine(u8),
    /// So many percent went into waiting for jobs on their way: chunks are too small, or tasks too tiny.
    Waiting(u8),
    /// Workers had nothing to do for so many percent: the input is too slow, or too short for so many workers.
    Idle(u8),
    /// Idle for so many percent, while one worker had most of the work: some tasks, or chunks, are much longer than others.
    Uneven(u8),
    /// So many percent went into arguments and results: what travels is too large.
    Serialising(u8),
    /// So many percent went into starts: workers live too short.
    Starting(u8),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no task has ended yet"),
            Self::Fine(n) => write!(f, "{n} % work: fine"),
            Self::Waiting(n) => write!(f, "{n} % waiting: chunks too small, or tasks too tiny"),
            Self::Idle(n) => write!(f, "{n} % idle: input too slow, or too short for so many workers"),
            Self::Uneven(n) => {
                write!(f, "{n} % idle while others work: some tasks are much longer, begin with those")
            }
            Self::Serialising(n) => {
                write!(f, "{n} % serialising: arguments or results too large, share what many tasks need")
            }
            Self::Starting(n) => write!(f, "{n} % starting: workers live too short, or there are too many"),
        }
    }
}

/// By the rules above.
pub(super) fn of(workers: &[WorkerInsights]) -> Verdict {
    let shares = workers.iter().fold(Shares::default(), |sum, worker| sum + worker.shares);
    let has_ended = |worker: &WorkerInsights| worker.done > 0 || worker.failed > 0 || worker.lost > 0;
    if !workers.iter().any(has_ended) {
        return Verdict::Nothing;
    }
    let [start, idle, work, serialise, wait] = shares.percents();
    let most = start.max(idle).max(serialise).max(wait);
    if work >= ENOUGH_WORK {
        Verdict::Fine(work)
    } else if start >= MANY_STARTS && start == most {
        Verdict::Starting(start)
    } else if idle == idle.max(serialise).max(wait) && idle > LITTLE {
        if is_uneven(workers) { Verdict::Uneven(idle) } else { Verdict::Idle(idle) }
    } else if serialise > wait {
        Verdict::Serialising(serialise)
    } else if wait > LITTLE {
        Verdict::Waiting(wait)
    } else {
        Verdict::Fine(work)
    }
}

fn is_uneven(workers: &[WorkerInsights]) -> bool {
    let work = |worker: &&WorkerInsights| worker.shares.work;
    let (Some(most), Some(least)) = (workers.iter().max_by_key(work), workers.iter().min_by_key(work)) else {
        return false;
    };
    let [_, _, percent, ..] = most.shares.percents();
    percent >= BUSY && most.shares.work.as_nanos() >= UNEVEN * least.shares.work.as_nanos()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Workers by start, idle, work, serialise, wait.
    fn verdict(workers: &[[u64; 5]]) -> Verdict {
        let worker = |parts: &[u64; 5]| WorkerInsights {
            shares: Shares::of(parts.map(Duration::from_millis)),
            done: 1,
            ..WorkerInsights::default()
        };
        of(&workers.iter().map(worker).collect::<Vec<_>>())
    }

    #[test]
    fn every_rule_and_its_bounds() {
        assert_eq!(verdict(&[]), Verdict::Nothing);
        assert_eq!(of(&[WorkerInsights::default()]), Verdict::Nothing);
        let lost = WorkerInsights { lost: 1, ..WorkerInsights::default() };
        assert_ne!(of(&[lost]), Verdict::Nothing);
        assert_eq!(verdict(&[[0, 0, 80, 0, 20]]), Verdict::Fine(80));
        assert_eq!(verdict(&[[0, 0, 79, 0, 21]]), Verdict::Waiting(21));
        assert_eq!(verdict(&[[0, 5, 30, 4, 61]]), Verdict::Waiting(61));
        assert_eq!(verdict(&[[25, 24, 51, 0, 0]]), Verdict::Starting(25));
        assert_eq!(verdict(&[[24, 0, 76, 0, 0]]), Verdict::Fine(76));
        assert_eq!(verdict(&[[24, 0, 66, 0, 10]]), Verdict::Waiting(10));
        assert_eq!(verdict(&[[0, 50, 40, 0, 10]]), Verdict::Idle(50));
        assert_eq!(verdict(&[[0, 10, 30, 50, 10]]), Verdict::Serialising(50));
        assert_eq!(verdict(&[[0, 0, 95, 0, 5], [0, 90, 10, 0, 0]]), Verdict::Uneven(45));
        assert_eq!(verdict(&[[0, 40, 50, 0, 10], [0, 40, 60, 0, 0]]), Verdict::Idle(40));
        // One that works little is no reason for others to have nothing.
        assert_eq!(verdict(&[[0, 60, 40, 0, 0], [0, 90, 10, 0, 0]]), Verdict::Idle(75));
    }

    #[test]
    fn times_without_measure_do_no_harm() {
        let endless = Shares::of([Duration::MAX / 5; 5]);
        let worker =
            WorkerInsights { shares: endless + endless, done: u64::MAX, ..WorkerInsights::default() };
        assert_ne!(of(std::slice::from_ref(&worker)), Verdict::Nothing);
        assert_ne!(of(&[worker.clone(), worker]), Verdict::Nothing);
    }
}
