//! The ring whose ends spin for a while, yield while they spin, and then sleep.
//!
//! Without the yields, two ends on one core cost each other the whole spin. Without the fence in `notify`, a publisher
//! could miss a sleeper who missed what was published. The sleeper lowers its own flag: a waker who did it could lower
//! the flag of the next sleep.

use std::hint::spin_loop;
use std::sync::atomic::{Ordering, fence};

use crate::futex;
use crate::ring::{Bell, Wait};

/// Pauses before it sleeps: some 12 µs where a pause takes 12 ns.
const PAUSES: u32 = 1000;
/// Pauses between two yields.
const STRETCH: u32 = 32;

/// Spins, yields, sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Hybrid;

impl Wait for Hybrid {
    #[inline]
    fn until<R>(bell: &Bell, mut attempt: impl FnMut() -> Option<R>) -> R {
        for pause in 1..=PAUSES {
            if let Some(answer) = attempt() {
                return answer;
            }
            spin_loop();
            if pause % STRETCH == 0 {
                rustix::thread::sched_yield();
            }
        }
        sleep(bell, attempt)
    }

    #[inline]
    fn notify(bell: &Bell) {
        fence(Ordering::SeqCst);
        if bell.asleep.load(Ordering::Relaxed) != 0 {
            bell.rings.fetch_add(1, Ordering::Release);
            futex::wake(&bell.rings, 1);
        }
    }
}

#[cold]
fn sleep<R>(bell: &Bell, mut attempt: impl FnMut() -> Option<R>) -> R {
    loop {
        let rings = bell.rings.load(Ordering::Acquire);
        bell.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let answer = attempt();
        if answer.is_none() {
            futex::wait(&bell.rings, rings);
        }
        bell.asleep.store(0, Ordering::Relaxed);
        if let Some(answer) = answer.or_else(&mut attempt) {
            return answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Placement;
    use procession_testkit::counted;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        counted(|| crate::ring::tests::messages_arrive_whole_and_in_order::<Hybrid>(500));
    }

    #[test]
    fn a_full_ring_makes_its_sender_wait() {
        counted(|| crate::ring::tests::a_full_ring_makes_its_sender_wait::<Hybrid>(500));
    }

    #[test]
    fn who_sleeps_is_woken_there_and_back() {
        counted(|| {
            let mut peer = crate::ring::echo::<Hybrid>(4096, Placement::Anywhere);
            for _ in 0..20 {
                peer.until_asleep();
                peer.round_trip(b"12345678");
            }
        });
    }
}
