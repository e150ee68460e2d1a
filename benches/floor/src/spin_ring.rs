//! The ring whose ends spin, and do nothing else: a core for each, or milliseconds for each message.

use std::hint::spin_loop;

use crate::ring::{Bell, Wait};

/// Spins until it is there.
#[derive(Clone, Copy, Debug)]
pub struct Spin;

impl Wait for Spin {
    #[inline]
    fn until<R>(_bell: &Bell, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            if let Some(answer) = attempt() {
                return answer;
            }
            spin_loop();
        }
    }

    #[inline]
    fn notify(_bell: &Bell) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use procession_testkit::counted;

    /// Two that spin on one core take milliseconds for each.
    const FEW: usize = 60;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        counted(|| crate::ring::tests::messages_arrive_whole_and_in_order::<Spin>(FEW));
    }

    #[test]
    fn a_full_ring_makes_its_sender_wait() {
        counted(|| crate::ring::tests::a_full_ring_makes_its_sender_wait::<Spin>(FEW));
    }
}
