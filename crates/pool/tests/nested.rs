//! Pools inside of tasks: they end with their worker, however that ends, and take nobody else with them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write, pipe as os_pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_pool::{Pool, Task, TaskFailed, TaskOptions, with_state};
use procession_testkit::processes::{self, Identity, Signal};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, guarded, role};

const PATIENCE: Duration = Duration::from_secs(30);

/// A task's end: it tells who there is below it, and is told how to end.
type Gate = Duplex<Vec<u32>, Order>;
/// Our end.
type Rein = Duplex<Order, Vec<u32>>;

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Order {
    Return,
    Panic,
    Exit,
}

/// A task with `depth` pools below it, one inside the other; each has a worker that runs the next, and one with nothing to do.
fn nest((depth, gate): (u32, Gate)) -> u32 {
    if depth == 0 {
        gate.send(&vec![std::process::id()]).unwrap();
        gate.recv().unwrap();
        return 1;
    }
    let pool = Pool::new(2).unwrap();
    let (task, rein, mut below) = start(&pool, depth - 1);
    below.extend(pool.pids());
    gate.send(&below).unwrap();
    match gate.recv().unwrap() {
        Order::Return => {
            rein.send(&Order::Return).unwrap();
            1 + task.get().unwrap()
        }
        Order::Panic => panic!("with a pool"),
        Order::Exit => std::process::exit(3),
    }
}

/// Starts such a task; who there is below it.
fn start(pool: &Pool, depth: u32) -> (Task<u32>, Rein, Vec<u32>) {
    start_with(pool, TaskOptions::new(), depth)
}

fn start_with(pool: &Pool, options: TaskOptions, depth: u32) -> (Task<u32>, Rein, Vec<u32>) {
    let (rein, gate) = pipe().unwrap();
    let task = pool.submit_with(options, nest, (depth, gate)).unwrap();
    let below = rein.recv_timeout(PATIENCE).unwrap();
    (task, rein, below)
}

/// Those that run; the innermost task's worker tells of itself, and so does its pool.
fn identities(pids: &[u32]) -> Vec<Identity> {
    pids.iter().map(|pid| Identity::of(*pid).expect("it runs")).collect()
}

fn await_ended(all: &[Identity]) {
    for one in all {
        assert!(one.wait_ended(PATIENCE), "{one} outlives the pool's process");
    }
}

#[test]
fn it_ends_with_its_task() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        let (task, rein, below) = start(&pool, 3);
        let below = identities(&below);
        assert_eq!(below.len(), 1 + 3 * 2);
        rein.send(&Order::Return).unwrap();
        assert_eq!(task.get().unwrap(), 4);
        assert!(below.iter().all(|one| !one.is_alive()), "a pool that is dropped has ended its workers");
        let (task, rein, below) = start(&pool, 2);
        let below = identities(&below);
        rein.send(&Order::Panic).unwrap();
        assert!(matches!(task.get(), Err(TaskFailed::Panicked { .. })));
        await_ended(&below);
        let (task, rein, below) = start(&pool, 2);
        let below = identities(&below);
        rein.send(&Order::Exit).unwrap();
        assert!(matches!(task.get(), Err(TaskFailed::WorkerDied { .. })));
        await_ended(&below);
    });
}

#[test]
fn it_ends_with_a_worker_that_is_killed() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        for depth in 1..4 {
            let (task, _rein, below) = start(&pool, depth);
            let below = identities(&below);
            let idle = pool.submit(|()| std::process::id(), ()).unwrap().get().unwrap();
            let outer = pool.pids().into_iter().find(|pid| *pid != idle).unwrap();
            processes::kill(outer, Signal::KILL).unwrap();
            match task.get() {
                Err(TaskFailed::WorkerDied { worker, .. }) => assert_eq!(worker.pid, outer),
                other => panic!("{other:?}"),
            }
            await_ended(&below);
            assert_eq!(pool.map(|n: u8| n, 0..9).unwrap().len(), 9);
            assert!(pool.pids().contains(&idle), "the other worker has nothing to do with it");
        }
    });
}

#[test]
fn it_ends_with_a_task_that_we_end() {
    counted(|| {
        let pool = Pool::new(1).unwrap();
        let (task, _rein, below) = start(&pool, 2);
        let below = identities(&below);
        assert!(task.cancel());
        assert!(matches!(task.get(), Err(TaskFailed::Cancelled { .. })));
        await_ended(&below);
        let brief = TaskOptions::new().timeout(Duration::from_secs(1));
        let (task, _rein, below) = start_with(&pool, brief, 2);
        let below = identities(&below);
        assert!(matches!(task.get(), Err(TaskFailed::TimedOut { .. })));
        await_ended(&below);
        let (task, _rein, below) = start(&pool, 2);
        let below = identities(&below);
        drop(pool);
        assert!(matches!(task.get(), Err(TaskFailed::Closed { .. })));
        await_ended(&below);
    });
}

/// What dies inside is the business of the task there.
#[test]
fn deaths_inside_cost_what_they_run() {
    counted(|| {
        let pool = Pool::new(1).unwrap();
        let inside = |()| {
            let pool = Pool::new(2).unwrap();
            let outcomes = pool.map_each(
                |n: u32| {
                    if n.is_multiple_of(5) {
                        std::process::abort()
                    }
                    n
                },
                0..20,
            );
            outcomes.iter().filter(|outcome| outcome.is_ok()).count()
        };
        let before = pool.pids();
        assert_eq!(pool.map(inside, [(), ()]).unwrap(), [16, 16]);
        assert_eq!(pool.pids(), before);
    });
}

/// A pool that a worker keeps from task to task.
#[test]
fn a_pool_as_the_state_of_a_worker() {
    counted(|| {
        let open = |n: usize| Ok(Pool::new(n)?);
        let outer = Pool::builder().workers(2).initializer_and_exit(open, 2, |pool: Pool| pool.join());
        let outer = outer.build().unwrap();
        let sum = |n: u32| {
            with_state(|pool: &mut Pool| pool.map(|n: u32| n, 0..n).unwrap().into_iter().sum::<u32>())
        };
        assert_eq!(outer.map(sum, [3, 4, 5]).unwrap(), [3, 6, 10]);
        let below = outer.map(|()| with_state(|pool: &mut Pool| pool.pids()), [(); 4]).unwrap();
        let below = identities(&below.concat());
        drop(outer);
        await_ended(&below);
    });
}

#[test]
fn a_killed_parent_leaves_nobody_below() {
    if role().is_some() {
        let pool = Pool::new(2).unwrap();
        let (_task, _rein, below) = start(&pool, 3);
        let mut report = File::from(roles::handed("report"));
        for pid in below.into_iter().chain(pool.pids()) {
            writeln!(report, "{pid}").unwrap();
        }
        writeln!(report).unwrap();
        drop(report);
        loop {
            std::thread::park();
        }
    }
    guarded(|| {
        let (report, theirs) = os_pipe().unwrap();
        let mut command = Role::new("parent").hand("report", OwnedFd::from(theirs)).into_command();
        let mut parent = command.spawn().unwrap();
        drop(command);
        let mut report = BufReader::new(report);
        let mut pids = Vec::new();
        loop {
            let mut line = String::new();
            report.read_line(&mut line).unwrap();
            let Ok(pid) = line.trim().parse() else { break };
            pids.push(pid);
        }
        let all = identities(&pids);
        assert_eq!(all.len(), 1 + 3 * 2 + 2);
        parent.kill().unwrap();
        assert_eq!(parent.wait().unwrap().signal(), Some(9));
        await_ended(&all);
        // Whoever still held the report would keep it open.
        assert_eq!(report.read_to_end(&mut Vec::new()).unwrap(), 0);
    });
}
