//! A storm: workers are killed at random while every kind of task goes through the pool.
//!
//! Each task has one outcome, which is true: its value, the death of a worker that really was killed, or what was asked for
//! (a cancel, a limit). No task is run twice unless it may be. Afterwards the pool has its size again and nothing is
//! left behind. Deterministic as far as the choices go; who is hit by them is up to the scheduler.

mod gate;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use gate::PATIENCE;
use procession_codec::Bytes;
use procession_pool::{ParProcs, Pool, Task, TaskFailed, TaskOptions};
use procession_process::TaskError;
use procession_shm::domain::Domain;
use procession_shm::{Atomic, Segment};
use procession_testkit::processes::{Identity, Signal};
use procession_testkit::{Counted, Storm};

const WORKERS: usize = 4;
/// Room for as many tasks that count how often they run.
const MOST: usize = 4 << 20;

/// The long run has the full number.
fn n_kills() -> usize {
    if std::env::var_os("PROCESSION_LONG").is_some() { 1000 } else { 150 }
}

/// What a task does once it has counted itself.
type Argument = (Segment, usize, usize);

/// Counts, works a little, and answers with its number and as many bytes as it was told.
fn count((runs, n, len): Argument) -> (usize, Bytes) {
    let before: u8 = runs.get(n).expect("a place of its own");
    runs.put(n, &before.saturating_add(1)).expect("a place of its own");
    for _ in 0..(n % 7) * 4_000 {
        std::hint::spin_loop();
    }
    (n, vec![n as u8; len].into())
}

/// Never ends by itself.
fn stay(argument: Argument) -> (usize, Bytes) {
    count(argument);
    loop {
        thread::park();
    }
}

/// What came of the tasks of a kind.
#[derive(Debug, Default)]
struct Counts {
    values: AtomicUsize,
    died: AtomicUsize,
    cancelled: AtomicUsize,
    timed_out: AtomicUsize,
    given_up: AtomicUsize,
}

struct Sea {
    pool: Pool,
    /// How often each task has run.
    runs: Segment,
    n_given: AtomicUsize,
    killed: Mutex<BTreeSet<u32>>,
    n_outcomes: Mutex<usize>,
    news: Condvar,
    is_over: AtomicBool,
    counts: Counts,
}

impl Sea {
    /// Numbers for `n` tasks, which nobody else has.
    fn numbers(&self, n: usize) -> std::ops::Range<usize> {
        let first = self.n_given.fetch_add(n, SeqCst);
        assert!(first + n <= MOST, "more tasks than there is room for");
        first..first + n
    }

    fn argument(&self, n: usize) -> Argument {
        // Now and then an answer that does not fit into the journal, and one that travels by itself.
        (self.runs.clone(), n, [10, 10, 300, 40_000, 10, 200_000][n % 6])
    }

    fn n_runs(&self, n: usize) -> u8 {
        self.runs.get(n).unwrap()
    }

    /// One outcome more.
    fn note(&self) {
        *self.n_outcomes.lock().unwrap() += 1;
        self.news.notify_all();
    }

    fn is_value(&self, n: usize, (number, bytes): &(usize, Bytes)) {
        assert_eq!((*number, bytes.len()), (n, self.argument(n).2));
        assert!(bytes.iter().all(|byte| *byte == n as u8), "the answer of task {n} is torn");
        self.counts.values.fetch_add(1, SeqCst);
    }

    /// Waits until some others have come to an end, so that what costs a worker each time is not all there is.
    fn pause(&self, n: usize) {
        let n_outcomes = self.n_outcomes.lock().unwrap();
        let until = *n_outcomes + n;
        let goes_on = |n_outcomes: &mut usize| *n_outcomes < until && !self.is_over.load(SeqCst);
        let waited = self.news.wait_timeout_while(n_outcomes, PATIENCE, goes_on).unwrap();
        assert!(!waited.1.timed_out(), "no outcome for {PATIENCE:?}");
    }

    /// Somebody of ours killed the worker.
    fn is_death(&self, error: &TaskFailed) {
        let TaskFailed::WorkerDied { worker, exit, .. } = error else { panic!("{error:?}") };
        assert_eq!(exit.signal(), Some(procession_process::Signal::KILL), "{error}");
        assert!(self.killed.lock().unwrap().contains(&worker.pid), "nobody killed that one: {error}");
        self.counts.died.fetch_add(1, SeqCst);
    }

    /// The outcome of a task that is run once at most, unless its worker is killed.
    fn check(&self, n: usize, outcome: &Result<(usize, Bytes), TaskFailed>) {
        match outcome {
            Ok(value) => {
                self.is_value(n, value);
                assert_eq!(self.n_runs(n), 1, "task {n}");
            }
            Err(error) => self.is_death(error),
        }
        assert!(self.n_runs(n) <= 1, "task {n} ran {} times", self.n_runs(n));
        self.note();
    }

    /// `map`: all values, or a death.
    fn maps(&self, storm: &mut Storm) {
        let numbers = self.numbers(1 + storm.below(40) as usize);
        match self.pool.map(count, numbers.clone().map(|n| self.argument(n))) {
            Ok(values) => {
                assert_eq!(values.len(), numbers.len());
                numbers.clone().zip(&values).for_each(|(n, value)| self.is_value(n, value));
            }
            Err(error) => self.is_death(&error),
        }
        assert!(numbers.clone().all(|n| self.n_runs(n) <= 1));
        numbers.for_each(|_| self.note());
    }

    /// Single tasks, waited for in every way.
    fn submits(&self, storm: &mut Storm) {
        let submit = |n| (n, self.pool.submit(count, self.argument(n)).expect("the pool is open"));
        let tasks: Vec<(usize, Task<_>)> = self.numbers(20).map(submit).collect();
        for (n, task) in tasks {
            match storm.below(4) {
                0 => self.check(n, &task.get()),
                1 => drop(task),
                _ => {
                    let outcome = task.get_timeout(PATIENCE).map(|value| value.expect("an outcome in time"));
                    self.check(n, &outcome);
                    assert!(matches!(task.try_get(), Ok(None)), "a second outcome of task {n}");
                }
            }
        }
    }

    /// As they come: as many outcomes as items, no value twice.
    fn unordered(&self, storm: &mut Storm) {
        let numbers = self.numbers(1 + storm.below(100) as usize);
        let items = numbers.clone().map(|n| self.argument(n));
        let results = items.par_procs(&self.pool).unordered();
        let results = if storm.chance(1, 2) { results.chunk(1 + storm.below(9) as usize) } else { results };
        let (mut seen, mut n_outcomes) = (BTreeSet::new(), 0);
        let leaves_early = storm.chance(1, 5);
        for result in results.map(count) {
            n_outcomes += 1;
            match &result {
                Ok(value) => {
                    assert!(seen.insert(value.0) && numbers.contains(&value.0), "{}", value.0);
                    self.check(value.0, &result);
                }
                Err(error) => {
                    self.is_death(error);
                    self.note();
                }
            }
            if leaves_early && n_outcomes == numbers.len() / 2 {
                return;
            }
        }
        assert_eq!(n_outcomes, numbers.len(), "one outcome for each item");
        assert!(numbers.clone().all(|n| self.n_runs(n) <= 1));
    }

    /// Called off at any moment.
    fn cancels(&self, storm: &mut Storm) {
        self.pause(60);
        let numbers = self.numbers(3);
        let submit = |n| {
            let task = if n % 2 == 0 { count } else { stay };
            (n, self.pool.submit(task, self.argument(n)).expect("the pool is open"))
        };
        let tasks: Vec<(usize, Task<_>)> = numbers.map(submit).collect();
        for (n, task) in tasks {
            for _ in 0..storm.below(3000) {
                std::hint::spin_loop();
            }
            let is_cancelled = task.cancel();
            match task.get() {
                Err(TaskFailed::Cancelled { .. }) => {
                    assert!(is_cancelled, "task {n}");
                    self.counts.cancelled.fetch_add(1, SeqCst);
                }
                outcome => {
                    assert!(!is_cancelled, "task {n} was cancelled: {outcome:?}");
                    self.check(n, &outcome);
                }
            }
            assert!(self.n_runs(n) <= 1);
        }
    }

    /// Those that never end meet their limit, or the killer.
    fn limits(&self, storm: &mut Storm) {
        self.pause(60);
        let limit = Duration::from_millis(1 + storm.below(8));
        let options = TaskOptions::new().timeout(limit);
        for n in self.numbers(2) {
            let task = self.pool.submit_with(options, stay, self.argument(n)).expect("the pool is open");
            match task.get() {
                Err(TaskFailed::TimedOut { limit: told, .. }) => {
                    assert_eq!(told, limit);
                    self.counts.timed_out.fetch_add(1, SeqCst);
                    self.note();
                }
                outcome => self.check(n, &outcome),
            }
            assert!(self.n_runs(n) <= 1);
        }
    }

    /// Repeatable: a value in the end, or a death for each attempt.
    fn retries(&self, storm: &mut Storm) {
        let n_retries = 1 + storm.below(4) as u32;
        let options = TaskOptions::new().retries(n_retries).poison_after(100);
        let numbers = self.numbers(30);
        let items = numbers.clone().map(|n| self.argument(n));
        let results = items.par_procs(&self.pool).options(options).map(count);
        for (n, result) in numbers.zip(results) {
            match &result {
                Ok(value) => self.is_value(n, value),
                Err(TaskFailed::GivenUp { attempts, is_poison, .. }) => {
                    assert!(!is_poison && attempts.len() == n_retries as usize + 1);
                    for attempt in &attempts[..] {
                        assert!(matches!(attempt, TaskFailed::WorkerDied { .. }), "{attempt:?}");
                    }
                    self.counts.given_up.fetch_add(1, SeqCst);
                }
                Err(other) => panic!("task {n}: {other:?}"),
            }
            self.note();
        }
    }

    /// Kills one worker after the other, each once some more tasks have their outcomes.
    fn kill(&self, n_kills: usize, mut storm: Storm) {
        let mut dead = BTreeSet::new();
        while dead.len() < n_kills {
            // Now and then several at once.
            if !storm.chance(1, 4) {
                self.pause(storm.below(60) as usize);
            }
            let mut alive: Vec<_> = self.pool.pids().into_iter().filter_map(Identity::of).collect();
            alive.retain(|worker| !dead.contains(worker));
            if alive.is_empty() {
                thread::yield_now();
                continue;
            }
            let victim = *storm.pick(&alive);
            self.killed.lock().unwrap().insert(victim.pid());
            if victim.kill(Signal::KILL).is_ok() {
                dead.insert(victim);
            }
        }
        let _outcomes = self.n_outcomes.lock().unwrap();
        self.is_over.store(true, SeqCst);
        self.news.notify_all();
    }

    /// The pool has its size again: everybody alive, nobody from before.
    fn await_size(&self) {
        loop {
            let alive = self.pool.pids().into_iter().filter_map(Identity::of).filter(|one| one.is_alive());
            if alive.count() == WORKERS {
                return;
            }
            thread::yield_now();
        }
    }
}

fn storm(seed: &mut Storm) -> Sea {
    let sea = Sea {
        pool: Pool::builder().workers(WORKERS).name("storm").build().unwrap(),
        runs: Segment::new(MOST).unwrap(),
        n_given: AtomicUsize::new(0),
        killed: Mutex::default(),
        n_outcomes: Mutex::default(),
        news: Condvar::new(),
        is_over: AtomicBool::new(false),
        counts: Counts::default(),
    };
    let kinds = [Sea::maps, Sea::submits, Sea::unordered, Sea::cancels, Sea::limits, Sea::retries];
    thread::scope(|scope| {
        for kind in kinds {
            let (sea, mut storm) = (&sea, Storm::from_seed(seed.bits()));
            scope.spawn(move || {
                while !sea.is_over.load(SeqCst) {
                    kind(sea, &mut storm);
                }
            });
        }
        let (sea, choices) = (&sea, Storm::from_seed(seed.bits()));
        scope.spawn(move || sea.kill(n_kills(), choices));
    });
    sea
}

#[test]
fn a_thousand_kills_under_load() {
    Domain::current().unwrap();
    Counted::new().warm_ups(0).watchdog(Duration::from_secs(600)).run(|| {
        let mut seed = Storm::seeded();
        let sea = storm(&mut seed);
        let numbers = sea.pool.map(|n: u32| n, 0..100).unwrap();
        assert_eq!(numbers, Vec::from_iter(0..100));
        sea.await_size();
        let _ = writeln!(
            std::io::stderr(),
            "seed {}: {} kills among {} tasks: {:?}",
            seed.seed(),
            n_kills(),
            sea.n_given.load(SeqCst),
            sea.counts
        );
        assert!(sea.counts.died.load(SeqCst) > 0, "the storm missed every task");
        sea.pool.join();
    });
}

/// Workers die at their start, until the pool starts no more. Another one lives: so it is tried again after a while, and
/// the pool has its size once they die no more.
#[test]
fn what_was_given_up_is_tried_again() {
    fn open((is_deadly, n_dead): (Atomic<u32>, Atomic<u32>)) -> Result<(), TaskError> {
        if is_deadly.load() == 1 {
            n_dead.fetch_add(1);
            std::process::exit(3);
        }
        Ok(())
    }
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        let (is_deadly, n_dead) = (Atomic::new(0).unwrap(), Atomic::new(0).unwrap());
        let settings = Pool::builder().workers(2);
        let pool = settings.initializer(open, (is_deadly.clone(), n_dead.clone())).build().unwrap();
        let (ours, theirs) = gate::gate();
        let busy = pool.submit(gate::hold, theirs).unwrap();
        let holder = gate::await_start(&ours);
        is_deadly.store(1);
        let other = pool.pids().into_iter().find(|pid| *pid != holder).and_then(Identity::of).unwrap();
        other.kill(Signal::KILL).unwrap();
        // So many in a row are enough.
        while n_dead.load() < 8 {
            thread::yield_now();
        }
        is_deadly.store(0);
        assert_eq!(pool.submit(|n: u32| n, 5).unwrap().get().unwrap(), 5);
        assert_eq!(pool.pids().len(), 2);
        ours.send(&1).unwrap();
        assert_eq!(busy.get().unwrap(), 1);
        assert!(n_dead.load() <= 10, "{} were started in vain", n_dead.load());
    });
}
