//! Jobs: nobody is told that all is done while a job is that another one sent; who waits for the end of a job is woken by
//! it, and sees what its worker did.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use procession_raw::{Forever, Job, Park, Ring, Side, Stage};

use crate::support::{Broken, Domain, be, check, check_fails, id};

/// What is under test, and what a twin of it does instead.
trait Counts: Send + Sync + 'static {
    fn count(ring: &Ring, jobs: &[Job]) -> usize;
}

struct Ours;

impl Counts for Ours {
    fn count(ring: &Ring, jobs: &[Job]) -> usize {
        Job::count_unfinished(ring, || jobs.iter())
    }
}

/// One look at each, whatever was sent meanwhile.
struct OneLook;

impl Counts for OneLook {
    fn count(_: &Ring, jobs: &[Job]) -> usize {
        jobs.iter().filter(|job| job.current().is_unfinished()).count()
    }
}

const AT_WORK: Stage = Stage::Leased { seat: 1, n: 1 };

fn at_work() -> Job {
    let job = Job::new();
    assert!(job.change(Stage::Free, AT_WORK));
    job
}

/// A worker sends a job before it finishes its own, while another thread counts: there is no moment without one.
fn a_job_sends_another<C: Counts>() {
    let shared = Arc::new((Domain::broken(Broken::Nothing), Ring::new(), [Job::new(), at_work()]));
    let worker = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            be(1);
            let (domain, ring, [free, own]) = &*shared;
            assert!(free.take(domain, id(1)));
            let mut turn = ring.enter(Side::Producers, domain, domain, &Forever).unwrap();
            assert!(turn.ready(1, 1).unwrap() == 1 && free.change(Stage::Owned(id(1)), Stage::queued(0)));
            turn.commit(1);
            drop(turn);
            assert!(own.finish(domain, AT_WORK));
        })
    };
    be(0);
    let (_, ring, jobs) = &*shared;
    assert!(C::count(ring, jobs) > 0, "one of both was always there");
    worker.join().unwrap();
    assert_eq!(C::count(ring, jobs), 1);
}

/// A job that ends.
trait Ends: Send + Sync + 'static {
    fn new() -> Self;
    fn finish(&self, domain: &Domain);
    fn wait(&self, domain: &Domain);
}

impl Ends for Job {
    fn new() -> Self {
        at_work()
    }

    fn finish(&self, domain: &Domain) {
        assert!(self.finish(domain, AT_WORK));
    }

    fn wait(&self, domain: &Domain) {
        while self.current().is_unfinished() {
            if let Some(word) = self.await_end(AT_WORK) {
                domain.wait_any(&[word], None);
            }
        }
    }
}

/// Looks whether anybody waits, and ends then.
struct TwoSteps(AtomicU32);

impl Ends for TwoSteps {
    fn new() -> Self {
        Self(AtomicU32::new(1))
    }

    fn finish(&self, domain: &Domain) {
        let is_awaited = self.0.load(Ordering::Relaxed) == 3;
        self.0.store(0, Ordering::Release);
        if is_awaited {
            domain.wake(&self.0, u32::MAX);
        }
    }

    fn wait(&self, domain: &Domain) {
        while self.0.load(Ordering::Acquire) != 0 {
            if self.0.compare_exchange(1, 3, Ordering::AcqRel, Ordering::Acquire) != Err(0) {
                domain.wait(&self.0, 3, None);
            }
        }
    }
}

/// One ends it and two wait for that.
fn all_wait_for_the_end<E: Ends>(broken: Broken) {
    let shared = Arc::new((Domain::broken(broken), E::new(), UnsafeCell::new(0)));
    let waiters = [1, 2].map(|slot| {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (domain, job, data) = &*shared;
            be(slot);
            job.wait(domain);
            data.with(|_| ());
        })
    });
    be(0);
    let (domain, job, data) = &*shared;
    data.with_mut(|_| ());
    job.finish(domain);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

#[test]
fn a_job_that_a_job_sends_is_counted() {
    check("jobs: a job sends another", 3, a_job_sends_another::<Ours>);
    check_fails("jobs: one look", 3, a_job_sends_another::<OneLook>);
}

#[test]
fn who_waits_for_the_end_is_woken_by_it() {
    check("jobs: two wait for the end", 2, || all_wait_for_the_end::<Job>(Broken::Nothing));
    check_fails("jobs: the end in two steps", 2, || all_wait_for_the_end::<TwoSteps>(Broken::Nothing));
    check_fails("jobs: lost wakes", 2, || all_wait_for_the_end::<Job>(Broken::LosesWakes));
}
