//! Functions that are called when a task is done.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use procession_pool::{SubmitError, TaskFailed};
use procession_testkit::Signal;
use procession_testkit::processes::Identity;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Build, PATIENCE, await_start, expected, gate, hold, signal_self};

/// What callbacks say, in order.
fn told<T>() -> (Sender<T>, impl FnMut() -> T) {
    let (sender, receiver): (_, Receiver<T>) = channel();
    (sender, move || receiver.recv_timeout(PATIENCE).expect("a callback that is called"))
}

pub(crate) fn called_in_the_order_of_the_outcomes(build: Build) {
    let pool = build().workers(2).name("caller").build().unwrap();
    let (sender, mut next) = told();
    let (slow_gate, theirs) = gate();
    let tell = |name: &'static str| {
        let sender = sender.clone();
        move |outcome: Result<u8, TaskFailed>| {
            let thread = thread::current();
            sender.send((name, outcome, thread.name().unwrap().to_owned())).unwrap();
        }
    };
    let slow = pool.submit(hold, theirs).unwrap().on_done(tell("slow")).unwrap();
    await_start(&slow_gate);
    let quick = pool.submit_then(|n: u8| n + 1, 1, tell("quick")).unwrap();
    assert_eq!((quick.id().number, slow.id().number), (2, 1));
    assert!(quick.wait_timeout(PATIENCE) && quick.is_over() && !slow.is_over());
    let (name, outcome, thread) = next();
    assert_eq!((name, outcome.unwrap(), &*thread), ("quick", 2, "caller-callbacks"));
    assert!(!slow.wait_timeout(Duration::from_millis(1)));
    slow_gate.send(&7).unwrap();
    slow.wait();
    assert_eq!(next().1.unwrap(), 7);
    // Of a task that is done.
    let done = pool.submit(|n: u8| n, 3).unwrap();
    while !done.is_ready() {
        thread::yield_now();
    }
    done.on_done(tell("done")).unwrap().wait();
    assert_eq!(next().1.unwrap(), 3);
    // And of one whose value was taken.
    let taken = pool.submit(|n: u8| n, 3).unwrap();
    assert_eq!(taken.get_timeout(PATIENCE).unwrap(), Some(3));
    taken.on_done(tell("taken")).unwrap().wait();
    expected!(next().1, Err(TaskFailed::AlreadyTaken { .. }));
}

pub(crate) fn called_when_the_worker_is_dead(build: Build) {
    let pool = build().workers(1).build().unwrap();
    for _ in 0..20 {
        let worker = Identity::of(pool.pids()[0]).unwrap();
        let (sender, mut next) = told();
        let tell = move |outcome: Result<u8, TaskFailed>| sender.send((outcome, worker.is_alive())).unwrap();
        pool.submit_then(|()| signal_self(Signal::KILL), (), tell).unwrap();
        let (outcome, is_alive) = next();
        expected!(outcome, Err(TaskFailed::WorkerDied { .. }));
        assert!(!is_alive, "it is called too early");
    }
    let (ours, theirs) = gate();
    let (sender, mut next) = told();
    let cancelled = pool.submit_then(hold, theirs, move |outcome| sender.send(outcome).unwrap()).unwrap();
    await_start(&ours);
    assert!(cancelled.cancel());
    expected!(next(), Err(TaskFailed::Cancelled { .. }));
}

/// Panics wherever it is decoded in this process.
struct Trap;

impl Serialize for Trap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("sprung")
    }
}

pub(crate) fn a_panic_in_a_callback_harms_nobody(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let n_called = Arc::new(AtomicUsize::new(0));
    let callbacks: Vec<_> = (0..50)
        .map(|n: usize| {
            let n_called = Arc::clone(&n_called);
            let count = move |outcome: Result<usize, TaskFailed>| {
                n_called.fetch_add(1, SeqCst);
                assert!(outcome.unwrap() % 2 == 1, "an even number");
            };
            pool.submit_then(|n: usize| n, n, count).unwrap()
        })
        .collect();
    callbacks.iter().for_each(procession_pool::Callback::wait);
    assert_eq!(n_called.load(SeqCst), 50);
    let (sender, mut next) = told();
    let tell = move |outcome: Result<Trap, TaskFailed>| sender.send(outcome.err()).unwrap();
    pool.submit_then(|()| Trap, (), tell).unwrap();
    expected!(next(), Some(TaskFailed::ResultNotDecoded { .. }));
    assert_eq!(pool.map(|n: u8| n, 0..3).unwrap(), [0, 1, 2]);
    pool.join();
}

pub(crate) fn callbacks_use_the_pool(build: Build) {
    let pool = Arc::new(build().workers(1).build().unwrap());
    let (sender, mut next) = told();
    let again = Arc::clone(&pool);
    let callback = move |outcome: Result<u8, TaskFailed>| {
        let n = outcome.unwrap();
        // A task, waited for; a map; and one more callback.
        let n = again.submit(|n: u8| n + 1, n).unwrap().get().unwrap();
        let n = again.map(|n: u8| n + 1, [n]).unwrap()[0];
        again.submit_then(|n: u8| n + 1, n, move |outcome| sender.send(outcome.unwrap()).unwrap()).unwrap();
    };
    pool.submit_then(|n: u8| n + 1, 0, callback).unwrap();
    assert_eq!(next(), 4);
    // It may hold the last handle of its pool.
    let (sender, mut next) = told();
    let (ours, theirs) = gate();
    let last = Arc::clone(&pool);
    let ends = move |outcome: Result<u8, TaskFailed>| {
        let pool = Arc::into_inner(last).expect("the last handle");
        let task = pool.submit(|n: u8| n, outcome.unwrap()).unwrap();
        pool.join();
        sender.send(task.get().unwrap()).unwrap();
    };
    let callback = pool.submit_then(hold, theirs, ends).unwrap();
    await_start(&ours);
    drop(pool);
    ours.send(&5).unwrap();
    assert_eq!(next(), 5);
    callback.wait();
}

pub(crate) fn joins_wait_for_callbacks(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let n_called = Arc::new(AtomicUsize::new(0));
    let theirs = Mutex::new(Some(theirs));
    for n in 0..10_usize {
        let n_called = Arc::clone(&n_called);
        let held = if n == 0 { theirs.lock().unwrap().take() } else { None };
        let callback = move |_: Result<usize, TaskFailed>| {
            held.map(hold);
            n_called.fetch_add(1, SeqCst);
        };
        pool.submit_then(|n: usize| n, n, callback).unwrap();
    }
    await_start(&ours);
    assert_eq!(pool.apply(|n: u8| n, 1).unwrap(), 1, "so all tasks are done");
    let pool = pool.join_timeout(Duration::from_millis(1)).expect_err("callbacks are left");
    expected!(pool.submit_then(|()| (), (), |_| ()), Err(SubmitError::Closed));
    ours.send(&1).unwrap();
    pool.join();
    assert_eq!(n_called.load(SeqCst), 10);
}

/// The end of a pool waits for callbacks as long as it may, and no longer. They come all the same.
pub(crate) fn dropped_with_callbacks(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (sender, mut next) = told();
    let (ours, theirs) = gate();
    let (running, never_begins) = (sender.clone(), sender.clone());
    let slow = move |outcome: Result<u8, TaskFailed>| {
        hold(theirs);
        running.send(outcome).unwrap();
    };
    let slow = pool.submit_then(|n: u8| n, 1, slow).unwrap();
    await_start(&ours);
    let (task_gate, theirs) = gate();
    let running = pool.submit(hold, theirs).unwrap();
    await_start(&task_gate);
    pool.submit_then(|n: u8| n, 2, move |outcome| never_begins.send(outcome).unwrap()).unwrap();
    let began = Instant::now();
    pool.terminate(Duration::from_millis(20));
    assert!(began.elapsed() >= Duration::from_millis(20), "it waits as long as it may");
    assert!(!slow.is_over());
    // Asked for when the pool is gone.
    let late = running.on_done(move |outcome| sender.send(outcome).unwrap()).unwrap();
    late.wait();
    expected!(next(), Err(TaskFailed::Closed { .. }));
    ours.send(&1).unwrap();
    assert_eq!(next().unwrap(), 1);
    expected!(next(), Err(TaskFailed::Closed { .. }));
    // Its thread is ours to wait for, or it would count as left behind.
    slow.wait();
}
