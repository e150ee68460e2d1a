//! The failures that pools of other kinds hang of, or pay for with all their work: one test for each column of the table
//! of failures, four workers as there.
//!
//! What took time is told on standard error and not asserted: the watchdog is the only clock.

mod gate;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::{Duration, Instant};

use gate::{Gate, PATIENCE, await_start, gate, hold};
use procession_pool::{BuildError, InitializerFailure, ParProcs, Pool, TaskFailed, TaskOptions};
use procession_process::{Signal, TaskError};
use procession_shm::Atomic;
use procession_shm::domain::Domain;
use procession_sys::signal::{self, Disposition};
use procession_testkit::processes::{self, Identity};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Counted, counted, guarded, role};
use rustix::process::{Pid, kill_process_group};
use serde::{Deserialize, Deserializer, Serialize};

const WORKERS: usize = 4;

/// Tells a figure of the table.
fn tell(column: &str, figure: &str) {
    let _ = writeln!(std::io::stderr(), "failure table: {column}: {figure}");
}

fn die_at_seven(n: u32) -> u32 {
    if n == 7 {
        processes::kill(std::process::id(), processes::Signal::KILL).expect("we may");
        loop {
            std::thread::park();
        }
    }
    n * n
}

/// That one and no other, whose signal is named.
fn expect_killed(error: &TaskFailed, workers: &[u32]) {
    let TaskFailed::WorkerDied { worker, exit, .. } = error else { panic!("{error:?}") };
    assert_eq!(exit.signal(), Some(Signal::KILL));
    assert!(workers.contains(&worker.pid), "{worker} was one of {workers:?}");
    let told = error.to_string();
    assert!(told.contains("SIGKILL") && told.contains(&worker.pid.to_string()), "{told}");
}

#[test]
fn a_worker_kills_itself() {
    counted(|| {
        let pool = Pool::builder().workers(WORKERS).name("table").build().unwrap();
        let workers = pool.pids();
        let start = Instant::now();
        let mut failed = Vec::new();
        for (n, result) in (0..20).par_procs(&pool).map(die_at_seven).enumerate() {
            match result {
                Ok(square) => assert_eq!(square as usize, n * n),
                Err(error) => failed.push((n, error)),
            }
        }
        tell("a worker kills itself", &format!("1 task of 20 lost, all told after {:?}", start.elapsed()));
        let [(7, error)] = &failed[..] else { panic!("{failed:?}") };
        expect_killed(error, &workers);
        // By themselves as well, and in the worker's place there is another.
        let workers = pool.pids();
        let tasks: Vec<_> = (0..20).map(|n| pool.submit(die_at_seven, n).unwrap()).collect();
        for (n, task) in (0..).zip(tasks) {
            match task.get() {
                Ok(square) => assert!(square == n * n && n != 7),
                Err(error) => assert_eq!(n, 7, "{error}: {:?}", expect_killed(&error, &workers)),
            }
        }
        assert_eq!(pool.pids().len(), WORKERS);
    });
}

fn spin_at_seven(n: u32) -> u32 {
    if n == 7 {
        loop {
            std::hint::spin_loop();
        }
    }
    n + 1
}

#[test]
fn an_endless_task() {
    counted(|| {
        let limit = Duration::from_millis(300);
        let pool = Pool::builder().workers(WORKERS).task_timeout(limit).build().unwrap();
        let before: BTreeSet<_> = pool.pids().into_iter().filter_map(Identity::of).collect();
        let start = Instant::now();
        let mut ended = Vec::new();
        for (n, result) in (0..20).par_procs(&pool).map(spin_at_seven).enumerate() {
            match result {
                Ok(value) => assert_eq!(value as usize, n + 1),
                Err(TaskFailed::TimedOut { worker, limit: told, .. }) => {
                    assert_eq!((n, told), (7, limit));
                    ended.push(worker.pid);
                }
                Err(other) => panic!("{n}: {other}"),
            }
        }
        tell("an endless task", &format!("ended {:?} after the begin, limit {limit:?}", start.elapsed()));
        let [pid] = ended[..] else { panic!("{ended:?}") };
        let after: BTreeSet<_> = pool.pids().into_iter().filter_map(Identity::of).collect();
        assert_eq!((after.len(), before.intersection(&after).count()), (WORKERS, WORKERS - 1));
        assert!(before.difference(&after).all(|worker| worker.pid() == pid && !worker.is_alive()));
    });
}

#[test]
fn endless_input() {
    counted(|| {
        let pool = Pool::new(WORKERS).unwrap();
        let pulled = Cell::new(0);
        let items = || (0..).inspect(|_| pulled.set(pulled.get() + 1));
        let mut results = items().par_procs(&pool).in_flight(2 * WORKERS).map(|n: u32| n);
        assert!((0..3).all(|n| results.next().unwrap().unwrap() == n));
        // The third result was asked for when two had been taken.
        assert!(pulled.get() <= 2 * WORKERS + 2, "{pulled:?} pulled");
        tell(
            "endless input",
            &format!("{} pulled for 3 results with {} in flight", pulled.get(), 2 * WORKERS),
        );
        drop(results);
        // By default: two chunks for each worker, at first of one item.
        pulled.set(0);
        let mut results = items().par_procs(&pool).map(|n: u32| n);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(pulled.get() <= 2 * WORKERS, "{pulled:?} pulled");
        tell("endless input", &format!("{} pulled for the first result by default", pulled.get()));
    });
}

/// A task of five seconds, of which the test waits for none.
fn five_seconds(gate: Gate) -> u32 {
    gate.send(&std::process::id()).expect("somebody listens");
    // tidy: sleep: that is the task; it is ended long before
    std::thread::sleep(Duration::from_secs(5));
    0
}

/// In a worker: a process of its own and a pool of its own, all busy; tells when they are.
fn nest(gate: Gate) -> u32 {
    let (ours, theirs) = self::gate();
    let child = procession_process::spawn(hold, theirs).unwrap();
    await_start(&ours);
    let inner = Pool::new(2).unwrap();
    let ends: Vec<_> = (0..2).map(|_| self::gate()).collect();
    let (ours, theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let tasks: Vec<_> = theirs.into_iter().map(|gate| inner.submit(five_seconds, gate).unwrap()).collect();
    ours.iter().for_each(|gate| assert!(await_start(gate) != std::process::id()));
    gate.send(&std::process::id()).expect("somebody listens");
    let sum: u32 = tasks.into_iter().map(|task| task.get().unwrap()).sum();
    sum + child.join().unwrap()
}

/// In the role: all workers are busy; says so, and waits for its end in the midst of `map`.
fn work_hard(task: fn(Gate) -> u32) {
    // Who runs tests in the background may have us ignore it.
    signal::set(Signal::INT, Disposition::Default).unwrap();
    let pool = Pool::new(WORKERS).unwrap();
    let ends: Vec<_> = (0..WORKERS).map(|_| gate()).collect();
    let (ours, theirs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let tasks: Vec<_> = theirs.into_iter().map(|gate| pool.submit(task, gate).unwrap()).collect();
    ours.iter().for_each(|gate| assert!(await_start(gate) > 0));
    roles::say("busy");
    for task in tasks {
        let _ = task.get();
    }
    panic!("it was to be ended before");
}

/// Everybody below the role, once all are busy.
fn family(role: &mut RoleProcess, n: usize) -> Vec<Identity> {
    assert_eq!(role.hear(PATIENCE).as_deref(), Some("busy"));
    let family = processes::descendants(role.pid());
    assert_eq!(family.iter().filter(|one| one.is_alive()).count(), n, "{family:?}");
    family
}

/// Waits until nobody is left; tells how long that took.
fn expect_nobody(column: &str, start: Instant, family: &[Identity]) {
    for one in family {
        assert!(one.wait_ended(PATIENCE), "{one} outlives its pool");
    }
    tell(column, &format!("0 processes of {} left {:?} later", family.len(), start.elapsed()));
}

#[test]
fn ctrl_c_during_tasks_of_five_seconds() {
    if role().is_some() {
        return work_hard(five_seconds);
    }
    guarded(|| {
        // In a group of its own, as a shell starts it: who starts it there has no other way to talk with it.
        let (said, theirs) = std::io::pipe().unwrap();
        let mut command = Role::new("interrupted").into_command();
        let mut parent = command.process_group(0).stdout(theirs).spawn().unwrap();
        drop(command);
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(said));
        assert!(lines.any(|line| line.unwrap().ends_with("busy")), "it is at work");
        let family = processes::descendants(parent.id());
        assert_eq!(family.len(), WORKERS);
        let (start, group) = (Instant::now(), Pid::from_child(&parent));
        kill_process_group(group, rustix::process::Signal::INT).unwrap();
        assert_eq!(parent.wait().unwrap().signal(), Some(Signal::INT.0));
        expect_nobody("Ctrl-C during tasks of 5 s", start, &family);
    });
}

#[test]
fn the_parent_is_killed() {
    if role().is_some() {
        return work_hard(five_seconds);
    }
    guarded(|| {
        let mut parent = Role::new("killed").spawn();
        let family = family(&mut parent, WORKERS);
        let start = Instant::now();
        parent.kill();
        expect_nobody("the parent is killed", start, &family);
    });
}

/// Workers with a child each, and a pool each whose workers are busy.
#[test]
fn the_parent_of_nested_pools_is_killed() {
    if role().is_some() {
        return work_hard(nest);
    }
    guarded(|| {
        let mut parent = Role::new("killed").spawn();
        let family = family(&mut parent, WORKERS * (1 + 1 + 2));
        let start = Instant::now();
        parent.kill();
        expect_nobody("the parent of nested pools is killed", start, &family);
    });
}

#[test]
fn an_initializer_fails() {
    fn open(n_calls: Atomic<u32>) -> Result<u32, TaskError> {
        n_calls.fetch_add(1);
        Err(TaskError::new("there is no such model"))
    }
    Domain::current().unwrap();
    counted(|| {
        let n_calls = Atomic::new(0).unwrap();
        let start = Instant::now();
        let refused = Pool::builder().workers(WORKERS).initializer(open, n_calls.clone()).build();
        let error = refused.expect_err("no pool without what its workers need");
        tell(
            "an initializer fails",
            &format!("told after {:?}, {} processes tried", start.elapsed(), n_calls.load()),
        );
        assert!(error.to_string().contains("there is no such model"), "{error}");
        let BuildError::Initializer { failure: InitializerFailure::Failed(_), .. } = error else {
            panic!("{error:?}")
        };
        // One each at most: nobody takes the place of one that fails.
        assert!((1..=WORKERS).contains(&(n_calls.load() as usize)), "{} processes tried", n_calls.load());
    });
}

/// What arrives of it is refused.
#[derive(Debug, Serialize)]
struct Picky(u32);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(from)?;
        if n == 7 { Err(serde::de::Error::custom("seven is not for me")) } else { Ok(Self(n)) }
    }
}

#[test]
fn a_result_that_does_not_decode() {
    counted(|| {
        let pool = Pool::new(WORKERS).unwrap();
        let workers = pool.pids();
        let mut refused = Vec::new();
        for (n, result) in (0..20).par_procs(&pool).map(Picky).enumerate() {
            match result {
                Ok(Picky(value)) => assert_eq!(value as usize, n),
                Err(TaskFailed::ResultNotDecoded { task, error }) => refused.push((n, task.number, error)),
                Err(other) => panic!("{n}: {other}"),
            }
        }
        tell("a result that does not decode", &format!("{refused:?}"));
        assert!(matches!(&refused[..], [(7, 8, _)]), "{refused:?}");
        assert_eq!(pool.submit(Picky, 5).unwrap().get().unwrap().0, 5);
        assert_eq!(pool.pids(), workers, "nobody died of it");
    });
}

#[test]
fn tiny_tasks() {
    let n_tasks: u32 = if std::env::var_os("PROCESSION_LONG").is_some() { 200_000 } else { 10_000 };
    Counted::new().warm_ups(1).run(|| {
        let pool = Pool::new(WORKERS).unwrap();
        for (chunk, name) in [(Some(1), "chunks of 1"), (None, "chunks by themselves")] {
            let start = Instant::now();
            let items = (0..n_tasks).par_procs(&pool);
            let items = if let Some(chunk) = chunk { items.chunk(chunk) } else { items };
            assert!(items.map(|n: u32| n + 1).map(Result::unwrap).eq(1..=n_tasks));
            let rate = f64::from(n_tasks) / start.elapsed().as_secs_f64();
            tell("tiny tasks", &format!("{rate:.0} a second, {name}"));
        }
        let limited = TaskOptions::new().timeout(PATIENCE).retries(1);
        let results = (0..n_tasks).par_procs(&pool).unordered().options(limited).map(|n: u32| n);
        let sum: u64 = results.map(|result| u64::from(result.unwrap())).sum();
        assert_eq!(sum, u64::from(n_tasks) * (u64::from(n_tasks) - 1) / 2);
    });
}
