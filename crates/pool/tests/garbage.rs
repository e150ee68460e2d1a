//! Tasks that damage what their worker and the pool share: packets of nonsense on its sockets, ends shut down, a journal
//! written over. Such a task has one outcome, whichever; others are not affected, and the pool is whole again.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_pool::{ParProcs, Pool, TaskOptions};
use procession_shm::domain::Domain;
use procession_testkit::{Counted, Storm};
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a task does to its worker; the fourth is to one word of the journal's head.
const SOCKETS: u64 = 0;
const SHUT: u64 = 1;
const JOURNAL: u64 = 2;
const KINDS: u64 = 4;

/// Copies of all sockets of this process.
fn sockets() -> Vec<OwnedFd> {
    let me = pidfd_open(getpid(), PidfdFlags::empty()).expect("ourselves");
    let numbers = fs::read_dir("/proc/self/fd").expect("our own").filter_map(Result::ok);
    let is_socket = |path: &std::path::PathBuf| {
        fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    let paths = numbers.map(|entry| entry.path()).filter(is_socket);
    let numbers = paths.filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    numbers.filter_map(|number| pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).ok()).collect()
}

/// Where the journal is mapped, and its length.
fn journal() -> (u64, u64) {
    let maps = fs::read_to_string("/proc/self/maps").expect("our own");
    let line = maps.lines().find(|line| line.contains("procession-journal")).expect("a worker has one");
    let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).expect("an address"));
    (start, end - start)
}

/// Damages the worker, then answers, ends, or waits for its end.
fn damage((kind, seed): (u64, u64)) -> u64 {
    let mut storm = Storm::from_seed(seed);
    let noise = |storm: &mut Storm, len: u64| -> Vec<u8> {
        let len = storm.below(len) as usize;
        (0..len).map(|_| storm.bits() as u8).collect()
    };
    match kind {
        SOCKETS => {
            for socket in sockets() {
                for _ in 0..1 + storm.below(3) {
                    let mut packet = noise(&mut storm, 200);
                    // Some look like a message for a while.
                    if storm.chance(1, 2) && packet.len() > 8 {
                        packet[..8].fill(0);
                        packet[0] = storm.below(6) as u8;
                    }
                    let _ = send(&socket, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                }
            }
        }
        SHUT => {
            let how = *storm.pick(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
            for socket in sockets() {
                let _ = shutdown(socket, how);
            }
        }
        _ => {
            let (start, len) = journal();
            let memory = OpenOptions::new().write(true).open("/proc/self/mem").expect("our own");
            if kind != JOURNAL {
                let value = *storm.pick(&[0, 1, 2, u64::MAX, 1 << 63, u64::MAX >> 1, 1 << 32, 3 << 32 | 12]);
                memory.write_all_at(&value.to_ne_bytes(), start + 8 * storm.below(8)).expect("it is mapped");
            } else {
                let at = storm.below(len);
                let bytes = noise(&mut storm, (len - at).min(70_000) + 1);
                memory.write_all_at(&bytes, start + at).expect("it is mapped");
            }
        }
    }
    match storm.below(4) {
        0 => std::process::exit(3),
        1 => std::process::abort(),
        _ => seed,
    }
}

fn n_rounds() -> u64 {
    if std::env::var_os("PROCESSION_LONG").is_some() { 1000 } else { 60 }
}

/// Alone in its job, with and without limits, between others on the same workers.
#[test]
fn a_task_that_damages_its_worker() {
    Domain::current().unwrap();
    Counted::new().warm_ups(0).watchdog(Duration::from_secs(300)).run(|| {
        let pool = Pool::new(2).unwrap();
        let mut storm = Storm::seeded();
        for round in 0..n_rounds() {
            let options =
                if storm.chance(1, 2) { TaskOptions::new().timeout(PATIENCE) } else { TaskOptions::new() };
            let before: Vec<_> = (0..6).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
            let damaged = pool.submit_with(options, damage, (round % KINDS, storm.bits())).unwrap();
            let after: Vec<_> = (0..6).map(|n| pool.submit(|n: u64| n, n).unwrap()).collect();
            for (n, task) in (0..6).chain(0..6).zip(before.into_iter().chain(after)) {
                let value = task.get_timeout(PATIENCE);
                assert_eq!(value.unwrap(), Some(n), "round {round}");
            }
            let outcome = damaged.get_timeout(PATIENCE);
            assert!(!matches!(outcome, Ok(None)), "no outcome in round {round}");
        }
        while pool.pids().len() < 2 {
            thread::yield_now();
        }
    });
}

/// Who was ended by the pool was not ended by somebody else.
#[test]
fn a_task_that_makes_its_worker_talk_nonsense() {
    fn talk(_: u8) -> u8 {
        for socket in sockets() {
            let _ = send(&socket, &[0xee; 100], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        loop {
            thread::park();
        }
    }
    Domain::current().unwrap();
    Counted::new().warm_ups(0).run(|| {
        let pool = Pool::new(1).unwrap();
        let failed = pool.submit(talk, 1).unwrap().get().unwrap_err();
        assert!(failed.report().unwrap().is_senseless(), "{failed}");
        let text = failed.to_string();
        assert!(text.contains("what that said made no sense") && !text.contains("likely"), "{text}");
        assert_eq!(pool.submit(|n: u8| n, 2).unwrap().get().unwrap(), 2);
    });
}

/// Among others in one job: each item has one outcome. What the worker had already answered may be damaged, too.
#[test]
fn an_item_that_damages_its_worker() {
    fn one_of((n, kind, seed): (u64, u64, u64)) -> u64 {
        if seed == 0 { n } else { damage((kind, seed)).min(n) }
    }
    Domain::current().unwrap();
    Counted::new().warm_ups(0).watchdog(Duration::from_secs(300)).run(|| {
        let pool = Pool::new(2).unwrap();
        let mut storm = Storm::seeded();
        for round in 0..n_rounds() / 2 {
            let items = Vec::from_iter((0..40).map(|n| {
                let seed = if storm.chance(1, 20) { storm.bits() | 1 } else { 0 };
                (n, round % KINDS, seed)
            }));
            let limit = TaskOptions::new().timeout(PATIENCE).retries(u32::from(storm.chance(1, 3)));
            let results = items.into_iter().par_procs(&pool).options(limit).chunk(10).map(one_of);
            assert_eq!(results.count(), 40, "round {round}");
            assert_eq!(pool.map(|n: u64| n, 0..20).unwrap(), Vec::from_iter(0..20), "round {round}");
        }
    });
}

/// A thread that a task left behind damages the worker while it is idle.
#[test]
fn damage_between_two_tasks() {
    fn later((gate, kind, seed): (Duplex<u8, u8>, u64, u64)) {
        thread::spawn(move || {
            if gate.send(&1).is_ok() && gate.recv().is_ok() {
                damage((kind, seed));
            }
        });
    }
    Domain::current().unwrap();
    Counted::new().warm_ups(0).watchdog(Duration::from_secs(300)).run(|| {
        let pool = Pool::new(1).unwrap();
        let mut storm = Storm::seeded();
        for round in 0..n_rounds() / 3 {
            let (ours, theirs) = pipe::<u8, u8>().unwrap();
            let left = pool.submit(later, (theirs, round % KINDS, storm.bits())).unwrap();
            // The damage of the round before may come as late as this.
            let is_there = left.get().is_ok() && ours.recv_timeout(PATIENCE).is_ok();
            if !is_there || ours.send(&1).is_err() {
                continue;
            }
            for _ in 0..3 {
                let limit = TaskOptions::new().timeout(Duration::from_secs(2));
                let task = pool.submit_with(limit, |n: u64| n, round).unwrap();
                let outcome = task.get_timeout(PATIENCE);
                assert!(!matches!(outcome, Ok(None)), "no outcome in round {round}");
            }
        }
        // The last of them may be late.
        while pool.map(|n: u64| n, 0..20).is_err() {}
    });
}
