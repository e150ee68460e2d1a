//! Sleeping, waking and dying for the models, and how a model is run.
//!
//! Invariant: the kernel here is one mutex; a sleeper looks at its words and lies down in one step under it, and a wake
//! is under it too. That is the promise of a futex, and nothing more.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use std::time::{Duration, Instant};

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use procession_raw::{Id, NoSlot, Owners, Park, Waited};

/// Threads of a model, and so life words.
const THREADS: usize = 3;
const ALIVE: u32 = 1;
const DEAD: u32 = 0;

/// What a model can break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Broken {
    #[default]
    Nothing,
    /// Looks at the words, and only later lies down.
    SleepsInTwoSteps,
    /// Stores, and never wakes.
    LosesWakes,
    /// A death wakes one, and who was woken tells nobody.
    KeepsObituaries,
    /// Everybody is said to be dead.
    BuriesTheLiving,
}

/// Kernel and participants of a model.
pub(crate) struct Domain {
    sleepers: Mutex<Vec<Sleeper>>,
    woken: Condvar,
    lives: Vec<AtomicU32>,
    broken: Broken,
}

struct Sleeper {
    thread: usize,
    words: Vec<usize>,
    woken: bool,
}

loom::thread_local! {
    static ME: RefCell<usize> = RefCell::new(0);
}

/// Runs the rest of this thread as the participant in `slot`.
pub(crate) fn be(slot: usize) {
    ME.with(|me| *me.borrow_mut() = slot);
}

pub(crate) fn id(slot: usize) -> Id {
    Id::new(slot as u32, 1)
}

/// Runs every execution of `model` with at most `preemptions` of them, and prints how many there were.
pub(crate) fn check(name: &str, preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&executions);
    let started = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        count.fetch_add(1, StdOrdering::Relaxed);
        model();
    });
    let n = executions.load(StdOrdering::Relaxed);
    eprintln!("{name}: {n} executions, {preemptions} preemptions, {} ms", started.elapsed().as_millis());
}

/// The checker must find a fault in `model`.
pub(crate) fn check_fails(name: &str, preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let found = panic::catch_unwind(AssertUnwindSafe(|| check(name, preemptions, model)));
    let fault = found.expect_err("the broken twin passed");
    let text = fault
        .downcast_ref::<String>()
        .map_or_else(|| fault.downcast_ref::<&str>().map_or("", |text| *text).to_owned(), String::clone);
    eprintln!("{name}: found {}", text.lines().next().unwrap_or_default());
}

impl Domain {
    pub(crate) fn broken(broken: Broken) -> Self {
        let lives = (0..THREADS).map(|_| AtomicU32::new(ALIVE)).collect();
        Self { sleepers: Mutex::new(Vec::new()), woken: Condvar::new(), lives, broken }
    }

    /// The calling thread is dead: what the kernel does then.
    pub(crate) fn die(&self) {
        let me = ME.with(|me| *me.borrow());
        // The kernel's store is a full barrier.
        self.lives[me].store(DEAD, Ordering::Release);
        self.rouse(&self.lives[me], 1);
    }

    fn rouse(&self, word: &AtomicU32, n: u32) -> u32 {
        let mut sleepers = self.sleepers.lock().unwrap();
        self.rouse_all(&mut sleepers, word, n)
    }

    fn rouse_all(&self, sleepers: &mut [Sleeper], word: &AtomicU32, n: u32) -> u32 {
        let asleep = sleepers.iter_mut().filter(|s| !s.woken && s.words.contains(&address(word)));
        let woken = asleep.take(n as usize).map(|s| s.woken = true).count() as u32;
        if woken > 0 {
            self.woken.notify_all();
        }
        woken
    }
}

impl Park for Domain {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited {
        self.wait_any(&[(word, expected)], timeout)
    }

    fn wait_any(&self, words: &[(&AtomicU32, u32)], _: Option<Duration>) -> Waited {
        let thread = ME.with(|me| *me.borrow());
        let changed = || words.iter().any(|(word, expected)| word.load(Ordering::Relaxed) != *expected);
        let mut sleepers = self.sleepers.lock().unwrap();
        if changed() {
            return Waited::Changed;
        }
        if self.broken == Broken::SleepsInTwoSteps {
            drop(sleepers);
            sleepers = self.sleepers.lock().unwrap();
        }
        let words = words.iter().map(|(word, _)| address(word)).collect();
        sleepers.push(Sleeper { thread, words, woken: false });
        while sleepers.iter().any(|s| s.thread == thread && !s.woken) {
            sleepers = self.woken.wait(sleepers).unwrap();
        }
        sleepers.retain(|s| s.thread != thread);
        Waited::Woken
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        if self.broken == Broken::LosesWakes { 0 } else { self.rouse(word, n) }
    }

    fn store_and_wake(&self, word: &AtomicU32, value: u32, n: u32) {
        let mut sleepers = self.sleepers.lock().unwrap();
        word.store(value, Ordering::Release);
        if self.broken != Broken::LosesWakes {
            self.rouse_all(&mut sleepers, word, n);
        }
    }

    fn add_and_wake(&self, word: &AtomicU32, addend: u32, n: u32) -> u32 {
        let mut sleepers = self.sleepers.lock().unwrap();
        word.fetch_add(addend, Ordering::Release);
        if self.broken == Broken::LosesWakes { 0 } else { self.rouse_all(&mut sleepers, word, n) }
    }

    fn set_and_wake(&self, word: &AtomicU32, bits: u32, n: u32) -> u32 {
        let mut sleepers = self.sleepers.lock().unwrap();
        word.fetch_or(bits, Ordering::Release);
        if self.broken == Broken::LosesWakes { 0 } else { self.rouse_all(&mut sleepers, word, n) }
    }
}

impl Owners for Domain {
    fn me(&self) -> Result<Id, NoSlot> {
        Ok(id(ME.with(|me| *me.borrow())))
    }

    fn is_dead(&self, id: Id) -> bool {
        self.broken == Broken::BuriesTheLiving
            || self.lives[id.slot() as usize].load(Ordering::Acquire) == DEAD
    }

    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        (!self.is_dead(id)).then(|| (&self.lives[id.slot() as usize], ALIVE))
    }

    fn pass_on(&self, id: Id) {
        if self.broken != Broken::KeepsObituaries {
            self.rouse(&self.lives[id.slot() as usize], u32::MAX);
        }
    }
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}
