//! Guards in thread locals: they hold until they are dropped, in whichever order a thread's locals are destroyed.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Barrier;
use std::thread;

use procession_sync::{Failed, Mutex, MutexGuard};
use procession_testkit::guarded;

/// Looks at its data while the thread's locals are destroyed and another thread tries to have it.
struct Late {
    guard: MutexGuard<'static, u64>,
    gate: &'static Barrier,
}

impl Drop for Late {
    fn drop(&mut self) {
        self.gate.wait();
        self.gate.wait();
        *self.guard += 1;
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn a_guard_in_a_thread_local_keeps_others_out_until_it_is_dropped() {
    guarded(|| {
        for joins_first in [false, true] {
            let mutex: &Mutex<u64> = Box::leak(Box::new(Mutex::new(0).unwrap()));
            let gate: &Barrier = Box::leak(Box::new(Barrier::new(2)));
            let thread = thread::spawn(move || {
                // The locals are destroyed in the opposite order of their first use.
                if joins_first {
                    drop(mutex.lock().unwrap());
                }
                LATE.with(|late| *late.borrow_mut() = None);
                let guard = mutex.lock().unwrap();
                LATE.with(|late| *late.borrow_mut() = Some(Late { guard, gate }));
            });
            gate.wait();
            let meanwhile = mutex.try_lock().map(|guard| *guard);
            gate.wait();
            assert!(
                matches!(meanwhile, Err(Failed::WouldBlock { holder: Some(_) })),
                "{joins_first}: {meanwhile:?}"
            );
            thread.join().unwrap();
            assert_eq!(*mutex.lock().unwrap(), 1, "the guard was dropped, and nobody died");
        }
    });
}
