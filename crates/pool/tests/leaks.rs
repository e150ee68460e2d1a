//! What pools hold is given back.

use std::time::Duration;

use procession_codec::Bytes;
use procession_pool::{ParProcs, Pool};
use procession_process::TaskError;
use procession_shm::domain::Domain;
use procession_testkit::processes::{self, Signal};
use procession_testkit::{Counted, counted};

/// The long run has the full number.
fn rounds() -> usize {
    if std::env::var_os("PROCESSION_LONG").is_some() { 2000 } else { 200 }
}

#[test]
fn pools_made_used_and_dropped() {
    // What the first child makes for the whole tree, and stays.
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        for round in 0..rounds() {
            let settings = Pool::builder().workers(1 + round % 3).max_tasks_per_worker(1 + round % 2);
            let pool = settings.build().unwrap();
            match round % 4 {
                0 => drop(pool),
                1 => assert_eq!(pool.map(|n: usize| n + 1, [round]).unwrap(), [round + 1]),
                2 => {
                    let task = pool.submit(|n: usize| Bytes::from(vec![7; n]), 300 << 10).unwrap();
                    pool.join();
                    assert_eq!(task.get().unwrap().len(), 300 << 10);
                }
                _ => {
                    let mut results = (0..).par_procs(&pool).map(|n: u32| n);
                    assert_eq!(results.next().unwrap().unwrap(), 0);
                }
            }
        }
    });
}

fn stay(_: ()) {
    loop {
        std::thread::park();
    }
}

/// Workers set up, recycled, cancelled, ended for their limits, or never set up at all.
#[test]
fn states_limits_and_failing_starts() {
    Domain::current().unwrap();
    Counted::new().warm_ups(1).run(|| {
        for round in 0..rounds() / 20 {
            let settings = Pool::builder().workers(2).max_tasks_per_worker(2).retries(1);
            let settings =
                settings.task_timeout(Duration::from_millis(if round % 3 == 0 { 5 } else { 60_000 }));
            let fails = |fails: bool| if fails { Err(TaskError::new("no")) } else { Ok(fails) };
            assert!(settings.clone().initializer(fails, true).build().is_err());
            let pool = settings.initializer_and_exit(fails, false, drop).build().unwrap();
            let endless = pool.submit(stay, ()).unwrap();
            let values: Vec<_> = (0..9).par_procs(&pool).map(|n: u8| n).collect();
            assert_eq!(values.len(), 9);
            endless.cancel();
            assert!(endless.get().is_err());
        }
    });
}

#[test]
fn deaths_panics_and_handles() {
    counted(|| {
        let pool = Pool::new(2).unwrap();
        for round in 0..20 {
            let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
            let back =
                pool.submit(|end: procession_pipe::Duplex<u8, u8>| end, theirs).unwrap().get().unwrap();
            back.send(&1).unwrap();
            assert_eq!(ours.recv().unwrap(), 1);
            assert!(pool.submit(|n: u32| assert!(n > 100), round).unwrap().get().is_err());
            assert!(
                pool.submit(|n: u32| -> u32 { std::process::exit(n as i32) }, round).unwrap().get().is_err()
            );
            let _ = pool.pids().first().map(|pid| processes::kill(*pid, Signal::KILL));
        }
        assert_eq!(pool.map(|n: u8| n, 0..50).unwrap().len(), 50);
    });
}

/// Contexts, errors that are kept, saved tasks, workers that grow or are killed on purpose, and pools without any.
#[test]
fn what_pools_do_besides() {
    Domain::current().unwrap();
    let path = std::env::temp_dir().join(format!("procession-leaks-{}", std::process::id()));
    Counted::new().warm_ups(1).run(|| {
        for round in 0..rounds() / 20 {
            let chaos = if round % 2 == 0 { "kill:0" } else { "kill:0.1,seed:7" };
            let settings = Pool::builder().workers(2).chaos(chaos.parse().unwrap()).retries(3);
            let settings = settings.recycle_above(if round % 3 == 0 { 1 } else { u64::MAX });
            let pool = settings.memory_limit(1 << 40).serial(round % 4 == 3).build().unwrap();
            let (_, writer) = std::io::pipe().unwrap();
            let handle = procession_codec::Descriptor::from(std::os::fd::OwnedFd::from(writer));
            let (with, more) = (pool.with(&handle), pool.with(&vec![round as u64; 50_000]));
            let held = with.map(|handle: &procession_codec::Descriptor, _: u8| handle.clone(), 0..5).unwrap();
            assert_eq!(held.len(), 5);
            let failed =
                more.submit(|context: &Vec<u64>, n: usize| context[n], 50_000).unwrap().get().unwrap_err();
            failed.save_replay(&path).unwrap();
            drop((with, more));
            drop(pool);
            assert!(matches!(procession_pool::replay(&path), Ok(procession_pool::Replayed::Panicked(_))));
            std::fs::remove_file(&path).unwrap();
            assert!(failed.to_string().contains("attempt"), "{failed}");
        }
    });
}

/// Callbacks, their threads, whole maps, and waits for several tasks.
#[test]
fn callbacks_maps_and_waits() {
    Domain::current().unwrap();
    Counted::new().warm_ups(1).run(|| {
        for round in 0..rounds() / 20 {
            let pool = Pool::new(2).unwrap();
            let (sender, values) = std::sync::mpsc::channel();
            for n in 0..10_usize {
                let sender = sender.clone();
                pool.submit_then(|n: usize| n, n, move |value| sender.send(value.unwrap()).unwrap()).unwrap();
            }
            let map = pool.map_async(|n: usize| n, 0..100);
            let tasks: Vec<_> = (0..10).map(|n| pool.submit(|n: usize| n, n).unwrap()).collect();
            procession_pool::wait_any(&tasks, None);
            if round % 2 == 0 {
                assert_eq!(procession_pool::as_completed(tasks).count(), 10);
                assert_eq!(map.get().unwrap().len(), 100);
            }
            assert_eq!(values.iter().take(10).sum::<usize>(), 45);
            if round % 3 == 0 {
                pool.join();
            }
        }
    });
}
