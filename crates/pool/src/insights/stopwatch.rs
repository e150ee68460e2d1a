//! The worker's stopwatch: how much of a job's time is its tasks', and which tasks are slow.
//!
//! Reading the clock costs as much as a tiny task may, so after one that took less than [`SHORT`] only one in [`EVERY`] is
//! timed; the time of those between, known as a whole, is divided like that of the one before them. A task among them
//! that takes long is noticed by the clock of the kernel's ticks, which costs next to nothing: it is known to a tick or
//! two.

use procession_sys::clock;

use super::ledger::{Ledger, N_SLOWEST, Slow, now};

/// Tasks that take less are not all timed, in nanoseconds.
const SHORT: u64 = 20_000;
/// Of those so many have one that is timed.
const EVERY: u32 = 16;
/// A task that is not timed has taken long if the ticks show so much, in nanoseconds: more than one tick of any kernel.
const LONG: u64 = 11_000_000;

/// The clock at the bounds within one task's run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// When its argument was there; 0: it did not come so far.
    decoded: u64,
    /// When it had returned.
    returned: u64,
}

impl Marks {
    /// The argument is there.
    pub(crate) fn decoded(marks: &mut Option<Self>) {
        if let Some(marks) = marks {
            marks.decoded = now();
        }
    }

    /// The task has returned.
    pub(crate) fn returned(marks: &mut Option<Self>) {
        if let Some(marks) = marks {
            marks.returned = now();
        }
    }

    /// The time of the task itself, if it was begun; it ended before `end`.
    fn work(self, end: u64) -> u64 {
        if self.decoded == 0 {
            return 0;
        }
        if self.returned == 0 {
            end - self.decoded.min(end)
        } else {
            self.returned.saturating_sub(self.decoded)
        }
    }
}

/// What a worker knows of its time.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    busy: u64,
    work: u64,
    /// Up to when that counts.
    since: u64,
    done: u64,
    failed: u64,
    slowest: [Slow; N_SLOWEST],
    /// How many tasks are run without being timed before the next that is.
    n_to_skip: u32,
    /// How many were, since `since`.
    n_skipped: u32,
    /// When the job began.
    began: u64,
    /// The kernel's ticks at the end of the last task.
    ticks: u64,
    /// Of the last task that was timed: its own time, and that of all that was done for it.
    last: (u64, u64),
}

impl Stopwatch {
    /// A job begins. Its first task is timed.
    pub(crate) fn begin(&mut self, ledger: Ledger<'_>) {
        self.began = now();
        self.since = self.began;
        self.n_to_skip = 0;
        ledger.note(self.since, true, self.busy, self.work);
    }

    /// Before a task: room for its marks, if it is to be timed.
    pub(crate) fn begin_task(&mut self, ledger: Ledger<'_>) -> Option<Marks> {
        if self.n_to_skip > 0 {
            self.n_to_skip -= 1;
            return None;
        }
        if self.n_skipped > 0 {
            self.catch_up(ledger, true);
        }
        Some(Marks::default())
    }

    /// After a task, with the marks that it left.
    pub(crate) fn end_task(&mut self, ledger: Ledger<'_>, task: u64, marks: Option<Marks>, is_ok: bool) {
        if is_ok {
            self.done += 1;
        } else {
            self.failed += 1;
        }
        ledger.note_tasks(self.done, self.failed);
        match marks {
            Some(marks) => self.end_timed(ledger, task, marks),
            None => self.end_skipped(ledger, task),
        }
    }

    fn end_timed(&mut self, ledger: Ledger<'_>, task: u64, marks: Marks) {
        let end = now();
        let whole = end.saturating_sub(self.since);
        let work = marks.work(end).min(whole);
        self.last = (work, whole);
        self.count(ledger, end, work);
        self.rank(ledger, Slow { task, nanos: work });
        if whole < SHORT {
            self.n_to_skip = EVERY - 1;
            self.ticks = ticks();
        }
    }

    fn end_skipped(&mut self, ledger: Ledger<'_>, task: u64) {
        self.n_skipped += 1;
        let ticks = ticks();
        let took = ticks.saturating_sub(self.ticks);
        self.ticks = ticks;
        if took >= LONG {
            let end = now();
            self.count(ledger, end, took.min(end.saturating_sub(self.since)));
            self.rank(ledger, Slow { task, nanos: took });
            // Others like it may come.
            self.n_to_skip = 0;
        }
    }

    /// The job is done: how long it took.
    pub(crate) fn end(&mut self, ledger: Ledger<'_>) -> u64 {
        self.catch_up(ledger, false);
        self.since.saturating_sub(self.began)
    }

    /// Counts the time up to now. What of it went into tasks that were not timed is divided like that of the last one
    /// that was.
    fn catch_up(&mut self, ledger: Ledger<'_>, is_busy: bool) {
        let end = now();
        let whole = u128::from(end.saturating_sub(self.since));
        let (work, of) = if self.n_skipped > 0 { self.last } else { (0, 1) };
        let work = whole * u128::from(work) / u128::from(of.max(1));
        self.count(ledger, end, u64::try_from(work).unwrap_or(0));
        if !is_busy {
            ledger.note(end, false, self.busy, self.work);
        }
    }

    /// Up to `end`, so much of it was work.
    fn count(&mut self, ledger: Ledger<'_>, end: u64, work: u64) {
        self.busy += end.saturating_sub(self.since);
        self.work += work;
        self.since = end;
        self.n_skipped = 0;
        ledger.note(end, true, self.busy, self.work);
    }

    fn rank(&mut self, ledger: Ledger<'_>, slow: Slow) {
        let least = self.slowest.iter().enumerate().min_by_key(|(_, slow)| slow.nanos);
        if let Some((place, least)) = least.map(|(place, least)| (place, least.nanos))
            && slow.nanos > least
        {
            self.slowest[place] = slow;
            ledger.note_slow(place, slow);
        }
    }
}

fn ticks() -> u64 {
    u64::try_from(clock::ticks().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use procession_sys::memory::{Mapping, Memfd};

    use super::*;

    fn memory() -> Mapping {
        Mapping::shared(&Memfd::sealed("test", 4096).unwrap()).unwrap()
    }

    #[test]
    fn all_time_of_a_job_is_counted_once() {
        let (map, mut watch) = (memory(), Stopwatch::default());
        let ledger = Ledger::of(&map);
        let mut sum = 0;
        for job in 0..3 {
            watch.begin(ledger);
            assert!(ledger.words().is_busy);
            for task in 0..40 {
                let mut marks = watch.begin_task(ledger);
                Marks::decoded(&mut marks);
                Marks::returned(&mut marks);
                watch.end_task(ledger, 100 * job + task, marks, task != 7);
            }
            sum += watch.end(ledger);
        }
        let words = ledger.words();
        assert_eq!((words.busy, words.is_busy, words.done, words.failed), (sum, false, 117, 3));
        assert!(words.work <= words.busy, "{words:?}");
    }

    #[test]
    fn tiny_tasks_are_timed_one_in_sixteen_and_long_ones_all() {
        let (map, mut watch) = (memory(), Stopwatch::default());
        let ledger = Ledger::of(&map);
        watch.begin(ledger);
        let mut timed = 0;
        for task in 0..160 {
            let marks = watch.begin_task(ledger);
            timed += u32::from(marks.is_some());
            // As if it had taken no time at all, however long this thread did not run meanwhile.
            watch.since = now();
            watch.ticks = ticks();
            watch.last = (0, 0);
            watch.end_task(ledger, task, marks, true);
            if marks.is_some() {
                watch.n_to_skip = EVERY - 1;
            }
        }
        assert_eq!(timed, 10);
        watch.n_to_skip = 0;
        for task in 0..10 {
            let marks = watch.begin_task(ledger);
            assert!(marks.is_some());
            watch.since = now() - 2 * SHORT;
            watch.end_task(ledger, task, marks, true);
        }
    }

    #[test]
    fn the_slowest_stay_whatever_comes_after_them() {
        let (map, mut watch) = (memory(), Stopwatch::default());
        let ledger = Ledger::of(&map);
        for (task, nanos) in (0..).zip([5, 900, 3, 800, 700, 1, 600, 2, 500, 4]) {
            watch.rank(ledger, Slow { task, nanos });
        }
        let mut slowest: Vec<_> = ledger.slowest().map(|slow| (slow.nanos, slow.task)).collect();
        slowest.sort_unstable();
        assert_eq!(slowest, [(500, 8), (600, 6), (700, 4), (800, 3), (900, 1)]);
    }

    #[test]
    fn a_long_one_among_those_that_are_not_timed_is_noticed() {
        let (map, mut watch) = (memory(), Stopwatch::default());
        let ledger = Ledger::of(&map);
        watch.begin(ledger);
        watch.n_to_skip = 9;
        let marks = watch.begin_task(ledger);
        assert!(marks.is_none());
        // As if it had begun earlier.
        watch.since -= 3 * LONG;
        watch.ticks = ticks() - 2 * LONG;
        watch.end_task(ledger, 42, marks, true);
        let slow = ledger.slowest().next().expect("it is there");
        assert!(slow.task == 42 && slow.nanos >= 2 * LONG, "{slow:?}");
        assert!(watch.begin_task(ledger).is_some(), "the next is timed");
    }
}
