//! What the bars call ours: for now the words of `procession_raw`, placed by hand.
//!
//! Once `procession_sync` has the objects over these words, they take the places of what is here, and this file goes.
//!
//! # Safety
//! A word of `procession_raw` is an atomic number, all of whose values are expected; it holds no address.
#![allow(unsafe_code, reason = "words in shared memory")]

use std::sync::atomic::{AtomicU64, Ordering};

use procession_floor::memory::Placed;
use procession_floor::ring::Line;
use procession_raw::{Event, Forever, Held, Lock, Protected};
use procession_shm::domain::Domain;
use procession_sys::futex::SharedPark;

/// A lock whose holder may die, with a number.
#[derive(Debug)]
pub(crate) struct Recoverable {
    domain: Domain,
    words: Placed<Words>,
}

#[derive(Debug, Default)]
#[repr(C)]
struct Words {
    lock: Lock,
    number: AtomicU64,
}

impl Recoverable {
    pub(crate) fn new() -> Self {
        // SAFETY: see the page.
        let words = unsafe { Placed::promised(Words::default()) };
        Self { domain: Domain::create().expect("a domain"), words }
    }

    /// Runs `inside` under the lock.
    #[inline]
    pub(crate) fn with(&self, inside: impl FnOnce()) {
        let held = self.lock();
        debug_assert_eq!(held.state, Protected::Consistent);
        inside();
        self.words.lock.unlock(&SharedPark, held.me).expect("held");
    }

    /// Takes the lock and keeps it.
    pub(crate) fn hold(&self) {
        let held = self.lock();
        assert_eq!(held.state, Protected::Consistent);
    }

    /// Takes the lock from a holder who died, and gives it back as if all were well.
    pub(crate) fn take_from_the_dead(&self) {
        let held = self.lock();
        assert!(matches!(held.state, Protected::OwnerDied(_)), "{held:?}");
        self.words.lock.mark_consistent(held.me).expect("held");
        self.words.lock.unlock(&SharedPark, held.me).expect("held");
    }

    /// Adds to the number; under the lock only.
    #[inline]
    pub(crate) fn count(&self, n: u64) {
        let number = &self.words.number;
        number.store(number.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn counted(&self) -> u64 {
        self.words.number.load(Ordering::Relaxed)
    }

    #[inline]
    fn lock(&self) -> Held {
        self.words.lock.lock(&SharedPark, &self.domain, &Forever).expect("a lock without a limit")
    }
}

/// An event there and an event back, on lines of their own.
#[derive(Debug)]
pub(crate) struct Events(Placed<[Line<Event>; 2]>);

impl Events {
    pub(crate) fn new() -> Self {
        // SAFETY: see the page.
        Self(unsafe { Placed::promised(Default::default()) })
    }

    /// The near side: there, and back.
    pub(crate) fn ping(&self) {
        let [there, back] = &*self.0;
        there.0.set(&SharedPark);
        assert!(back.0.wait(&SharedPark, &Forever));
        back.0.clear();
    }

    /// The far side: waits for a ping and answers it.
    pub(crate) fn pong(&self) {
        let [there, back] = &*self.0;
        assert!(there.0.wait(&SharedPark, &Forever));
        there.0.clear();
        back.0.set(&SharedPark);
    }
}
