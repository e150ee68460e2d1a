//! A domain without room: who finds no place in it is told so, by every form.

use std::os::fd::AsFd;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use procession_shm::domain::Domain;
use procession_sync::{Failed, Mutex, RLock};
use procession_testkit::guarded;

#[test]
fn a_thread_without_a_place_takes_nothing() {
    guarded(|| {
        let small = Domain::with_slots(2).unwrap();
        Domain::adopt(small.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let (mutex, rlock) = (Mutex::new(0_u32).unwrap(), RLock::new().unwrap());
        let (in_place, done) = (Barrier::new(2), Barrier::new(2));
        drop(mutex.lock().unwrap());
        std::thread::scope(|s| {
            s.spawn(|| {
                drop(mutex.lock().unwrap());
                in_place.wait();
                done.wait();
            });
            in_place.wait();
            let third = s.spawn(|| {
                let limit = Duration::from_secs(50);
                let refused = [
                    mutex.lock(),
                    mutex.try_lock(),
                    mutex.lock_timeout(limit),
                    mutex.lock_until(Instant::now()),
                ];
                assert!(refused.iter().all(|refused| matches!(refused, Err(Failed::NoSlot))), "{refused:?}");
                assert!(matches!(rlock.lock(), Err(Failed::NoSlot)));
            });
            let failed = third.join().is_err();
            done.wait();
            assert!(!failed);
        });
        *mutex.lock().unwrap() += 1;
    });
}
