//! A flag that threads wait for, and that nobody misses who waited when it was set.
//!
//! Invariants: setting changes the flag and wakes in one step if anybody may sleep; clearing begins a new generation, so
//! who sleeps through a quick set and clear still sees that there was a set. Held by the unit tests, by
//! `tests/loom.rs`, and by the table in the README beside the manifest.

use crate::Park;
use crate::atomic::{AtomicU32, Ordering};
use crate::limit::{Limit, Naps};

/// A flag to wait for, in one word. All zero is a flag that is clear.
///
/// | bits | meaning | who moves it, to what |
/// |---|---|---|
/// | 0, `SET` | the flag is set | `set` raises it; `clear` lowers it |
/// | 1, `SLEEPERS` | somebody may sleep | who is about to sleep raises it; `clear` of a set flag lowers it |
/// | 2 to 31 | the generation: how often the flag was cleared | `clear` of a set flag adds one |
///
/// A waiter whose generation is over was waiting when the flag was set, whatever the flag is now. That ends being true
/// for who sleeps through 2³⁰ generations without looking; everybody looks at each tick.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Event {
    word: AtomicU32,
}

const SET: u32 = 1;
const SLEEPERS: u32 = 1 << 1;
const GENERATION: u32 = 1 << 2;

#[cfg(not(loom))]
const _: () = assert!(size_of::<Event>() == 4 && align_of::<Event>() == 4);

/// What [`Event::watch`] saw.
#[derive(Clone, Copy, Debug)]
pub enum Watched<'a> {
    /// The flag is set, or was.
    Set,
    /// It was not.
    Clear {
        /// To be given to the next look.
        generation: u32,
        /// The word to sleep on, by who has said that it sleeps.
        word: &'a AtomicU32,
        /// What it then holds while nothing happens.
        value: u32,
    },
}

impl Event {
    /// A flag that is clear.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the flag is set at this moment. What its setter did before is then visible.
    pub fn is_set(&self) -> bool {
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Sets the flag and wakes all who wait.
    ///
    /// Does not block. What the caller did before is visible to all who find the flag set.
    ///
    /// # If a peer dies
    /// Who is killed in here has either set the flag and woken all, or done nothing.
    pub fn set(&self, park: &impl Park) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SLEEPERS == 0 {
            // Also if it is set: who finds it set must see what this thread did before.
            match self.word.compare_exchange(word, word | SET, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        park.set_and_wake(&self.word, SET, u32::MAX);
    }

    /// Clears the flag. Who waits already is not made to wait again.
    ///
    /// Does not block.
    pub fn clear(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & SET != 0 {
            let clear = (word & !(SET | SLEEPERS)).wrapping_add(GENERATION);
            // Acquire and release: who waits for the next set is behind all that was before this one.
            match self.word.compare_exchange(word, clear, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Waits until the flag is set, or was at any moment of this call; says whether that was before the limit.
    ///
    /// Blocks. A limit that has passed is one look.
    ///
    /// # If a peer dies
    /// That it will never be set is for the caller to know.
    #[must_use]
    pub fn wait(&self, park: &impl Park, limit: &impl Limit) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        let generation = word / GENERATION;
        let mut naps = Naps::new(limit);
        while word & SET == 0 && word / GENERATION == generation {
            if naps.passed() {
                return false;
            }
            let asleep = word | SLEEPERS;
            if word == asleep || self.announce(word) {
                // That the limit has passed since is found out above, after one more look.
                let _ = naps.nap(|time| park.wait(&self.word, asleep, time));
            }
            word = self.word.load(Ordering::Acquire);
        }
        true
    }

    /// For who waits for other things at the same time: whether the flag is set, or was since `generation`, which is what
    /// this answered first. With `lies_down` it also says that somebody sleeps. Does not block.
    pub fn watch(&self, generation: Option<u32>, lies_down: bool) -> Watched<'_> {
        let mut word = self.word.load(Ordering::Acquire);
        let since = generation.unwrap_or(word / GENERATION);
        while word & SET == 0 && word / GENERATION == since {
            let asleep = word | SLEEPERS;
            if !lies_down || word == asleep || self.announce(word) {
                return Watched::Clear { generation: since, word: &self.word, value: asleep };
            }
            word = self.word.load(Ordering::Acquire);
        }
        Watched::Set
    }

    fn announce(&self, word: u32) -> bool {
        let order = Ordering::Relaxed;
        self.word.compare_exchange(word, word | SLEEPERS, order, order).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Forever;
    use crate::world::{Director, State, World, at_every_step, explore};

    type W = World<Event>;

    fn wait(w: &W) {
        assert!(w.shared.wait(w, &Forever));
    }

    fn set(w: &W) {
        w.shared.set(w);
    }

    fn set_and_clear(w: &W) {
        w.shared.set(w);
        w.shared.clear();
    }

    fn director(threads: &[fn(&W)]) -> Director<Event> {
        Director::with(Event::new(), threads)
    }

    #[test]
    fn every_schedule_of_two_waiters_and_two_setters() {
        let make = || director(&[wait, set, wait, set]);
        // A waiter may die, or a setter if there is another.
        for victim in [None, Some(0), Some(1)] {
            let runs = explore(3, victim, &make, &|d| {
                assert_eq!(d.finish(), 0);
                assert!(d.world.shared.is_set());
            });
            assert!(runs > 200, "{runs}");
        }
    }

    #[test]
    fn a_setter_killed_at_every_step_has_set_and_woken_or_done_nothing() {
        let kills = at_every_step(|step| {
            let mut d = director(&[set, wait, wait]);
            assert_eq!([1, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
            let lives = d.run_and_kill(0, step);
            let end = if d.world.shared.is_set() { State::Paused } else { State::Asleep };
            assert_eq!([1, 2].map(|n| d.state(n)), [end; 2]);
            let rescue = d.spawn(set);
            d.run_on(rescue);
            assert_eq!(d.finish(), 0);
            lives
        });
        assert_eq!(kills, 2);
    }

    #[test]
    fn who_waits_when_it_is_set_is_released_though_it_is_cleared_at_once() {
        // The waiter is caught at every step; from its first look on it was waiting.
        let steps = at_every_step(|step| {
            let d = director(&[wait, set_and_clear]);
            let lives = d.run(0, step + 1) == State::Paused;
            d.run_on(1);
            assert!(!d.world.shared.is_set());
            assert_eq!(d.run_on(0), State::Done, "stranded at step {step}");
            lives
        });
        assert!(steps >= 2, "{steps}");
    }

    #[test]
    fn a_clear_flag_costs_no_wake_later() {
        let d = director(&[wait, set_and_clear, set_and_clear, set]);
        assert_eq!(d.run_on(0), State::Asleep);
        d.run_on(1);
        assert_eq!(d.world.shared.word.peek(), GENERATION);
        d.run_on(2);
        assert_eq!(d.world.shared.word.peek(), 2 * GENERATION);
        d.world.shared.word.poke(u32::MAX - SLEEPERS);
        d.world.shared.clear();
        assert_eq!(d.world.shared.word.peek(), 0, "generations start over");
        d.run_on(3);
        assert_eq!(d.finish(), 0);
    }

    struct Now;

    impl Limit for Now {
        fn left(&self) -> Option<core::time::Duration> {
            Some(core::time::Duration::ZERO)
        }
    }

    #[test]
    fn a_passed_limit_is_one_look() {
        let mut d = director(&[]);
        let n = d.spawn(|w| {
            assert!(!w.shared.wait(w, &Now));
            assert_eq!(w.shared.word.peek(), 0, "a look leaves no trace");
            w.shared.set(w);
            assert!(w.shared.wait(w, &Now));
        });
        d.run_on(n);
    }
}
