//! Kill points where something changed: after every instruction that may have changed what survivors see, and one later.
//!
//! Invariants: between two such instructions survivors see the same, so that a kill after each of them, before the
//! first and at the end stands for all. A change is counted while the victim that is to be killed runs, not in an
//! earlier one: a victim that takes more or fewer instructions than the last is killed at the right one all the same.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env, io};

use super::{Moment, Outcome, Walked, walk_to};
use crate::path::test_path;

/// The variable that names the file for kill points: a line for each sweep, parted by tabs.
pub const KILL_LOG: &str = "PROCESSION_KILL_LOG";

/// Of how many changes of one scenario the kill points are tried; beyond that, and without optimisation, which only makes
/// more instructions of the same changes, an even sample.
const MOST_CHANGES: usize = if cfg!(debug_assertions) { 10 } else { 300 };
/// So many instructions are stepped for one scenario of a long run: about a quarter of an hour, and each of 8,000.
const MOST_WALKED: u64 = 32_000_000;
/// Victims that meet others do not run alike: so many are traced, if no two of them in a row do.
const TRACES: usize = 4;

/// How often survivors said that they were told of a death.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kills {
    /// How many victims were killed.
    pub n_killed: u64,
    /// How many ended before the point where they should be killed: not all victims run alike.
    pub n_ended: u64,
    /// How many instructions the window has.
    pub n_steps: u64,
    /// After how many of these something may have changed.
    pub n_changes: u64,
    /// How often [`death_told`] was called meanwhile.
    pub n_told: u64,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_killed, n_steps, n_changes, n_told, .. } = self;
        write!(f, "{n_killed} kills in {n_steps} instructions, {n_changes} changes, {n_told} deaths told")
    }
}

/// Counts a survivor that was told of the death of an owner, by whatever means; for the table of kill points.
pub fn death_told() {
    TOLD.fetch_add(1, Relaxed);
}

/// Runs a victim and says after how many instructions of its window something may have changed.
///
/// That is: bytes of a mapping that it shares, by it or at the same time by others, or a system call returned.
///
/// # Blocking
/// Until the victim has ended; it takes two to three times as long as [`trace`](super::trace).
///
/// # Panics
/// When the victim cannot be traced, opens no window, or does not end well.
pub fn changes(spawn: impl FnOnce() -> Command) -> Vec<u64> {
    let walked = walk_to(spawn, Moment::Never);
    assert!(matches!(walked.outcome, Outcome::Ended { .. }), "no end of the window: {:?}", walked.outcome);
    walked.changes
}

/// Kills victims where something changed, and calls `check` with the number of instructions and the outcome after each.
///
/// First one victim or more is traced for its [`changes`]. Then one is killed before its first instruction, one after each
/// of these changes, one an instruction later, and one at the end of its window; and so on at later changes, while victims
/// have more of them than were traced. `check` is called for those that are traced and end, too.
/// Optimised, all of the changes are tried, or an even sample of 300; without optimisation a sample of 10.
///
/// With `PROCESSION_LONG`: at every change, and, if optimised, after every instruction. A window of more than 8,000 of
/// them is sampled.
///
/// The victims are counted in a line on stderr and one in the file that [`KILL_LOG`] names, if there is one.
///
/// # Blocking
/// As many times as [`kill_at`](super::kill_at); the instructions of a trace take two to three times as long.
///
/// # Panics
/// As [`kill_at`](super::kill_at) and `check` do; when a victim ends by itself inside the window, or none was killed.
pub fn sweep_changes(
    scenario: &str,
    mut spawn: impl FnMut() -> Command,
    mut check: impl FnMut(u64, Outcome),
) -> Kills {
    let told_before = TOLD.load(Relaxed);
    let mut kill = |moment| {
        let walked = walk_to(&mut spawn, moment);
        let outcome = walked.outcome;
        assert!(!matches!(outcome, Outcome::Died { .. }), "a victim that was to be killed: {outcome:?}");
        check(walked.steps, outcome);
        walked
    };
    let traced = usual(&mut kill);
    let is_long = env::var_os("PROCESSION_LONG").is_some();
    let stride = (is_long && !cfg!(debug_assertions)).then(|| long_stride(traced.steps));
    let (mut n_killed, mut n_ended) = (0, 0);
    let mut kill_all = |moments: &mut dyn Iterator<Item = Moment>| {
        for moment in moments {
            match kill(moment).outcome {
                Outcome::Killed => n_killed += 1,
                _ if moment.is_in(&traced) => n_ended += 1,
                _ => break,
            }
        }
    };
    if let Some(stride) = stride {
        // Each victim may have more to do than the one before, so there may be no end.
        let n_most = traced.steps * 2;
        kill_all(&mut (0..=n_most).step_by(stride).map(Moment::Step));
    }
    let most = if is_long { usize::MAX } else { MOST_CHANGES };
    let beyond = beyond(traced.changes.len(), most);
    kill_all(&mut points(&traced.changes, most).into_iter().chain(beyond));
    assert!(n_killed > 0, "{scenario}: no victim was killed");
    let n_told = TOLD.load(Relaxed) - told_before;
    let n_changes = traced.changes.len() as u64;
    let kills = Kills { n_killed, n_ended, n_steps: traced.steps, n_changes, n_told };
    report(scenario, &kills, stride);
    kills
}

/// Every how many instructions a long run kills in a window of `n`: each of all but the longest windows.
fn long_stride(n: u64) -> usize {
    let n_walked = n * n / 2;
    usize::try_from(n_walked.div_ceil(MOST_WALKED)).unwrap_or(usize::MAX).max(1)
}

/// Traces until two victims in a row have as many changes; the last. If there is more to do for later ones, they are
/// still killed in all of it.
fn usual(kill: &mut impl FnMut(Moment) -> Walked) -> Walked {
    let mut last = kill(Moment::Never);
    for _ in 1..TRACES {
        let next = kill(Moment::Never);
        let alike = next.changes.len() == last.changes.len();
        last = next;
        if alike {
            break;
        }
    }
    last
}

/// The moments to kill at, each once, in order, for changes after these numbers of instructions.
fn points(changes: &[u64], most: usize) -> Vec<Moment> {
    let mut points = vec![Moment::Step(0)];
    let n = changes.len();
    let n_tried = n.min(most);
    for nth in (0..n_tried).map(|tried| tried * n / n_tried) {
        points.push(Moment::Change { nth, later: 0 });
        // The instruction after this change is the next change, which has its own.
        if changes.get(nth + 1) != Some(&(changes[nth] + 1)) || n_tried < n {
            points.push(Moment::Change { nth, later: 1 });
        }
    }
    points.push(Moment::End);
    points
}

/// More changes than were traced, for victims that take longer, after a death that they clear up for example.
fn beyond(n: usize, most: usize) -> impl Iterator<Item = Moment> {
    (n..most).flat_map(|nth| [0, 1].map(|later| Moment::Change { nth, later }))
}

fn report(scenario: &str, kills: &Kills, stride: Option<usize>) {
    let test = test_path();
    let _ = writeln!(io::stderr().lock(), "kill points: {test}, {scenario}: {kills}");
    let Some(path) = env::var_os(KILL_LOG) else { return };
    let Kills { n_killed, n_ended, n_steps, n_changes, n_told } = kills;
    let suite = suite();
    // 0 without one: at the changes only.
    let stride = stride.unwrap_or_default();
    let line = format!(
        "{suite}\t{test}\t{scenario}\t{n_steps}\t{n_changes}\t{n_killed}\t{n_ended}\t{n_told}\t{stride}\n"
    );
    // One write of the whole line to a file opened for appending: lines of several processes do not mix.
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("recording kill points in {}: {error}", path.display()));
}

/// The name of the test program, without what cargo appends.
fn suite() -> String {
    let program = env::current_exe().unwrap_or_default();
    let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(suite, _)| suite.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_and_one_later_each_once() {
        let at = |nth, later| Moment::Change { nth, later };
        let (first, last) = (Moment::Step(0), Moment::End);
        assert_eq!(points(&[], 9), [first, last]);
        assert_eq!(points(&[4, 5, 9], 9), [first, at(0, 0), at(1, 0), at(1, 1), at(2, 0), at(2, 1), last]);
    }

    #[test]
    fn a_long_run_is_bounded() {
        assert_eq!([0, 1, 8_000].map(long_stride), [1, 1, 1]);
        assert_eq!((long_stride(16_000), long_stride(80_000)), (4, 100));
    }

    #[test]
    fn a_sample_is_even() {
        let changes: Vec<u64> = (1..=100).collect();
        let nths: Vec<usize> = points(&changes, 4)
            .into_iter()
            .filter_map(|point| match point {
                Moment::Change { nth, later: 0 } => Some(nth),
                _ => None,
            })
            .collect();
        assert_eq!(nths, [0, 25, 50, 75]);
        assert_eq!(points(&changes, 100).len(), 1 + 100 + 1 + 1);
    }
}
