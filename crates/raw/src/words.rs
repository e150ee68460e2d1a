//! Which types may lie in memory that other processes write, and which of them keep others out.
//!
//! Invariants: every implementor of [`Words`] consists of 32-bit atomics only, without padding; whatever bits it holds,
//! its methods give a wrong answer, an error or a panic, and nothing worse; all zero is its idle state. [`Exclusive`] is
//! implemented only where two holders at once are impossible as long as all participants keep to the protocol, and
//! [`Unguarded`] where it is not. The traits are sealed, so only this file says which types these are; the types assert
//! their layout where they are defined.

use crate::{
    Condvar, Event, EventCount, Extent, Held, Id, Job, Limit, Lock, LockError, Meeting, NotHeld, Obituary,
    Once, Owners, Park, Permit, Place, Protected, RLock, Ring, RwLock, Tokens,
};

/// A type of this crate that lives in shared memory, where anybody may write it at any time.
///
/// It is made of 32-bit atomics only, `repr(C)` or transparent, every bit pattern is harmless, and all zero is idle.
/// `procession-shm` relies on that: it makes such a value of any zeroed memory that is aligned to 4 bytes, and shares it
/// with processes that may write anything there. Sealed.
///
/// ```
/// use procession_raw::{Event, Lock, Words};
///
/// fn needs<W: Words>() -> usize {
///     size_of::<W>()
/// }
/// assert_eq!(needs::<[Event; 3]>(), 12);
/// assert_eq!((needs::<Lock>(), needs::<()>()), (4, 0));
/// ```
pub trait Words: Send + Sync + sealed::Sealed + 'static {
    /// The name of the protocol, to tell it from others of the same size. An array has that of its items.
    const NAME: &'static str;
}

/// Words that nobody builds guards over data on: all but those that are [`Exclusive`].
///
/// Whoever reaches such words may do with them what their methods can, and no reference to data is wrong for it. The words
/// of an [`Exclusive`] lock are different: giving it back while somebody has a guard lets a second one in. Sealed.
///
/// ```
/// use procession_raw::{Event, RLock, Unguarded};
///
/// fn needs<W: Unguarded>() {}
/// needs::<Event>();
/// needs::<RLock>();
/// ```
/// ```compile_fail,E0277
/// fn needs<W: procession_raw::Unguarded>() {}
/// needs::<procession_raw::Lock>();
/// ```
pub trait Unguarded: Words {}

/// Words of two kinds, the second behind the first: what a protocol shares, and the places of its users.
///
/// ```
/// use procession_raw::{Both, EventCount, Permit};
/// assert_eq!(size_of::<Both<EventCount, [Permit; 8]>>(), 36);
/// ```
#[derive(Debug, Default)]
#[repr(C)]
pub struct Both<A, B>(pub A, pub B);

/// A lock that one thread holds at a time, and that says how its holders before left what it protects.
///
/// Guards over data are built on it, so it is implemented only where a second [`lock`](Self::lock) by anybody, the
/// holder included, does not succeed before [`unlock`](Self::unlock). Sealed.
///
/// ```
/// use procession_raw::{Exclusive, Lock};
///
/// assert_eq!(Exclusive::holder(&Lock::new()), None);
/// ```
pub trait Exclusive: Words {
    /// As [`Lock::lock`]: takes the lock, blocking until it is free, its holder is proved dead, or the limit passes.
    ///
    /// # Errors
    /// [`LockError`]; the lock is then as it was.
    ///
    /// # If a peer dies
    /// The answer is [`Protected::OwnerDied`], with the lock.
    fn lock(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<Held, LockError>;

    /// As [`Lock::unlock`]: gives the lock back and wakes who waits for it. Does not block.
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    fn unlock(&self, park: &impl Park, me: Id) -> Result<(), NotHeld>;

    /// Takes the lock for the calling thread, which is `me`, if that takes one exchange: it is free, and was left as it
    /// should be. `false`: nothing was done, and [`lock`](Self::lock) may succeed all the same.
    #[inline]
    fn lock_at_once(&self, me: Id) -> bool {
        let _ = me;
        false
    }

    /// Gives the lock back if that takes one exchange: `me` holds it, and nobody is to be woken or told anything.
    /// `false`: nothing was done, and [`unlock`](Self::unlock) does it.
    #[inline]
    fn unlock_at_once(&self, me: Id) -> bool {
        let _ = me;
        false
    }

    /// As [`Lock::mark_consistent`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    fn mark_consistent(&self, me: Id) -> Result<(), NotHeld>;

    /// As [`Lock::poison`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not hold it; nothing was done.
    fn poison(&self, me: Id) -> Result<(), NotHeld>;

    /// Who holds the lock at this moment; it may be dead.
    fn holder(&self) -> Option<Id>;

    /// In which state the data is; it means something to the holder only.
    fn state(&self) -> Protected;
}

impl Exclusive for Lock {
    #[inline]
    fn lock(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<Held, LockError> {
        self.lock(park, owners, limit)
    }

    #[inline]
    fn unlock(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.unlock(park, me)
    }

    #[inline]
    fn lock_at_once(&self, me: Id) -> bool {
        self.lock_at_once(me)
    }

    #[inline]
    fn unlock_at_once(&self, me: Id) -> bool {
        self.unlock_at_once(me)
    }

    fn mark_consistent(&self, me: Id) -> Result<(), NotHeld> {
        self.mark_consistent(me)
    }

    fn poison(&self, me: Id) -> Result<(), NotHeld> {
        self.poison(me)
    }

    fn holder(&self) -> Option<Id> {
        self.holder()
    }

    fn state(&self) -> Protected {
        self.state()
    }
}

/// The lock to write.
impl<const N: usize> Exclusive for RwLock<N> {
    fn lock(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<Held, LockError> {
        self.write(park, owners, limit)
    }

    fn unlock(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.unlock_write(park, me)
    }

    fn mark_consistent(&self, me: Id) -> Result<(), NotHeld> {
        self.mark_consistent(me)
    }

    fn poison(&self, me: Id) -> Result<(), NotHeld> {
        self.poison(me)
    }

    fn holder(&self) -> Option<Id> {
        self.writer()
    }

    fn state(&self) -> Protected {
        self.state()
    }
}

/// A lock that threads hold together to read, or one of them alone to write. Its [`lock`](Exclusive::lock) is to write.
///
/// Guards over data that is only read are built on it, so it is implemented only where nobody writes between a
/// [`read`](Self::read) and its [`unlock_read`](Self::unlock_read). Sealed.
///
/// ```
/// use procession_raw::{RwLock, SharedExclusive};
///
/// fn needs<W: SharedExclusive>() {}
/// needs::<RwLock>();
/// ```
pub trait SharedExclusive: Exclusive {
    /// As [`RwLock::read`].
    ///
    /// # Errors
    /// [`LockError`]; the lock is then as it was.
    fn read(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<Held, LockError>;

    /// As [`RwLock::unlock_read`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not read; nothing was done.
    fn unlock_read(&self, park: &impl Park, me: Id) -> Result<(), NotHeld>;

    /// As [`RwLock::downgrade`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not write; nothing was done.
    fn downgrade(&self, park: &impl Park, me: Id) -> Result<(), NotHeld>;
}

impl<const N: usize> SharedExclusive for RwLock<N> {
    fn read(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<Held, LockError> {
        self.read(park, owners, limit)
    }

    fn unlock_read(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.unlock_read(park, me)
    }

    fn downgrade(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.downgrade(park, me)
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! words {
    ($($word:ty),+ $(,)?) => { $(
        impl sealed::Sealed for $word {}
        impl Words for $word {
            const NAME: &'static str = stringify!($word);
        }
        #[cfg(not(loom))]
        const _: () = assert!(matches!(align_of::<$word>(), 4 | 8) && size_of::<$word>() % align_of::<$word>() == 0);
    )+ };
}

words!(
    Condvar, Event, EventCount, Extent, Job, Lock, Meeting, Obituary, Once, Permit, Place, RLock, Ring,
    Tokens
);

macro_rules! unguarded {
    ($($word:ty),+ $(,)?) => { $(impl Unguarded for $word {})+ };
}

unguarded!(
    Condvar,
    Event,
    EventCount,
    Extent,
    Job,
    Meeting,
    Obituary,
    Once,
    Permit,
    Place,
    RLock,
    Ring,
    Tokens,
    ()
);

impl<const N: usize> sealed::Sealed for RwLock<N> {}
impl<const N: usize> Words for RwLock<N> {
    const NAME: &'static str = "RwLock";
}

impl sealed::Sealed for () {}
/// Nothing to share.
impl Words for () {
    const NAME: &'static str = "()";
}

impl<W: Words, const N: usize> sealed::Sealed for [W; N] {}
impl<W: Words, const N: usize> Words for [W; N] {
    const NAME: &'static str = W::NAME;
}

/// Nobody takes several at once, whatever they are.
impl<W: Words, const N: usize> Unguarded for [W; N] {}

impl<A: Words, B: Words> Unguarded for Both<A, B> {}
impl<A: Words, B: Words> sealed::Sealed for Both<A, B> {}
impl<A: Words, B: Words> Words for Both<A, B> {
    const NAME: &'static str = B::NAME;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Forever;
    use crate::world::{Director, World};

    fn two_changes<L: Exclusive>(w: &World<L>) {
        let lock = &w.shared;
        let Held { me, state } = lock.lock(w, w, &Forever).unwrap();
        assert!(!lock.lock_at_once(me));
        assert_eq!((state, lock.state(), lock.holder()), (state, state, Some(me)));
        assert_eq!(lock.lock(w, w, &Forever), Err(LockError::Deadlock));
        lock.poison(me).unwrap();
        assert_eq!(lock.unlock(w, me), Ok(()));
        let Held { me, state } = lock.lock(w, w, &Forever).unwrap();
        assert_eq!((state, lock.state()), (Protected::Poisoned, Protected::Poisoned));
        lock.mark_consistent(me).unwrap();
        assert_eq!((lock.state(), lock.unlock(w, me)), (Protected::Consistent, Ok(())));
        assert_eq!([lock.unlock(w, me), lock.poison(me), lock.mark_consistent(me)], [Err(NotHeld); 3]);
        assert_eq!(lock.holder(), None);
    }

    fn keeps_to_the_contract<L: Exclusive + Default>() {
        let mut d = Director::new(L::default());
        let n = d.spawn(two_changes);
        d.run_on(n);
    }

    #[test]
    fn all_that_is_exclusive_keeps_to_one_contract() {
        keeps_to_the_contract::<Lock>();
        keeps_to_the_contract::<RwLock<8>>();
        keeps_to_the_contract::<RwLock>();
    }
}
