//! The kernel of the world: sleeping and waking, and the life words of its threads.
//!
//! Invariants: what the contract calls one step is one step; sleepers of a word are woken in the order of their
//! slots; a death stores the life word and wakes one who watches it, as a robust futex does.

use core::time::Duration;

use super::atomic::AtomicU32;
use super::{Order, Stage, State, World};
use crate::{Id, NoSlot, Owners, Park, Waited};

pub(super) const ALIVE: u32 = 1;
const DEAD: u32 = 0;

pub(super) fn id(n: usize) -> Id {
    Id::new(u32::try_from(n).unwrap(), 1)
}

impl<S> Park for World<S> {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited {
        self.wait_any(&[(word, expected)], timeout)
    }

    fn wait_any(&self, words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> Waited {
        let n = super::me().expect("only threads of the world sleep");
        assert!(timeout.is_some_and(|nap| !nap.is_zero()), "every sleep has a tick");
        super::step();
        self.stage.sleep(n, words)
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        super::step();
        self.stage.wake(word, n)
    }

    fn store_and_wake(&self, word: &AtomicU32, value: u32, n: u32) {
        super::step();
        assert!(value == 0 || value.is_power_of_two(), "no kernel stores {value:#x} and wakes in one step");
        word.poke(value);
        self.stage.wake(word, n);
    }

    fn add_and_wake(&self, word: &AtomicU32, addend: u32, n: u32) -> u32 {
        super::step();
        assert!(addend < 2048);
        word.poke(word.peek().wrapping_add(addend));
        self.stage.wake(word, n)
    }

    fn set_and_wake(&self, word: &AtomicU32, bits: u32, n: u32) -> u32 {
        super::step();
        assert!(bits < 2048);
        word.poke(word.peek() | bits);
        self.stage.wake(word, n)
    }
}

impl<S> Owners for World<S> {
    fn me(&self) -> Result<Id, NoSlot> {
        super::me().filter(|&n| n < self.stage.lives.len()).map(id).ok_or(NoSlot)
    }

    fn is_dead(&self, id: Id) -> bool {
        self.stage.life(id).is_none_or(|life| life.load(core::sync::atomic::Ordering::Acquire) == DEAD)
    }

    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        (!self.is_dead(id)).then(|| self.stage.life(id).map(|life| (life, ALIVE))).flatten()
    }

    fn pass_on(&self, id: Id) {
        super::step();
        if let Some(life) = self.stage.life(id) {
            self.stage.wake(life, u32::MAX);
        }
    }
}

impl Stage {
    /// Thread `n` is dead: its life word says so, and one who watches it is woken.
    pub(super) fn ring(&self, n: usize) {
        self.lives[n].poke(DEAD);
        self.wake(&self.lives[n], 1);
    }

    fn life(&self, id: Id) -> Option<&AtomicU32> {
        self.lives.get(id.slot() as usize).filter(|_| id.generation() == 1)
    }

    fn sleep(&self, n: usize, words: &[(&AtomicU32, u32)]) -> Waited {
        let mut actors = self.lock();
        if words.iter().any(|(word, expected)| word.peek() != *expected) {
            return Waited::Changed;
        }
        let actor = &mut actors[n];
        actor.words = words.iter().map(|(word, _)| address(word)).collect();
        (actor.state, actor.order) = (State::Asleep, Order::Hold);
        self.rested.notify_one();
        self.rest(n, actors)[n].waited
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        let mut actors = self.lock();
        let sleepers =
            actors.iter_mut().filter(|a| a.state == State::Asleep && a.words.contains(&address(word)));
        let woken = sleepers.take(n as usize).map(|actor| actor.wake(Waited::Woken));
        u32::try_from(woken.count()).unwrap()
    }
}

fn address(word: &AtomicU32) -> usize {
    core::ptr::from_ref(word).addr()
}
