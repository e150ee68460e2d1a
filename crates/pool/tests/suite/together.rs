//! Waiting for several tasks at once.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use procession_pipe::{Duplex, Waitable, wait};
use procession_pool::{AnyTask, NotYet, Task, TaskFailed, as_completed, wait_all, wait_any};
use procession_testkit::Signal;

use super::{Build, PATIENCE, await_start, expected, gate, hold, signal_self, strike};

/// Tasks that wait to be told how to end, each in a worker of its own, and our ends of their gates.
fn held(pool: &procession_pool::Pool, n: usize) -> (Vec<Task<u8>>, Vec<Duplex<u8, u8>>) {
    let (gates, tasks) = (0..n)
        .map(|_| {
            let (ours, theirs) = gate();
            let task = pool.submit(hold, theirs).unwrap();
            await_start(&ours);
            (ours, task)
        })
        .unzip();
    (tasks, gates)
}

pub(crate) fn the_first_of_several(build: Build) {
    let (one, other) = (build().workers(2).build().unwrap(), build().workers(2).build().unwrap());
    let ((mut tasks, mut gates), (tasks2, gates2)) = (held(&one, 2), held(&other, 2));
    tasks.extend(tasks2);
    gates.extend(gates2);
    assert!(
        wait_any(&tasks, Duration::from_millis(1)).is_empty() && wait_any(&tasks, Instant::now()).is_empty()
    );
    assert!(!wait_all(&tasks, Duration::from_millis(1)));
    for last in [3, 1, 0, 2] {
        let left: Vec<_> = (0..4).filter(|index| !tasks[*index].is_ready()).collect();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait_any(left.iter().map(|index| &tasks[*index]), None));
            gates[last].send(&7).unwrap();
            assert_eq!(waiter.join().unwrap(), [left.iter().position(|index| *index == last).unwrap()]);
        });
    }
    assert_eq!(wait_any(&tasks, None), [0, 1, 2, 3]);
    assert!(wait_all(&tasks, None));
    // What was taken is done, too.
    assert_eq!(tasks[1].try_get().unwrap(), Some(7));
    assert_eq!(wait_any(&tasks, None), [0, 1, 2, 3]);
    let none: [Task<u8>; 0] = [];
    assert!(wait_any(&none, None).is_empty() && wait_all(&none, None));
}

pub(crate) fn tasks_of_several_types(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (ours, theirs) = gate();
    let number = pool.submit(hold, theirs).unwrap();
    let text = pool.submit(|()| -> String { signal_self(Signal::SEGV) }, ()).unwrap();
    let all: [&dyn AnyTask; 2] = [&number, &text];
    assert_eq!(wait_any(all, None), [1], "a death is an outcome");
    expected!(text.get(), Err(TaskFailed::WorkerDied { .. }));
    ours.send(&1).unwrap();
    assert!(wait_all([&number as &dyn AnyTask], PATIENCE));
}

pub(crate) fn a_wait_that_is_over_leaves_nothing(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (tasks, gates) = held(&pool, 1);
    for _ in 0..1000 {
        assert!(wait_any(&tasks, Duration::ZERO).is_empty());
    }
    // Many at once wait for the same task, some for its value.
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| wait_all(&tasks, PATIENCE))).collect();
        let taker = scope.spawn(|| tasks[0].get_timeout(PATIENCE).unwrap());
        gates[0].send(&9).unwrap();
        assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        assert_eq!(taker.join().unwrap(), Some(9));
    });
}

pub(crate) fn together_with_other_things(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let (tasks, gates) = held(&pool, 2);
    let (end, other) = gate();
    let things: [&dyn Waitable; 3] = [&tasks[0], &end, &tasks[1]];
    let brief = Duration::from_millis(1);
    assert!(wait(&things, brief).unwrap().is_empty() && wait(&things, brief).unwrap().is_empty());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wait(&[&tasks[0], &end, &tasks[1]], None).unwrap());
        gates[1].send(&7).unwrap();
        assert_eq!(waiter.join().unwrap(), [2]);
    });
    other.send(&1).unwrap();
    assert_eq!(wait(&things, None).unwrap(), [1, 2]);
    strike(pool.pids()[0], Signal::KILL);
    strike(pool.pids()[1], Signal::KILL);
    assert!(wait(&[&tasks[0]], None).unwrap() == [0], "a death is an outcome");
    // What was taken is done.
    assert_eq!(tasks[1].try_get().unwrap(), Some(7));
    assert_eq!(wait(&things, None).unwrap(), [0, 1, 2]);
}

pub(crate) fn outcomes_as_they_come(build: Build) {
    let pool = build().workers(3).build().unwrap();
    let (mut tasks, gates) = held(&pool, 3);
    let dead = pool.submit(|n: u8| -> u8 { panic!("{n}") }, 4).unwrap();
    tasks.push(dead);
    let mut outcomes = as_completed(tasks);
    assert_eq!((outcomes.len(), outcomes.try_next().unwrap_err()), (4, NotYet));
    assert_eq!(outcomes.next_timeout(Duration::from_millis(1)).unwrap_err(), NotYet);
    for index in [2, 0] {
        gates[index].send(&5).unwrap();
        let told = if index == 2 {
            outcomes.next()
        } else {
            outcomes.next_until(Instant::now() + PATIENCE).unwrap()
        };
        let (told, value) = told.unwrap();
        if told == 3 {
            // The worker that was free first ran it.
            expected!(value, Err(TaskFailed::Panicked { .. }));
            assert_eq!(outcomes.next().unwrap().0, index);
        } else {
            assert_eq!((told, value.unwrap()), (index, 5));
        }
    }
    let left: BTreeSet<_> = if outcomes.len() == 2 { [1, 3].into() } else { [1].into() };
    gates[1].send(&6).unwrap();
    let rest = outcomes.into_rest().map(|(index, task)| {
        assert_eq!(task.get().ok(), (index == 1).then_some(6));
        index
    });
    assert_eq!(rest.collect::<BTreeSet<_>>(), left);
}

/// Every outcome once, whatever becomes of tasks and pools.
pub(crate) fn each_outcome_once(build: Build) {
    let pools = [build().workers(1).build().unwrap(), build().workers(2).build().unwrap()];
    let end = |n: u32| match n % 10 {
        3 => signal_self(Signal::KILL),
        5 => panic!("five"),
        _ => n,
    };
    let tasks: Vec<_> = (0..200).map(|n| pools[n as usize % 2].submit(end, n).unwrap()).collect();
    let cancelled = tasks[190].cancel();
    let taken = matches!(tasks[0].get_timeout(PATIENCE), Ok(Some(0)));
    let [one, other] = pools;
    let mut seen = BTreeSet::new();
    let mut outcomes = as_completed(tasks);
    for (index, outcome) in outcomes.by_ref().take(100) {
        assert!(seen.insert(index));
        match outcome {
            Ok(value) => assert!(value as usize == index && ![3, 5].contains(&(index % 10))),
            Err(TaskFailed::WorkerDied { .. }) => assert_eq!(index % 10, 3),
            Err(TaskFailed::Panicked { .. }) => assert_eq!(index % 10, 5),
            Err(TaskFailed::Cancelled { .. }) => assert!(index == 190 && cancelled),
            Err(TaskFailed::AlreadyTaken { .. }) => assert!(index == 0 && taken),
            Err(other) => panic!("{other}"),
        }
    }
    drop(one);
    other.join();
    seen.extend(outcomes.map(|(index, _)| index));
    assert_eq!(seen.len(), 200);
}
