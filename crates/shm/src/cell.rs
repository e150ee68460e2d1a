//! Words of a protocol with the data that they protect, and guards that lead to the data.
//!
//! Invariants: the words are touched by their own methods only; the data is touched through a guard, which there is only
//! while its thread holds the lock. Held by `tests/cell.rs`.
//!
//! # Safety
//! - [`Words`] is sealed in `procession_raw`: its types are made of 32-bit atomics only, any bytes are a value of them,
//!   and zeros are idle. So a reference to words in shared memory is sound whatever other processes store there.
//! - The lock word names the thread that holds it, which changes only when that thread lets go or is dead. So at most
//!   one thread has a reference to the data, unless a process breaks the protocol on purpose; or, where the words let
//!   several read, all who have one read, and who writes waits for each of them. A guard stays in its thread
//!   (it is not `Send`), and in its process (a forked child gives nothing back).
//! - Who leaks a guard and lets the reference outlive its thread breaks this: the thread's death frees the lock.
#![allow(unsafe_code, reason = "leads from a held lock to the data it protects")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU32;
use std::{ptr, thread};

use procession_raw::{
    Exclusive, Held, Id, LockError, Obituary, Owners, Protected, RwLock, SharedExclusive, Unguarded, Words,
};
use procession_sys::futex::SharedPark;

use crate::domain::waits::waiters_for;
use crate::domain::{Domain, Participant};
use crate::error::{Refusal, ShmError};
use crate::shape::Shape;
use crate::space::{Shared, Space};
use crate::wait::{Party, Wait};
use crate::{Fingerprint, Plain};

/// The words of a protocol, and the data that they protect, in shared memory: what locks and signals are built from.
///
/// *Shared* handle: `Clone`, and travels as a part of what is built from it. Made from the data; the words begin idle.
///
/// # If a peer dies
/// The data stays as it left it; what the words then say is up to their protocol.
pub struct Cell<W: Words, T: Plain = ()> {
    space: Space,
    kind: PhantomData<(W, T)>,
}

impl<W: Words, T: Plain> Cell<W, T> {
    const VALUE_AT: usize = size_of::<W>().next_multiple_of(align_of::<T>());

    #[inline]
    fn inner(&self) -> &W {
        // SAFETY: the space was checked for this shape, which begins with the words, and is mapped while it is borrowed;
        // words are atomics, of which all bytes are values.
        unsafe { &*self.space.data().cast() }
    }

    /// The domain of those who use it.
    #[inline]
    pub fn domain(&self) -> &Domain {
        self.space.domain().expect("the shape asks for a domain")
    }

    /// The calling thread, to wait for something here.
    #[inline]
    pub fn party(&self) -> Party<'_> {
        Party::new(&self.space)
    }

    /// Who sleeps until somebody lets go of this, as far as they have said so: for diagnosis. Looks at all slots of the
    /// domain.
    pub fn waiters(&self) -> Vec<Participant> {
        waiters_for(&self.space)
    }

    fn at(space: Space) -> Result<Self, ShmError> {
        if space.domain().is_none() {
            return Err(Refusal::Domain.into());
        }
        Ok(Self { space, kind: PhantomData })
    }

    #[inline]
    fn value(&self) -> *mut T {
        self.space.data().wrapping_add(Self::VALUE_AT).cast()
    }
}

impl<W: Unguarded, T: Plain> Cell<W, T> {
    /// The words. Not those of a lock, which its guards answer for:
    /// ```compile_fail,E0599
    /// use procession_shm::{Cell, Shared};
    /// let cell = Cell::<procession_raw::Lock, u64>::create(1).unwrap();
    /// let lock: &procession_raw::Lock = cell.words();
    /// ```
    #[inline]
    pub fn words(&self) -> &W {
        self.inner()
    }

    /// A copy of the data, which nobody changes, since these words have no guards.
    pub fn peek(&self) -> T {
        // SAFETY: the place lies in the space, which is mapped; it is read as bytes, of which any are a `T`.
        unsafe { self.value().read_volatile() }
    }
}

impl<W: Exclusive, T: Plain> Cell<W, T> {
    /// Who holds the lock at this moment; it may be dead.
    pub fn holder(&self) -> Option<Id> {
        self.inner().holder()
    }

    /// Takes the lock, and says what its holders before left.
    ///
    /// Blocks until the limit.
    ///
    /// # Errors
    /// As [`procession_raw::Lock::lock`].
    #[inline]
    pub fn lock(&self, wait: Wait) -> Result<(Locked<'_, W, T>, Protected), LockError> {
        let held = match self.id_at_hand() {
            Some(me) if self.inner().lock_at_once(me) => Held { me, state: Protected::Consistent },
            _ => self.lock_slowly(wait)?,
        };
        Ok((Locked::new(self, held.me), held.state))
    }

    #[cold]
    fn lock_slowly(&self, wait: Wait) -> Result<Held, LockError> {
        self.inner().lock(&SharedPark, &self.party(), &wait).inspect_err(|error| self.tell_holder(*error))
    }

    /// Who gave up because of a reader may have found a writer dead before it, whose name the words keep for the next one:
    /// others may wait for something that this thread was going to do.
    #[cold]
    fn tell_holder(&self, error: LockError) {
        let holder =
            self.holder().filter(|&id| error != LockError::TimedOut(id) && self.domain().is_dead(id));
        holder.into_iter().for_each(|id| self.domain().note_death(id));
    }

    #[inline]
    fn id_at_hand(&self) -> Option<Id> {
        self.space.domain().and_then(Domain::id_at_hand)
    }
}

impl<W: SharedExclusive, T: Plain> Cell<W, T> {
    /// Takes the lock to read, and says what its writers before left.
    ///
    /// Blocks until the limit.
    ///
    /// # Errors
    /// As [`procession_raw::RwLock::read`].
    #[inline]
    pub fn read(&self, wait: Wait) -> Result<(ReadLocked<'_, W, T>, Protected), LockError> {
        let Held { me, state } = self.inner().read(&SharedPark, &self.party(), &wait)?;
        Ok((ReadLocked::new(self, me), state))
    }
}

impl<const N: usize, T: Plain> Cell<RwLock<N>, T> {
    /// Who reads at this moment, or looks whether it may.
    pub fn readers(&self) -> impl Iterator<Item = Id> {
        self.inner().readers(self.domain())
    }
}

// SAFETY: `make` and `find` touch nothing at all but the data; the fingerprint has both types in it.
unsafe impl<W: Words, T: Plain> Shared for Cell<W, T> {
    type Init = T;

    /// A cache line of its own, so that two locks side by side do not slow each other.
    const SHAPE: Shape = {
        let fingerprint = Fingerprint::new(W::NAME, size_of::<W>(), align_of::<W>());
        let fingerprint = fingerprint.field("value", Self::VALUE_AT, T::FINGERPRINT);
        assert!(align_of::<T>() <= 64, "nothing in shared memory is aligned to more than 64 bytes");
        Shape::of("", Self::VALUE_AT + size_of::<T>(), 64, fingerprint).in_domain()
    };

    unsafe fn make(space: Space, value: T) -> Result<Self, ShmError> {
        let cell = Self::at(space)?;
        // SAFETY: the place lies in the space, and nobody else has it yet.
        unsafe { cell.value().write(value) };
        Ok(cell)
    }

    unsafe fn find(space: Space) -> Result<Self, ShmError> {
        Self::at(space)
    }

    fn space(&self) -> &Space {
        &self.space
    }
}

impl<W: Words, T: Plain> Clone for Cell<W, T> {
    fn clone(&self) -> Self {
        Self { space: self.space.clone(), kind: PhantomData }
    }
}

impl<W: Words, T: Plain> fmt::Debug for Cell<W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell").field("space", &self.space).finish_non_exhaustive()
    }
}

/// The obituary of a domain, as waits want to know it.
pub(crate) fn obituary(word: &AtomicU32) -> &Obituary {
    const { assert!(size_of::<Obituary>() == size_of::<AtomicU32>()) };
    // SAFETY: an obituary is one 32-bit atomic (a `Words`), of which all bytes are values; borrowed as long as the word.
    unsafe { &*ptr::from_ref(word).cast() }
}

/// The data of a [`Cell`], while the calling thread holds its lock. Dropping it unlocks, and poisons if the thread began
/// to panic meanwhile. Stays in its thread:
/// ```compile_fail,E0277
/// # use procession_shm::{Cell, Shared, Wait};
/// let cell = Cell::<procession_raw::Lock, u64>::create(1).unwrap();
/// let (guard, _) = cell.lock(Wait(procession_sys::Deadline::NEVER)).unwrap();
/// std::thread::scope(|scope| scope.spawn(move || drop(guard)).join().unwrap());
/// ```
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct Locked<'a, W: Exclusive, T: Plain> {
    cell: &'a Cell<W, T>,
    /// A forked child has a copy of this, and is not that thread.
    held: Holder,
    not_send: PhantomData<*mut T>,
}

/// The thread that holds a lock, and, in bit 32, whether it was panicking when it took it. One word, because a guard is
/// moved at once after it was made, and a processor is slow to read as one what was written as two.
#[derive(Clone, Copy)]
struct Holder(u64);

impl Holder {
    #[inline]
    fn new(me: Id) -> Self {
        Self(u64::from(me.to_bits()) | u64::from(thread::panicking()) << 32)
    }

    #[inline]
    fn me(self) -> Id {
        Id::from_bits(self.0 as u32)
    }

    #[inline]
    fn was_panicking(self) -> bool {
        self.0 >> 32 != 0
    }
}

// SAFETY: through a shared reference to the guard there are only shared references to the data.
unsafe impl<W: Exclusive, T: Plain> Sync for Locked<'_, W, T> {}

impl<'a, W: Exclusive, T: Plain> Locked<'a, W, T> {
    #[inline]
    fn new(cell: &'a Cell<W, T>, me: Id) -> Self {
        Self { cell, held: Holder::new(me), not_send: PhantomData }
    }

    /// What it is the guard of.
    pub fn cell(&self) -> &'a Cell<W, T> {
        self.cell
    }

    /// The thread that holds the lock: this one.
    pub fn me(&self) -> Id {
        self.held.me()
    }

    /// Says that the data is as it should be: later holders are told nothing.
    pub fn mark_consistent(&self) {
        // It fails only if somebody has stored over the word.
        let _ = self.cell.inner().mark_consistent(self.me());
    }

    /// Gives the lock back, does something, and takes the lock again, however long that takes.
    ///
    /// # Errors
    /// As [`procession_raw::Lock::lock`]; the lock is then not held.
    pub fn unlocked<R>(self, what: impl FnOnce() -> R) -> (R, Result<(Self, Protected), LockError>) {
        let cell = self.cell;
        drop(self);
        let answer = what();
        (answer, cell.lock(Wait(procession_sys::Deadline::NEVER)))
    }
}

impl<'a, W: SharedExclusive, T: Plain> Locked<'a, W, T> {
    /// Goes on to read, with no writer between.
    pub fn downgrade(self) -> ReadLocked<'a, W, T> {
        let this = ManuallyDrop::new(self);
        if this.cell.domain().is_own(this.me()) {
            // These fail only if somebody has stored over the word.
            if !this.held.was_panicking() && thread::panicking() {
                let _ = this.cell.inner().poison(this.me());
            }
            let _ = this.cell.inner().downgrade(&SharedPark, this.me());
        }
        ReadLocked::new(this.cell, this.me())
    }
}

impl<W: Exclusive, T: Plain> Deref for Locked<'_, W, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock, so nobody writes; the space is mapped and has room for a `T`, aligned.
        unsafe { &*self.cell.value() }
    }
}

impl<W: Exclusive, T: Plain> DerefMut for Locked<'_, W, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, so nobody else reads or writes; else as in `deref`.
        unsafe { &mut *self.cell.value() }
    }
}

impl<W: Exclusive, T: Plain> Drop for Locked<'_, W, T> {
    #[inline]
    fn drop(&mut self) {
        let Self { cell, held, .. } = *self;
        let is_usual = !held.was_panicking() && !thread::panicking();
        if is_usual && cell.id_at_hand() == Some(held.me()) && cell.inner().unlock_at_once(held.me()) {
            return;
        }
        drop_slowly(cell, held);
    }
}

/// The whole drop of a guard. By value, so that the guard itself need not be in memory.
#[cold]
fn drop_slowly<W: Exclusive, T: Plain>(cell: &Cell<W, T>, held: Holder) {
    if !cell.domain().is_own(held.me()) {
        return;
    }
    // These fail only if somebody has stored over the word.
    if !held.was_panicking() && thread::panicking() {
        let _ = cell.inner().poison(held.me());
    }
    let _ = cell.inner().unlock(&SharedPark, held.me());
}

impl<W: Exclusive, T: Plain + fmt::Debug> fmt::Debug for Locked<'_, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The data of a [`Cell`], while the calling thread holds its lock to read. Dropping it gives the lock back. Stays in its
/// thread.
#[must_use = "the lock is given back at once if the guard is not kept"]
pub struct ReadLocked<'a, W: SharedExclusive, T: Plain> {
    cell: &'a Cell<W, T>,
    /// A forked child has a copy of this, and is not that thread.
    me: Id,
    not_send: PhantomData<*const T>,
}

// SAFETY: there are only shared references to the data.
unsafe impl<W: SharedExclusive, T: Plain> Sync for ReadLocked<'_, W, T> {}

impl<'a, W: SharedExclusive, T: Plain> ReadLocked<'a, W, T> {
    #[inline]
    fn new(cell: &'a Cell<W, T>, me: Id) -> Self {
        Self { cell, me, not_send: PhantomData }
    }
}

impl<W: SharedExclusive, T: Plain> Deref for ReadLocked<'_, W, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread reads, so nobody writes; the space is mapped and has room for a `T`, aligned.
        unsafe { &*self.cell.value() }
    }
}

impl<W: SharedExclusive, T: Plain> Drop for ReadLocked<'_, W, T> {
    #[inline]
    fn drop(&mut self) {
        if self.cell.domain().is_own(self.me) {
            // It fails only if somebody has stored over the word.
            let _ = self.cell.inner().unlock_read(&SharedPark, self.me);
        }
    }
}

impl<W: SharedExclusive, T: Plain + fmt::Debug> fmt::Debug for ReadLocked<'_, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
