//! Two copies of one thing, and a version whose last bit says which of them is meant.
//!
//! A writer, who holds the lock, fills the copy that is not meant and then adds one to the version: that store is the
//! commit. A reader copies what is meant and looks whether the version is still the same; it holds nothing.
//!
//! | a writer is killed | what is meant | who comes next |
//! |---|---|---|
//! | before the store of the version | the old copy, whole | fills the other copy again |
//! | after it | the new copy, whole | fills the old one |
//!
//! Invariants: what is meant is never written, but for readers that were overtaken twice, who see it by the version and
//! try again; a reader that fails often takes the lock, so that no number of writers starves it, but never waits long
//! for somebody who merely holds it; a version is not used again before 2^64 commits. Held by `tests/value*.rs`.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use std::thread;
use std::time::Duration;

use procession_sys::{Deadline, memory};

use crate::error::ShmError;
use crate::place::{Hold, Place, WORD};
use crate::plain::{self, Plain};
use crate::wait::Wait;

/// After so many tries a reader takes the lock.
const TRIES: u32 = 32;
/// So long it waits for the lock, before it tries without again.
const PATIENCE: Duration = Duration::from_millis(1);

/// A version, and two copies of equally many words behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twin<'a> {
    version: &'a AtomicU64,
    copies: &'a [AtomicU64],
}

impl<'a> Twin<'a> {
    /// How many words it takes.
    pub(crate) const fn n_words(n_words_of_copy: usize) -> usize {
        1 + 2 * n_words_of_copy
    }

    /// Made of an odd number of words.
    #[inline]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        let (version, copies) = words.split_first().expect("a version and two copies");
        Self { version, copies }
    }

    #[inline]
    fn copy(&self, version: u64) -> &'a [AtomicU64] {
        let n_words = self.copies.len() / 2;
        &self.copies[(version & 1) as usize * n_words..][..n_words]
    }

    /// The copy that is meant in memory that is all zero: for who makes the thing, and has it alone.
    pub(crate) fn first(&self) -> &'a [AtomicU64] {
        self.copy(0)
    }

    /// What `read` makes of the copy that is meant, if nobody committed meanwhile.
    #[inline]
    pub(crate) fn try_read<R>(&self, read: impl FnOnce(&[AtomicU64]) -> R) -> Option<R> {
        let version = self.version.load(Acquire);
        let answer = read(self.copy(version));
        // With the fence of the writer: who saw a word of a later copy sees a later version.
        fence(Acquire);
        (self.version.load(Relaxed) == version).then_some(answer)
    }

    /// What `read` makes of the copy that is meant. It runs again whenever somebody committed meanwhile, and sees words
    /// of several copies then. `place` is where the lock is.
    #[inline]
    pub(crate) fn read<R>(&self, place: &Place, mut read: impl FnMut(&[AtomicU64]) -> R) -> R {
        match self.try_read(&mut read) {
            Some(answer) => answer,
            None => self.read_again(place, read),
        }
    }

    #[cold]
    fn read_again<R>(&self, place: &Place, mut read: impl FnMut(&[AtomicU64]) -> R) -> R {
        loop {
            for _ in 0..TRIES {
                std::hint::spin_loop();
                if let Some(answer) = self.try_read(&mut read) {
                    return answer;
                }
            }
            match place.hold(Wait(Deadline::after(PATIENCE))) {
                Ok(hold) => return self.read_held(&hold, read),
                // Whatever it is, the lock is not needed: a try succeeds as soon as the writers pause.
                Err(_) => thread::yield_now(),
            }
        }
    }

    /// The same for who holds the lock, so that nobody commits.
    #[inline]
    pub(crate) fn read_held<R>(&self, _: &Hold<'_>, read: impl FnOnce(&[AtomicU64]) -> R) -> R {
        read(self.copy(self.version.load(Relaxed)))
    }

    /// Commits what `fill` writes into the other copy, and unlocks. Does nothing in a forked child, which holds nothing.
    #[inline]
    pub(crate) fn finish(&self, hold: Hold<'_>, fill: impl FnOnce(&[AtomicU64])) {
        if self.commit(&hold, fill) {
            hold.release();
        }
    }

    /// [`finish`](Self::finish) without unlocking. Says whether it is ours.
    #[inline]
    pub(crate) fn commit(&self, hold: &Hold<'_>, fill: impl FnOnce(&[AtomicU64])) -> bool {
        if !hold.is_ours() {
            return false;
        }
        let next = self.version.load(Relaxed).wrapping_add(1);
        // With the fence of a reader that was overtaken, see there.
        fence(Release);
        fill(self.copy(next));
        self.version.store(next, Release);
        true
    }
}

/// How many words these bytes take.
pub(crate) const fn words_of(n_bytes: usize) -> usize {
    n_bytes.div_ceil(WORD)
}

/// Copies all of `bytes` out of as many words as they take.
///
/// # Panics
/// If there are not so many.
#[inline]
pub(crate) fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    let words = &words[..words_of(bytes.len())];
    let (chunks, rest) = bytes.as_chunks_mut::<WORD>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.load(Relaxed).to_ne_bytes();
    }
    if let (false, Some(word)) = (rest.is_empty(), words.last()) {
        rest.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[..rest.len()]);
    }
}

/// Makes `bytes` the first `n_bytes` of these words, a number that somebody stored; none, if there are not so many.
///
/// # Errors
/// There is no room for the copy.
pub(crate) fn load_all(words: &[AtomicU64], n_bytes: u64, bytes: &mut Vec<u8>) -> Result<(), ShmError> {
    bytes.clear();
    let n_bytes = usize::try_from(n_bytes).ok().filter(|n| *n <= words.len() * WORD).unwrap_or(0);
    memory::grow(bytes, n_bytes)?;
    bytes.resize(n_bytes, 0);
    load(words, bytes);
    Ok(())
}

/// Copies all of `bytes` into as many words as they take.
///
/// # Panics
/// If there are not so many.
#[inline]
pub(crate) fn store(words: &[AtomicU64], bytes: &[u8]) {
    let words = &words[..words_of(bytes.len())];
    let (chunks, rest) = bytes.as_chunks::<WORD>();
    for (chunk, word) in chunks.iter().zip(words) {
        word.store(u64::from_ne_bytes(*chunk), Relaxed);
    }
    if let (false, Some(word)) = (rest.is_empty(), words.last()) {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_ne_bytes(last), Relaxed);
    }
}

/// The value that these words are.
#[inline]
pub(crate) fn load_plain<T: Plain>(words: &[AtomicU64]) -> T {
    let filled = plain::filled(|bytes| {
        load(words, bytes);
        Ok::<(), std::convert::Infallible>(())
    });
    match filled {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
