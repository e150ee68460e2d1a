//! A lock and words behind it in shared memory: what values, encoded values and lists are made of.
//!
//! Invariant: the first four bytes are the lock and nothing else touches them; the next four are unused; everything
//! behind is 64-bit atomics. Held by `tests/value.rs`.
//!
//! # Safety
//! A place is made only of a space that was checked here to have the room and the alignment. It stays mapped for writing
//! while the place lives. Nothing in this process makes an ordinary reference to those bytes: what is of another type
//! has another fingerprint, and what is of this one goes through this file. Other processes may store anything at any
//! time: both kinds of words have a value for all bits.
#![allow(unsafe_code, reason = "makes atomics of mapped memory")]

use std::marker::PhantomData;
use std::mem;
use std::slice;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU64;

use procession_raw::{self as raw, Id, Lock, LockError, Protected};
use procession_sys::futex::SharedPark;

use crate::domain::Domain;
use crate::error::{Refusal, ShmError};
use crate::space::Space;
use crate::value::ValueError;
use crate::wait::{Party, Wait};

/// Bytes of a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// A lock, and a number of words.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    space: Space,
    /// Behind the lock.
    n_words: usize,
}

impl Place {
    /// How many bytes it takes.
    pub(crate) const fn len(n_words: usize) -> usize {
        (n_words + 1) * WORD
    }

    /// At the beginning of a space.
    ///
    /// # Errors
    /// The space has no domain, or no room for it.
    pub(crate) fn new(space: Space, n_words: usize) -> Result<Self, ShmError> {
        if space.domain().is_none() {
            return Err(Refusal::Domain.into());
        }
        let (found, begin) = (space.object().len(), space.offset());
        let end =
            n_words.checked_add(1).and_then(|n| n.checked_mul(WORD)).and_then(|len| begin.checked_add(len));
        if end.is_none_or(|end| end > found) {
            let expected = end.unwrap_or(usize::MAX) as u64;
            return Err(Refusal::Length { found: found as u64, expected }.into());
        }
        if !space.data().cast::<u64>().is_aligned() {
            return Err(Refusal::Damaged.into());
        }
        Ok(Self { space, n_words })
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// The words behind the lock.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        let first = self.space.data().wrapping_add(WORD).cast();
        // SAFETY: `new` saw that so many words lie in the space behind the lock, aligned; they are mapped while the
        // space is borrowed, and atomics to everybody.
        unsafe { slice::from_raw_parts(first, self.n_words) }
    }

    #[inline]
    fn lock(&self) -> &Lock {
        // SAFETY: `new` saw that there is a word more than `n_words`, aligned; it is mapped while the space is borrowed;
        // all bytes are a `Lock`, which is an atomic.
        unsafe { &*self.space.data().cast() }
    }

    /// Takes the lock. What a holder left who died needs no repair: it is as before its last commit, or after.
    #[inline]
    pub(crate) fn hold(&self, wait: Wait) -> Result<Hold<'_>, ValueError> {
        match self.space.domain().and_then(Domain::id_at_hand) {
            Some(me) if self.lock().lock_at_once(me) => Ok(Hold { place: self, me, not_send: PhantomData }),
            _ => self.hold_slowly(wait),
        }
    }

    #[cold]
    fn hold_slowly(&self, wait: Wait) -> Result<Hold<'_>, ValueError> {
        let lock = self.lock();
        match lock.lock(&SharedPark, &Party::new(&self.space), &wait) {
            Ok(raw::Held { me, state }) => {
                if state != Protected::Consistent {
                    self.clean(me, state);
                }
                Ok(Hold { place: self, me, not_send: PhantomData })
            }
            Err(error) => Err(self.why_not(error)),
        }
    }

    /// So that later holders are as quick as if nobody had died.
    #[cold]
    fn clean(&self, me: Id, state: Protected) {
        // It fails only if somebody has stored over the word.
        let _ = self.lock().mark_consistent(me);
        if let (Protected::OwnerDied(id), Some(domain)) = (state, self.space.domain()) {
            // Others may wait for something that this thread was going to do.
            domain.note_death(id);
        }
    }

    #[cold]
    fn why_not(&self, error: LockError) -> ValueError {
        match error {
            LockError::Deadlock => ValueError::Deadlock,
            LockError::TimedOut(id) => {
                let holder = self.space.domain().and_then(|domain| domain.participant(id));
                ValueError::TimedOut { holder }
            }
            _ => ValueError::NoSlot,
        }
    }
}

/// Says that the calling thread holds the lock of a [`Place`]. Dropping it unlocks.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    place: &'a Place,
    /// A forked child has a copy of this, and is not that thread.
    me: Id,
    /// The lock is the thread's. This is `Sync` nevertheless.
    not_send: PhantomData<MutexGuard<'static, ()>>,
}

impl Hold<'_> {
    /// Whether it is not the copy of a forked child.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        self.place.space.domain().is_some_and(|domain| domain.is_own(self.me))
    }

    /// Unlocks, for who has just seen that it is ours.
    #[inline]
    pub(crate) fn release(self) {
        // It fails only if somebody has stored over the word.
        let _ = self.place.lock().unlock(&SharedPark, self.me);
        mem::forget(self);
    }
}

impl Drop for Hold<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_ours() {
            // It fails only if somebody has stored over the word.
            let _ = self.place.lock().unlock(&SharedPark, self.me);
        }
    }
}
