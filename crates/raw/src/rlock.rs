//! A lock that its holder may take again: a [`Lock`] and how often its holder came back.
//!
//! Invariant: the depth is written by the holder only, and a new holder begins by resetting it, so what a dead one left
//! there means nothing. Held by the unit tests below.

use crate::atomic::{AtomicU32, Ordering};
use crate::{Held, Id, Limit, Lock, LockError, NotHeld, Owners, Park};

/// A [`Lock`] that its holder may take again and then gives back as often. All zero is a free lock.
///
/// | depth | meaning | who moves it, to what |
/// |---|---|---|
/// | `n`, the lock is held | the holder came back `n` times | the holder, to `n + 1` or `n - 1` |
/// | any, the lock is free or its holder is dead | nothing | the next holder, to 0 |
#[derive(Debug, Default)]
#[repr(C)]
pub struct RLock {
    lock: Lock,
    depth: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<RLock>() == 8 && core::mem::offset_of!(RLock, depth) == 4);

impl RLock {
    /// A free lock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lock, at once if the calling thread holds it.
    ///
    /// Who comes back finds [`Protected::Poisoned`](crate::Protected::Poisoned) as long as nobody mended, and
    /// [`LockError::TooDeep`] for the 2³²th time. Else as [`Lock::lock`].
    pub fn lock(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        match self.lock.lock(park, owners, limit) {
            Ok(held) => {
                self.depth.store(0, Ordering::Relaxed);
                Ok(held)
            }
            Err(LockError::Deadlock) => self.again(owners),
            Err(error) => Err(error),
        }
    }

    /// Gives the lock back once; the last time it is free.
    ///
    /// Else as [`Lock::unlock`].
    pub fn unlock(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        if self.lock.holder() != Some(me) {
            return Err(NotHeld);
        }
        match self.depth.load(Ordering::Relaxed) {
            0 => self.lock.unlock(park, me),
            depth => {
                self.depth.store(depth - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Gives the lock back wholly, however often it was taken; the answer is for [`relock`](Self::relock).
    pub fn unlock_all(&self, park: &impl Park, me: Id) -> Result<u32, NotHeld> {
        if self.lock.holder() != Some(me) {
            return Err(NotHeld);
        }
        let depth = self.depth.load(Ordering::Relaxed);
        self.lock.unlock(park, me).map(|()| depth)
    }

    /// Takes the lock as often as [`unlock_all`](Self::unlock_all) gave it back; for who must not hold it meanwhile.
    ///
    /// Else as [`Lock::lock`], also for a thread that holds it: that is [`LockError::Deadlock`].
    pub fn relock(
        &self,
        depth: u32,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let held = self.lock.lock(park, owners, limit)?;
        self.depth.store(depth, Ordering::Relaxed);
        Ok(held)
    }

    /// The lock without its depth: who holds it, and its poison. Do not take it or give it back there.
    pub fn inner(&self) -> &Lock {
        &self.lock
    }

    fn again(&self, owners: &impl Owners) -> Result<Held, LockError> {
        let me = owners.me().map_err(|_| LockError::NoSlot)?;
        let depth = self.depth.load(Ordering::Relaxed);
        let deeper = depth.checked_add(1).ok_or(LockError::TooDeep)?;
        self.depth.store(deeper, Ordering::Relaxed);
        Ok(Held { me, state: self.lock.state() })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::world::{Director, State, World, explore};
    use crate::{Forever, Protected};

    type W = World<RLock>;

    fn enter(w: &W) -> Held {
        w.shared.lock(w, w, &Forever).unwrap()
    }

    /// Takes it twice, lets go wholly once, and gives it back as often as taken.
    fn twice(w: &W) {
        let Held { me, state } = enter(w);
        if state != Protected::Consistent {
            w.shared.inner().mark_consistent(me).unwrap();
        }
        assert_eq!(enter(w), Held { me, state: Protected::Consistent });
        assert_eq!(w.shared.unlock_all(w, me), Ok(1));
        let Held { me, state } = w.shared.relock(1, w, w, &Forever).unwrap();
        if state != Protected::Consistent {
            w.shared.inner().mark_consistent(me).unwrap();
        }
        assert_eq!(w.shared.unlock(w, me), Ok(()));
        assert_eq!(w.shared.inner().holder(), Some(me));
        assert_eq!(w.shared.unlock(w, me), Ok(()));
        assert_eq!((w.shared.unlock(w, me), w.shared.unlock_all(w, me)), (Err(NotHeld), Err(NotHeld)));
    }

    fn director() -> Director<RLock> {
        Director::with(RLock::new(), &[twice, twice])
    }

    #[test]
    fn every_schedule_and_a_kill_leave_a_lock_that_can_be_taken_as_often() {
        let run = |victim| {
            explore(2, victim, &director, &|d| {
                assert_eq!(d.finish(), 0);
                let next = d.spawn(twice);
                assert_eq!(d.run_on(next), State::Done);
            })
        };
        let runs = [None, Some(0)].map(run);
        assert!(runs.iter().all(|&n| n > 100), "{runs:?}");
    }

    #[test]
    fn a_depth_without_room_above_it_is_an_error() {
        let mut d = Director::new(RLock::new());
        let n = d.spawn(|w: &W| {
            let me = enter(w).me;
            w.shared.depth.store(u32::MAX, Ordering::Relaxed);
            assert_eq!(w.shared.lock(w, w, &Forever), Err(LockError::TooDeep));
            assert_eq!(w.shared.unlock_all(w, me), Ok(u32::MAX));
        });
        d.run_on(n);
    }

    #[test]
    fn who_comes_back_to_a_poisoned_lock_is_told() {
        let mut d = Director::new(RLock::new());
        let n = d.spawn(|w: &W| {
            let me = enter(w).me;
            w.shared.inner().poison(me).unwrap();
            assert_eq!(enter(w).state, Protected::Poisoned);
        });
        d.run_on(n);
    }
}
