//! What a thread does last: after the destructors of its thread locals, which may still use what it would give up.
//!
//! Invariants: it runs once in each thread that asked for it, when no thread local with a destructor is left; not in a
//! thread that ends with its process, as the first one does that returns from `main`. Held by the test below, and by
//! `tests/thread_end.rs` of `procession-sync`.
//!
//! libc destroys the values of keys after thread locals (glibc), or thread locals are the value of such a key (musl):
//! then in rounds, of which there are at least four. So it is put off to the third.
//!
//! # Safety
//! The key is made by libc and never deleted. Its value is a static of ours, or null.
#![allow(unsafe_code, reason = "keys of libc, whose destructors have no safe form")]

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;

/// Something that a thread does last.
#[derive(Debug)]
pub struct AtEnd {
    what: fn(),
    key: OnceLock<Option<libc::pthread_key_t>>,
}

/// Rounds before the one in which it runs.
const ROUNDS: u32 = 2;

thread_local! {
    static PUT_OFF: Cell<u32> = const { Cell::new(0) };
}

impl AtEnd {
    /// `what` must not panic: that would end the process.
    #[must_use]
    pub const fn new(what: fn()) -> Self {
        Self { what, key: OnceLock::new() }
    }

    /// Has the calling thread do it at its end. `false`: libc has no key or memory for it, and it will not be done.
    ///
    /// # Examples
    /// ```
    /// use procession_sys::thread_end::AtEnd;
    /// static GOODBYE: AtEnd = AtEnd::new(|| eprintln!("the end"));
    /// std::thread::spawn(|| GOODBYE.arm()).join().unwrap();
    /// ```
    pub fn arm(&'static self) -> bool {
        self.key.get_or_init(make_key).is_some_and(|key| self.set(key))
    }

    fn set(&'static self, key: libc::pthread_key_t) -> bool {
        // SAFETY: the key was made by `make_key`, whose destructor takes such a pointer.
        unsafe { libc::pthread_setspecific(key, ptr::from_ref(self).cast()) == 0 }
    }
}

fn make_key() -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: writes one key, which is local; `run` is what libc calls with a value that is not null.
    (unsafe { libc::pthread_key_create(&raw mut key, Some(run)) } == 0).then_some(key)
}

unsafe extern "C" fn run(value: *mut libc::c_void) {
    // SAFETY: the values of the key are statics of this type.
    let at_end: &'static AtEnd = unsafe { &*value.cast() };
    let rounds = PUT_OFF.get();
    if rounds < ROUNDS && at_end.arm() {
        PUT_OFF.set(rounds + 1);
    } else {
        (at_end.what)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static SEEN: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    static LAST: AtEnd = AtEnd::new(|| SEEN.lock().unwrap().push("last"));

    struct Local;

    impl Drop for Local {
        fn drop(&mut self) {
            SEEN.lock().unwrap().push("local");
            assert!(LAST.arm());
        }
    }

    thread_local! {
        static LOCAL: Local = const { Local };
    }

    #[test]
    fn it_comes_after_thread_locals_and_once() {
        procession_testkit::guarded(|| {
            let thread = std::thread::spawn(|| {
                LOCAL.with(|_| ());
                assert!(LAST.arm() && LAST.arm());
            });
            thread.join().unwrap();
            assert_eq!(*SEEN.lock().unwrap(), ["local", "last"]);
        });
    }
}
