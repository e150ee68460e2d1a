//! A flag over a futex, and two of them as ping-pong: what a sleep and a wake cost, and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::futex;

/// A flag for one waiter. All zero is clear.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Flag {
    word: AtomicU32,
}

impl Flag {
    /// Sets it and wakes the waiter, asleep or not.
    #[inline]
    pub fn set(&self) {
        self.word.store(1, Ordering::Release);
        futex::wake(&self.word, 1);
    }

    /// Blocks until it is set.
    #[inline]
    pub fn wait(&self) {
        while self.word.load(Ordering::Acquire) == 0 {
            futex::wait(&self.word, 0);
        }
    }

    /// Clears it.
    #[inline]
    pub fn clear(&self) {
        self.word.store(0, Ordering::Relaxed);
    }
}

/// A flag there and a flag back, on lines of their own. All zero is the beginning.
#[derive(Debug, Default)]
#[repr(C)]
pub struct PingPong {
    there: crate::ring::Line<Flag>,
    back: crate::ring::Line<Flag>,
}

impl PingPong {
    /// The near side: there, and back.
    pub fn ping(&self) {
        self.there.0.set();
        self.back.0.wait();
        self.back.0.clear();
    }

    /// The far side: waits for a ping and answers it.
    pub fn pong(&self) {
        self.there.0.wait();
        self.there.0.clear();
        self.back.0.set();
    }
}
