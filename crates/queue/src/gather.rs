//! Whether a receiver lets messages gather before it looks again.
//!
//! Each message that is taken the moment it comes makes the sender's counter, and the slot, pass from one processor to the
//! other and back. In a stream, who has taken all there is does better to leave them to the sender for a moment: then
//! several messages come with one look at the counter, and each slot is fetched while the one before it is read. In a
//! conversation there is never more than one, and the moment is lost. So it is tried seldom, and goes on where it helps.
//!
//! | value | what is true | next |
//! |---|---|---|
//! | 0 to [`EVERY`] - 2 | no stream, as far as known; found empty so often since it was last tried | one more |
//! | [`EVERY`] - 1 | it is tried this time | [`STREAM`] if [`ENOUGH`] came, else 0 |
//! | [`STREAM`] | it helped the last time | if fewer came, as if [`SOON`] were left before a try |
//!
//! Of threads that do this at once, one is heard: it is a guess in any case.
//!
//! What the constants did to the bars of `cargo bench -p procession-benches --bench bars` (two-core x86-64 virtual machine,
//! up to eleven short runs of each by turns; "apart" is when the host ran both on cores of their own, "together" when they
//! seemed to share one, which few of the runs one way met):
//!
//! | tried | one way, apart | together | there and back, together |
//! |---|---|---|---|
//! | never | 16.5 M/s | 45 M/s | |
//! | every 64th time | 22.4 | 56 | 10 % longer |
//! | every 1024th | 21.9 | 55 | 0 to 5 % longer |
//! | every 4096th | 21.9 | 44: such a stream is seldom found empty | as long |
//!
//! From 16 to 64 pauses all gain about the same: 20 M/s with 16, 24 with 64. Each is waited for by the first message that
//! comes meanwhile.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Pauses until the next look: some 0.4 µs where one takes 12 ns, in which a sender puts a dozen messages.
pub(crate) const PAUSES: u32 = 32;
/// One time of so many that nothing was there it is tried. Seldom enough that a conversation does not feel it.
const EVERY: u32 = 1024;
/// The same for who was in a stream the last time: a sender may have been held up.
const SOON: u32 = 8;
/// It helps if so many come at once. A conversation has one message; two may be a late one and its follower.
const ENOUGH: u32 = 3;
const STREAM: u32 = u32::MAX;

/// What is known of the messages that a side receives.
#[derive(Debug, Default)]
pub(crate) struct Gathering(AtomicU32);

impl Gathering {
    /// Whether to let messages gather now, when there are none. Who does says then [how many came](Self::came).
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let n = self.0.load(Relaxed);
        if n >= EVERY - 1 {
            return true;
        }
        self.0.store(n + 1, Relaxed);
        false
    }

    /// So many came while they were let gather.
    #[inline]
    pub(crate) fn came(&self, n: u32) {
        let next = match self.0.load(Relaxed) {
            _ if n >= ENOUGH => STREAM,
            STREAM => EVERY - 1 - SOON,
            _ => 0,
        };
        self.0.store(next, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is due of `n` times, if so many come each time that it is.
    fn due(gathering: &Gathering, n: u32, came: u32) -> u32 {
        (0..n).filter(|_| gathering.is_due()).inspect(|_| gathering.came(came)).count() as u32
    }

    fn streaming() -> Gathering {
        let gathering = Gathering::default();
        due(&gathering, EVERY, ENOUGH);
        gathering
    }

    #[test]
    fn in_a_conversation_it_is_tried_seldom() {
        let gathering = Gathering::default();
        assert_eq!(due(&gathering, EVERY - 1, 1), 0);
        assert_eq!(due(&gathering, 1, 1), 1);
        assert_eq!(due(&gathering, 10 * EVERY, 1), 10);
        assert_eq!(due(&gathering, 10 * EVERY, 0), 10);
        assert_eq!(due(&gathering, 10 * EVERY, ENOUGH - 1), 10);
    }

    #[test]
    fn in_a_stream_it_goes_on() {
        assert_eq!(due(&streaming(), 1000, ENOUGH), 1000);
        assert_eq!(due(&streaming(), 1000, u32::MAX), 1000);
    }

    #[test]
    fn after_a_stream_it_is_tried_once_more_soon() {
        let held_up = streaming();
        assert_eq!(due(&held_up, 1 + SOON, 0), 1);
        assert_eq!(due(&held_up, 1000, ENOUGH), 1000);

        let over = streaming();
        assert_eq!(due(&over, 1 + SOON + 1, 0), 2);
        assert_eq!(due(&over, 10 * EVERY, 1), 10);
    }

    #[test]
    fn whatever_others_store_it_goes_on() {
        for value in [0, EVERY - 2, EVERY - 1, EVERY, STREAM - 1, STREAM] {
            let gathering = Gathering(AtomicU32::new(value));
            assert!((1..=12).contains(&due(&gathering, 10 * EVERY, 1)), "{value}");
        }
    }
}
