//! Pools without workers. What the variable does, a role tells, whose environment has it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, pipe};
use procession_pool::{
    BuildError, Builder, ParProcs, Pool, SubmitError, TaskFailed, TaskOptions, attempt, with_state,
};
use procession_process::TaskError;
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, role};

const PATIENCE: Duration = Duration::from_secs(30);

fn serial() -> Builder {
    Pool::builder().workers(3).name("inline").serial(true)
}

#[test]
fn the_variable_makes_pools_serial() {
    if role().is_some() {
        let pool = Pool::new(2).unwrap();
        let ours = std::process::id();
        let inside = pool.map(|_: u8| std::process::id(), 0..3).unwrap();
        assert_eq!(inside, [ours; 3]);
        let by_hand = Pool::builder().workers(1).serial(false).build().unwrap();
        assert_ne!(by_hand.submit(|()| std::process::id(), ()).unwrap().get().unwrap(), ours);
        return roles::say("done");
    }
    guarded(|| {
        for (value, is_serial) in [("1", true), ("0", false), ("", false)] {
            let mut process = Role::new("serial").env("PROCESSION_SERIAL", value).spawn();
            assert_eq!(process.hear(PATIENCE).is_some(), is_serial, "{value}");
            let output = process.wait_with_output(PATIENCE);
            if is_serial {
                output.expect_success();
            }
        }
    });
}

#[test]
fn tasks_run_before_submit_returns() {
    static RUN: AtomicUsize = AtomicUsize::new(0);
    guarded(|| {
        let pool = serial().build().unwrap();
        let here = std::thread::current().id();
        let run =
            |n: u32| (n + attempt(), RUN.fetch_add(1, SeqCst), format!("{:?}", std::thread::current().id()));
        let task = pool.submit(run, 6).unwrap();
        assert!(task.is_ready() && RUN.load(SeqCst) == 1 && !task.cancel());
        assert_eq!(task.get().unwrap(), (7, 0, format!("{here:?}")));
        assert_eq!(attempt(), 0, "outside of tasks");
        assert_eq!((pool.workers(), pool.pids()), (1, vec![std::process::id()]));
        pool.join();
    });
}

#[test]
fn maps_are_lazy_still() {
    guarded(|| {
        let pool = serial().build().unwrap();
        let pulled = AtomicUsize::new(0);
        let items = (0_u32..).inspect(|_| {
            pulled.fetch_add(1, SeqCst);
        });
        let mut results = items.par_procs(&pool).in_flight(4).map(|n: u32| n * 2);
        for n in 0..10 {
            assert_eq!(results.next().unwrap().unwrap(), 2 * n);
            assert!(pulled.load(SeqCst) <= n as usize + 4);
        }
        drop(results);
        assert_eq!(pool.map(|n: u32| n + 1, 0..1000).unwrap(), (1..1001).collect::<Vec<_>>());
        pool.close();
        assert!(matches!(pool.submit(|n: u8| n, 1), Err(SubmitError::Closed)));
        assert!(matches!(pool.map(|n: u8| n, [1]), Err(TaskFailed::Closed { .. })));
    });
}

fn fails(n: u32) -> u32 {
    panic!("number {n}")
}

#[test]
fn panics_are_the_same_failure() {
    guarded(|| {
        let pool = serial().build().unwrap();
        let shown = TaskOptions::new().show_arguments::<u32>();
        let failed = pool.submit_with(shown, fails, 7).unwrap().get().unwrap_err();
        let TaskFailed::Panicked { task, worker, panic, .. } = &failed else { panic!("{failed:?}") };
        assert_eq!((task.number, worker.pid), (1, std::process::id()));
        assert_eq!(panic.message, "number 7");
        assert!(panic.location.contains("serial.rs") && panic.backtrace.contains("fails"), "{panic:?}");
        let text = failed.to_string();
        assert!(text.contains("\n  ran       serial::fails, attempt 1 of 1\n  argument  7\n"), "{text}");
        // The rest goes on.
        let outcomes: Vec<_> =
            (0..4).par_procs(&pool).map(|n: u32| if n == 2 { fails(n) } else { n }).collect();
        assert!(outcomes.iter().enumerate().all(|(n, outcome)| outcome.is_ok() == (n != 2)));
    });
}

#[test]
fn handles_move_as_ever() {
    fn answer(end: Duplex<u8, u8>) -> (u8, Descriptor) {
        let (_, writer) = std::io::pipe().unwrap();
        (end.recv().unwrap(), std::os::fd::OwnedFd::from(writer).into())
    }
    guarded(|| {
        let pool = serial().build().unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        ours.send(&5).unwrap();
        let (told, handle) = pool.submit(answer, theirs).unwrap().get().unwrap();
        assert_eq!(told, 5);
        assert!(handle.into_owned().is_ok());
        assert!(ours.recv_timeout(PATIENCE).is_err(), "the other end is gone with its task");
    });
}

fn count(by: usize) -> usize {
    with_state(|n: &mut usize| {
        *n += by;
        *n
    })
}

static CLOSED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn states_of_pools_and_threads() {
    guarded(|| {
        let open = |n: usize| if n == 99 { Err(TaskError::new("not 99")) } else { Ok(n) };
        let close = |n: usize| CLOSED.store(n, SeqCst);
        let pool = serial().initializer_and_exit(open, 10, close).build().unwrap();
        let other = serial().initializer(open, 500).build().unwrap();
        let one = |pool: &Pool| pool.submit(count, 1).unwrap().get().unwrap();
        assert_eq!((one(&pool), one(&other), one(&pool), one(&other)), (11, 501, 12, 502));
        std::thread::scope(|s| {
            let elsewhere = s.spawn(|| (one(&pool), one(&pool)));
            assert_eq!(elsewhere.join().unwrap(), (11, 12), "as another worker");
        });
        assert_eq!(one(&pool), 13);
        drop(pool);
        assert_eq!(CLOSED.load(SeqCst), 13);
        let broken = serial().initializer(open, 99).build().unwrap_err();
        let BuildError::Initializer { failure, .. } = &broken else { panic!("{broken:?}") };
        assert!(failure.to_string().contains("not 99"), "{broken}");
        let gone = std::panic::catch_unwind(|| count(1));
        assert!(gone.is_err(), "outside of tasks there is no state");
    });
}

/// A task that uses a pool of its own, which is serial too, from within its state.
#[test]
fn pools_inside_of_tasks() {
    fn nested(n: usize) -> usize {
        let inner =
            Pool::builder().workers(2).serial(true).initializer(|n: usize| Ok(n), 100).build().unwrap();
        let sum = with_state(|ours: &mut usize| *ours + inner.submit(count, n).unwrap().get().unwrap());
        sum + count(0)
    }
    guarded(|| {
        let pool = serial().initializer(|n: usize| Ok(n), 1000).build().unwrap();
        assert_eq!(pool.submit(nested, 1).unwrap().get().unwrap(), 1000 + 101 + 1000);
        assert_eq!(pool.submit(count, 1).unwrap().get().unwrap(), 1001);
    });
}

#[test]
fn contexts_are_decoded_once_and_let_go() {
    guarded(|| {
        let pool = serial().build().unwrap();
        let with = pool.with(&vec![1_u32, 2, 3]);
        let address = |items: &Vec<u32>, i: usize| (items[i], items.as_ptr() as usize);
        let found = with.map(address, 0..3).unwrap();
        assert_eq!(found.iter().map(|f| f.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(found.iter().all(|f| f.1 == found[0].1), "one object");
        drop(with);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let with = pool.with(&Descriptor::from(std::os::fd::OwnedFd::from(writer)));
        with.submit(|_: &Descriptor, n: u8| n, 1).unwrap().get().unwrap();
        drop(with);
        assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0, "nobody holds the other end");
    });
}
