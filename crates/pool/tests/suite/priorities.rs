//! Which of the waiting tasks goes first.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe as os_pipe};
use std::os::fd::OwnedFd;

use procession_codec::Descriptor;
use procession_pipe::Duplex;
use procession_pool::{ParProcs, Pool, Priority, Task, TaskOptions};
use procession_testkit::Signal;

use super::{Build, await_start, gate, hold, strike};

fn with(priority: Priority) -> TaskOptions {
    TaskOptions::new().priority(priority)
}

/// What tasks write, in order.
struct Log {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Log {
    fn new() -> Self {
        let (reader, writer) = os_pipe().unwrap();
        Self { reader, writer }
    }

    /// For a task.
    fn handle(&self) -> Descriptor {
        Descriptor::from(OwnedFd::from(self.writer.try_clone().unwrap()))
    }

    /// What is written next, so many.
    fn next(&self, n: usize) -> Vec<u8> {
        let mut told = vec![0; n];
        (&self.reader).read_exact(&mut told).unwrap();
        told
    }
}

fn say((log, n): (Descriptor, u8)) {
    File::from(log.into_owned().unwrap()).write_all(&[n]).unwrap();
}

/// A task that keeps the only worker of `pool` busy.
fn busy(pool: &Pool) -> (Task<u8>, Duplex<u8, u8>) {
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    (task, ours)
}

pub(crate) fn the_highest_goes_first(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (_held, ours) = busy(&pool);
    let log = Log::new();
    let mut tasks = Vec::new();
    // 0 to 9 low, 10 to 19 normal, 20 to 29 high: given in turn.
    for n in 0..10 {
        for (options, base) in
            [(with(Priority::Low), 0), (with(Priority::Normal), 10), (with(Priority::High), 20)]
        {
            tasks.push(pool.submit_with(options, say, (log.handle(), base + n)).unwrap());
        }
    }
    // One that is cancelled leaves the order of the others as it is.
    assert!(tasks[3 * 4 + 1].cancel() && tasks[3 * 7 + 2].cancel());
    ours.send(&1).unwrap();
    let due = (20..30).chain(10..20).chain(0..10).filter(|n| ![14, 27].contains(n));
    assert_eq!(log.next(28), Vec::from_iter(due));
}

/// What was given out to a worker that dies before it begins is again the first of its priority, not of all.
pub(crate) fn what_comes_back_is_the_first_of_its_own(build: Build) {
    let pool = build().workers(1).max_tasks_per_worker(3).build().unwrap();
    let log = Log::new();
    let (ours, theirs) = gate();
    // A chunk of low priority, whose first item is held: what is left of it comes back when the worker is replaced.
    let mut gates = [Some(theirs)].into_iter();
    let task = |(log, n, gate): (Descriptor, u8, Option<Duplex<u8, u8>>)| {
        gate.map(hold);
        say((log, n));
    };
    let items = (0..8).map(|n| (log.handle(), n, gates.next().flatten()));
    let mut results = items.par_procs(&pool).in_flight(8).chunk(8).options(with(Priority::Low)).map(task);
    assert!(results.try_next().is_err(), "it is held");
    await_start(&ours);
    let behind = pool.submit_with(with(Priority::Low), say, (log.handle(), 20)).unwrap();
    let high = [10, 11].map(|n| pool.submit_with(with(Priority::High), say, (log.handle(), n)).unwrap());
    ours.send(&1).unwrap();
    assert!(results.all(|result| result.is_ok()));
    assert!(high.into_iter().all(|task| task.get().is_ok()) && behind.get().is_ok());
    assert_eq!(log.next(11), [0, 1, 2, 10, 11, 3, 4, 5, 6, 7, 20]);
}

pub(crate) fn a_death_changes_no_order(build: Build) {
    let pool = build().workers(1).retries(2).build().unwrap();
    let log = Log::new();
    let (ours, theirs) = gate();
    let first = pool.submit_with(with(Priority::Low), hold, theirs).unwrap();
    await_start(&ours);
    let tasks = [(with(Priority::Low), 1), (with(Priority::Normal), 2), (with(Priority::High), 3)]
        .map(|(options, n)| pool.submit_with(options, say, (log.handle(), n)).unwrap());
    // The task that is begun again is the first of the low ones.
    let pid = pool.pids()[0];
    strike(pid, Signal::KILL);
    assert_eq!(log.next(2), [3, 2]);
    await_start(&ours);
    assert!(!tasks[0].is_ready(), "it is behind the one that is held");
    ours.send(&5).unwrap();
    assert_eq!(first.get().unwrap(), 5);
    assert_eq!(log.next(1), [1]);
}
