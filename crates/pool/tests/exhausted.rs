//! Pools where descriptors, memory, address space or processes run out, at every step: an error that says what was missing,
//! and everything given back; a pool that runs goes on with what it has, and is whole again when there is room.

mod gate;
mod scarce;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::thread;

use gate::{PATIENCE, await_start, gate, hold};
use procession_codec::Bytes;
use procession_pool::{BuildError, Pool, SubmitError, TaskFailed};
use procession_process::TaskError;
use procession_shm::domain::Domain;
use procession_sys::OsError;
use procession_testkit::roles::{self, Role};
use procession_testkit::{Leaks, counted, guarded, role};
use rustix::process::{Pid, Resource, Signal, kill_process};
use scarce::{in_a_process_of_its_own, leave_descriptors, limited, without_new_descriptors};

const EMFILE: i32 = 24;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;

/// The error of the system below all others.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let below = error.source().and_then(errno);
    let of_ours = || error.downcast_ref::<OsError>().and_then(OsError::errno);
    let of_std = || error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    below.or_else(of_ours).or_else(of_std)
}

/// It works, and has its size.
fn expect_whole(pool: &Pool) {
    let values: Vec<u32> = pool.map(|n: u32| n + 1, 0..20).expect("it works");
    assert_eq!(values, Vec::from_iter(1..21));
    assert_eq!(pool.pids().len(), pool.workers());
}

/// What the first child of a process makes and keeps.
fn warm_up() {
    Domain::current().unwrap();
    expect_whole(&Pool::new(1).unwrap());
}

fn open(bytes: Bytes) -> Result<usize, TaskError> {
    Ok(bytes.len())
}

/// As many as there are from none on until it can be built: each number but the last is one step that fails.
#[test]
fn without_descriptors_no_pool_is_built() {
    in_a_process_of_its_own(200, || {
        warm_up();
        for (name, argument) in [("plain", None), ("set up", Some(10)), ("set up at length", Some(300_000))] {
            let build = || {
                let settings = Pool::builder().workers(3);
                let Some(len) = argument else { return settings.build() };
                settings.initializer(open, Bytes::from(vec![1; len])).build()
            };
            let mut n_refused = 0;
            counted(|| {
                n_refused = 0;
                loop {
                    let held = leave_descriptors(n_refused);
                    let built = build();
                    drop(held);
                    match built {
                        Ok(pool) => break expect_whole(&pool),
                        Err(error) => assert_eq!(errno(&error), Some(EMFILE), "{n_refused} left: {error:?}"),
                    }
                    n_refused += 1;
                }
            });
            assert!((10..100).contains(&n_refused), "{n_refused}");
            roles::say(&format!(
                "pool of 3, {name}: needs {n_refused} descriptors at a time, refused with every number below"
            ));
        }
    });
}

/// Neither is one left of those that could be started.
#[test]
fn a_crowd_beyond_the_limit() {
    in_a_process_of_its_own(256, || {
        warm_up();
        counted(|| {
            let refused = Pool::new(200).unwrap_err();
            let told = refused.to_string();
            assert_eq!(errno(&refused), Some(EMFILE), "{told}");
            let pool = Pool::new(40).unwrap();
            assert_eq!(pool.map(|n: u32| n, 0..200).unwrap(), Vec::from_iter(0..200));
            roles::say(&format!("pool of 200 with a limit of 256 descriptors: {told}"));
        });
    });
}

/// Those that can be passed on are passed on; those that cannot stay ours.
#[test]
fn without_descriptors_nothing_long_is_submitted() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(2).unwrap();
            expect_whole(&pool);
            let held = leave_descriptors(0);
            for _ in 0..5 {
                let refused = pool.submit(|bytes: Bytes| bytes.len(), vec![1; 100_000].into()).unwrap_err();
                assert!(matches!(&refused, SubmitError::Os(e) if e.errno() == Some(EMFILE)), "{refused:?}");
                assert_eq!(
                    pool.submit(|bytes: Bytes| bytes.len(), vec![1; 10].into()).unwrap().get().unwrap(),
                    10
                );
            }
            drop(held);
            expect_whole(&pool);
        });
    });
}

/// An answer that needs a descriptor here cannot be taken: that task is lost, with its worker, and no other.
#[test]
fn without_descriptors_long_answers_are_lost() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(2).unwrap();
            expect_whole(&pool);
            let held = leave_descriptors(0);
            let long = pool.submit(|n: usize| Bytes::from(vec![1; n]), 300_000).unwrap().get();
            assert!(matches!(long, Err(TaskFailed::WorkerDied { .. })), "{long:?}");
            let short: Vec<u32> = pool.map(|n: u32| n, 0..20).unwrap();
            assert_eq!(short, Vec::from_iter(0..20));
            drop(held);
            assert_eq!(
                pool.submit(|n: usize| Bytes::from(vec![1; n]), 300_000).unwrap().get().unwrap().len(),
                300_000
            );
            await_whole(&pool);
        });
    });
}

/// Kills a worker, for which no descriptor is needed.
fn send_kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    kill_process(pid, Signal::KILL).expect("a worker that was not waited for");
}

/// Kills a worker; returns once the pool has noticed.
fn kill(pool: &Pool, pid: u32) {
    send_kill(pid);
    while pool.pids().contains(&pid) {
        thread::yield_now();
    }
}

/// Nothing is submitted meanwhile: the pool comes to its size by itself.
fn await_whole(pool: &Pool) {
    while pool.pids().len() < pool.workers() {
        thread::yield_now();
    }
}

/// One of two dies, and cannot be replaced: the other does all the work until there is room.
#[test]
fn a_worker_that_cannot_be_replaced_yet() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(2).unwrap();
            expect_whole(&pool);
            let pids = pool.pids();
            without_new_descriptors(|| {
                kill(&pool, pids[0]);
                let values: Vec<u32> = pool.map(|n: u32| n, 0..50).unwrap();
                assert_eq!((values, pool.pids()), (Vec::from_iter(0..50), vec![pids[1]]));
            });
            await_whole(&pool);
            expect_whole(&pool);
        });
    });
}

/// What waits while the only worker left is busy is begun once there is room for another, without any further word.
#[test]
fn what_waits_for_room_is_begun() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(2).unwrap();
            expect_whole(&pool);
            let (ours, theirs) = gate();
            let busy = pool.submit(hold, theirs).unwrap();
            let holder = await_start(&ours);
            let other = pool.pids().into_iter().find(|pid| *pid != holder).unwrap();
            let waiting = without_new_descriptors(|| {
                kill(&pool, other);
                pool.submit(|n: u32| n, 7).unwrap()
            });
            assert_eq!(waiting.get_timeout(PATIENCE).unwrap(), Some(7));
            ours.send(&1).unwrap();
            assert_eq!(busy.get().unwrap(), 1);
        });
    });
}

/// All die and none can be replaced: what waits is told so, and what comes later is run.
#[test]
fn no_worker_can_be_replaced() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(2).unwrap();
            expect_whole(&pool);
            let gates = [gate(), gate()];
            let (ours, theirs): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
            let running: Vec<_> = theirs.into_iter().map(|gate| pool.submit(hold, gate).unwrap()).collect();
            let waiting: Vec<_> = (0..20).map(|n| pool.submit(|n: u32| n, n).unwrap()).collect();
            let pids: Vec<_> = ours.iter().map(await_start).collect();
            without_new_descriptors(|| {
                pids.iter().for_each(|pid| send_kill(*pid));
                for task in running {
                    let error = task.get().unwrap_err();
                    let TaskFailed::WorkerDied { worker, .. } = &error else { panic!("{error:?}") };
                    assert!(pids.contains(&worker.pid), "{error}");
                }
                for task in waiting {
                    let error = task.get().unwrap_err();
                    assert!(matches!(error, TaskFailed::NoWorker { .. }), "{error}");
                    assert!(error.to_string().contains("os error 24"), "{error}");
                }
                let error = pool.submit(|n: u32| n, 1).unwrap().get().unwrap_err();
                assert!(matches!(error, TaskFailed::NoWorker { .. }), "{error}");
            });
            assert_eq!(pool.submit(|n: u32| n, 5).unwrap().get().unwrap(), 5);
            await_whole(&pool);
        });
    });
}

/// The collector polls more descriptors than the new limit allows: that is refused as a whole.
#[test]
fn a_limit_below_what_is_open() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let pool = Pool::new(3).unwrap();
            expect_whole(&pool);
            limited(Resource::Nofile, 2, || {
                let values: Vec<u32> = pool.map(|n: u32| n, 0..50).unwrap();
                assert_eq!(values, Vec::from_iter(0..50));
            });
            expect_whole(&pool);
        });
    });
}

/// Files in memory may not be as long as a journal.
#[test]
fn without_room_for_journals() {
    in_a_process_of_its_own(200, || {
        warm_up();
        counted(|| {
            let refused = limited(Resource::Fsize, 4096, || Pool::new(2));
            let error = refused.expect_err("no journal");
            assert!(matches!(error, BuildError::Os(_)), "{error:?}");
            expect_whole(&Pool::new(2).unwrap());
        });
    });
}

/// How much address space this process uses.
fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("our own");
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    pages * 4096
}

/// At every worker of eight, for its journal and for its start. Not beyond: a thread that finds no room for its signal stack
/// aborts the process, and that is how threads are. For the same reason nothing here runs beside.
#[test]
fn without_address_space() {
    in_a_process_of_its_own(200, || {
        const WORKERS: usize = 8;
        warm_up();
        let (before, mut reasons) = (Leaks::now(), BTreeSet::new());
        let (step, most) = (40 << 10, WORKERS as u64 * (128 << 10));
        for left in (0..most / step).map(|n| n * step) {
            let error = limited(Resource::As, address_space() + left, || Pool::new(WORKERS)).unwrap_err();
            assert_eq!(errno(&error), Some(ENOMEM), "{left} left: {error:?}");
            reasons.insert(error.to_string());
        }
        before.check(PATIENCE).unwrap_or_else(|leaked| panic!("{leaked}"));
        expect_whole(&Pool::new(WORKERS).unwrap());
        roles::say(&format!("pool of {WORKERS} without address space: {reasons:?}"));
    });
}

/// Somebody who has no other processes, and no rights.
const NOBODY: u32 = 54_321;

/// As many processes and threads as there are from none on: an error, or workers that cannot start their threads, or all is
/// well. Root is not bound by this limit, and who is somebody already has other processes: so the role is played as nobody.
#[test]
fn without_processes() {
    if role().is_some() {
        return with_few_processes();
    }
    guarded(|| {
        let (said, theirs) = std::io::pipe().unwrap();
        let mut command = Role::new("nobody").into_command();
        let started = command.uid(NOBODY).gid(NOBODY).stdout(theirs).spawn();
        drop(command);
        let mut child = match started {
            Ok(child) => child,
            Err(e) => procession_testkit::skip!("root", &format!("starting a process as nobody: {e}")),
        };
        let said = std::io::read_to_string(said).unwrap();
        assert!(child.wait().unwrap().success(), "{said}");
        let told = said.lines().find(|line| line.contains("pool of 2 with few processes"));
        let _ = writeln!(std::io::stderr(), "{}", told.expect("it tells what it has seen"));
    });
}

fn with_few_processes() {
    warm_up();
    let (mut n_refused, mut n_idle, mut n_whole) = (0, 0, 0);
    counted(|| {
        (n_refused, n_idle, n_whole) = (0, 0, 0);
        for left in 0..12 {
            let n_threads = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
            let outcome = limited(Resource::Nproc, n_threads + left, || {
                let pool = Pool::new(2)?;
                Ok(pool.map(|n: u32| n, 0..20))
            });
            match outcome {
                Ok(Ok(values)) => {
                    n_whole += 1;
                    assert_eq!(values, Vec::from_iter(0..20));
                }
                // They are there, but have no thread to work with.
                Ok(Err(TaskFailed::NoWorker { .. })) => n_idle += 1,
                Ok(Err(other)) => panic!("{left} left: {other}"),
                Err::<_, BuildError>(error) => {
                    assert_eq!(errno(&error), Some(EAGAIN), "{left} left: {error:?}");
                    n_refused += 1;
                }
            }
        }
    });
    assert!(n_refused > 0 && n_whole > 0);
    expect_whole(&Pool::new(2).unwrap());
    roles::say(&format!(
        "pool of 2 with few processes: refused {n_refused} times, without workers {n_idle} times, whole {n_whole} times"
    ));
}
