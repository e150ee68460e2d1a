//! Reports of waits: who may still be let in by somebody else is in no deadlock.
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::thread;

use procession_shm::domain::Domain;
use procession_sync::{Barrier, Mutex, Semaphore};
use procession_testkit::guarded;

/// Waits until so many wait.
fn asleep(domain: &Domain, n: usize) {
    while domain.waiters().len() != n {
        thread::yield_now();
    }
}

#[test]
fn who_waits_for_any_of_several_is_in_no_circle() {
    guarded(|| {
        let domain = Domain::current().unwrap();
        a_barrier_with_a_party_missing(&domain);
        for which in 0..2 {
            a_semaphore_with_one_holder_who_can_go_on(&domain, which);
        }
        a_semaphore_of_one_is_a_lock(&domain);
    });
}

fn a_barrier_with_a_party_missing(domain: &Domain) {
    let barrier = Barrier::new(3).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _place = barrier.attach().unwrap();
                barrier.wait().unwrap();
            });
        }
        asleep(domain, 2);
        let report = domain.deadlock_report();
        barrier.wait().unwrap();
        assert!(report.cycles.is_empty(), "{report}");
        assert!(report.waiters.iter().all(|waiter| waiter.holder.is_none()), "{report}");
    });
}

fn a_semaphore_with_one_holder_who_can_go_on(domain: &Domain, which: usize) {
    let (semaphore, mutex) = (Semaphore::new(2).unwrap(), Mutex::new(0_u32).unwrap());
    let guard = mutex.lock().unwrap();
    thread::scope(|scope| {
        let mut idle = None;
        for holder in 0..2 {
            let ((go, gone), (has, had)) = (mpsc::channel::<()>(), mpsc::channel());
            let (semaphore, mutex) = (&semaphore, &mutex);
            scope.spawn(move || {
                let _permit = semaphore.acquire().unwrap();
                has.send(()).unwrap();
                if holder == which {
                    gone.recv().unwrap_err();
                } else {
                    *mutex.lock().unwrap() += 1;
                }
            });
            had.recv().unwrap();
            if holder == which {
                idle = Some(go);
            }
        }
        asleep(domain, 1);
        let reporter = scope.spawn(|| {
            asleep(domain, 2);
            let report = domain.deadlock_report();
            drop(idle);
            report
        });
        drop(semaphore.acquire().unwrap());
        drop(guard);
        let report = reporter.join().unwrap();
        assert!(report.cycles.is_empty(), "{report}");
    });
}

fn a_semaphore_of_one_is_a_lock(domain: &Domain) {
    let (semaphore, mutex) = (Semaphore::new(1).unwrap(), Mutex::new(0_u32).unwrap());
    let guard = mutex.lock().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let _permit = semaphore.acquire().unwrap();
            *mutex.lock().unwrap() += 1;
        });
        asleep(domain, 1);
        let reporter = scope.spawn(|| {
            asleep(domain, 2);
            domain.deadlock_report()
        });
        assert!(semaphore.acquire_timeout(std::time::Duration::from_secs(1)).is_err());
        drop(guard);
        assert_eq!(reporter.join().unwrap().cycles.len(), 1);
    });
}
