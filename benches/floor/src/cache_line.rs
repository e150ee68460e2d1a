//! One line of cache, from core to core and back: nothing across cores is faster.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};

/// The word that both sides write in turn. All zero is the beginning. Both sides spin: they need a core each.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct CacheLine {
    turn: AtomicU32,
}

impl CacheLine {
    /// The near side: there, and back.
    #[inline]
    pub fn ping(&self) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Release);
        while self.turn.load(Ordering::Acquire) != turn.wrapping_add(2) {
            spin_loop();
        }
    }

    /// The far side, for ever: answers each ping.
    pub fn pong(&self) -> ! {
        let mut turn = 1_u32;
        loop {
            while self.turn.load(Ordering::Acquire) != turn {
                spin_loop();
            }
            self.turn.store(turn.wrapping_add(1), Ordering::Release);
            turn = turn.wrapping_add(2);
        }
    }
}
