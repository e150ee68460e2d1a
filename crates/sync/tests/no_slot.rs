//! A domain without room: who finds no place in it is told so, by every form.

use std::os::fd::AsFd;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use procession_raw::{AcquireError, AttachError};
use procession_shm::domain::Domain;
use procession_sync::{
    Barrier as Gate, Event, Failed, LazyShared, Lock, Mutex, Once, OnceError, RLock, RwLock, Semaphore,
    SignalSemaphore,
};
use procession_testkit::guarded;

struct Signals {
    rwlock: RwLock<u32>,
    permits: Semaphore,
    gate: Gate,
    once: Once,
    lazy: LazyShared<u32>,
    event: Event,
    tokens: SignalSemaphore,
}

impl Signals {
    fn new() -> Self {
        Self {
            rwlock: RwLock::new(7).unwrap(),
            permits: Semaphore::new(1).unwrap(),
            gate: Gate::new(1).unwrap(),
            once: Once::new().unwrap(),
            lazy: LazyShared::new().unwrap(),
            event: Event::new().unwrap(),
            tokens: SignalSemaphore::new(0).unwrap(),
        }
    }

    /// What asks for a place is refused, and is as it was; the rest works.
    fn refuse(&self) {
        assert!(matches!(self.rwlock.read(), Err(Failed::NoSlot)));
        assert!(matches!(self.rwlock.try_read(), Err(Failed::NoSlot)));
        assert!(matches!(self.rwlock.write(), Err(Failed::NoSlot)));
        assert!(matches!(self.rwlock.try_write(), Err(Failed::NoSlot)));
        assert_eq!(self.permits.acquire().map(drop), Err(AcquireError::NoSlot));
        assert_eq!(self.permits.try_acquire().map(drop), Err(AcquireError::NoSlot));
        assert!(self.permits.release().is_err());
        assert_eq!(self.permits.available(), 1);
        assert_eq!(self.gate.attach().map(drop), Err(AttachError::NoSlot));
        assert_eq!(self.once.call_once(|| unreachable!()), Err(OnceError::NoSlot));
        assert_eq!(self.once.try_call_once(|| unreachable!()), Err(OnceError::NoSlot));
        assert_eq!(self.lazy.get_or_init(|| unreachable!()), Err(OnceError::NoSlot));
        assert!(!self.once.is_done() && self.lazy.get().is_none());
        assert_eq!(self.gate.wait().map(|met| met.index()), Ok(0), "as a guest");
        self.event.set();
        self.event.wait();
        self.tokens.release(1).unwrap();
        self.tokens.acquire();
    }
}

#[test]
fn a_thread_without_a_place_takes_nothing() {
    guarded(|| {
        let small = Domain::with_slots(2).unwrap();
        Domain::adopt(small.as_fd().try_clone_to_owned().unwrap()).unwrap();
        let (mutex, rlock) = (Mutex::new(0_u32).unwrap(), RLock::new().unwrap());
        let lock = Lock::new().unwrap();
        let signals = Signals::new();
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
                assert!(matches!(lock.lock(), Err(Failed::NoSlot)));
                signals.refuse();
            });
            let failed = third.join().is_err();
            done.wait();
            assert!(!failed);
        });
        *mutex.lock().unwrap() += 1;
    });
}
