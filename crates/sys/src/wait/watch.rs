//! What one wait knows of one thing: where to look for news, and what was seen last.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::PollFd;

use crate::poll::Interest;

/// What a [`Waitable`](super::Waitable) says of itself when it is looked at and not ready.
#[derive(Debug)]
pub struct Watch<'a> {
    pub(super) is_ready: bool,
    lies_down: bool,
    n_naps: u32,
    note: Option<u32>,
    words: [Option<(&'a AtomicU32, u32)>; Watch::MAX_WORDS],
    pub(super) source: Option<(Source<'a>, Interest)>,
    /// Whether the thing is asked again when its descriptor is ready, and not ready by that.
    pub(super) is_stirred: bool,
    pub(super) nap: Option<Duration>,
}

/// A descriptor to be watched.
#[derive(Debug)]
pub enum Source<'a> {
    /// One that stays open as long as the thing lives.
    Borrowed(BorrowedFd<'a>),
    /// One that is kept open meanwhile.
    Kept(Arc<OwnedFd>),
}

impl<'a> Watch<'a> {
    /// The most words that a thing can name.
    pub const MAX_WORDS: usize = 6;

    pub(super) fn new() -> Self {
        Self {
            is_ready: false,
            lies_down: false,
            n_naps: 0,
            note: None,
            words: [None; Self::MAX_WORDS],
            source: None,
            is_stirred: false,
            nap: None,
        }
    }

    /// All but the note is new.
    pub(super) fn begin(&mut self, lies_down: bool, n_naps: u32) {
        *self = Self { lies_down, n_naps, note: self.note, ..Self::new() };
    }

    pub(super) fn words(&self) -> impl Iterator<Item = (&'a AtomicU32, u32)> {
        self.words.iter().flatten().copied()
    }

    pub(super) fn has_words(&self) -> bool {
        self.words[0].is_some()
    }

    /// Whether the thread sleeps next, unless the thing is ready.
    #[must_use]
    pub fn lies_down(&self) -> bool {
        self.lies_down
    }

    /// How many naps in a row ended by themselves: for a thing that wants to be asked less and less often.
    #[must_use]
    pub fn n_naps(&self) -> u32 {
        self.n_naps
    }

    /// What the thing noted at an earlier look of the same wait; `None` at the first.
    #[must_use]
    pub fn noted(&self) -> Option<u32> {
        self.note
    }

    /// Keeps a number for the next look, and for [`leave`](super::Waitable::leave).
    pub fn note(&mut self, number: u32) {
        self.note = Some(number);
    }

    /// A word that ends the sleep when it differs from `value` or is woken. To be named also if the watch does not lie
    /// down, so that it is known that there are words.
    ///
    /// # Panics
    /// If there are more than [`MAX_WORDS`](Self::MAX_WORDS).
    pub fn word(&mut self, word: &'a AtomicU32, value: u32) {
        let free = self.words.iter_mut().find(|place| place.is_none());
        *free.expect("a thing names few words") = Some((word, value));
    }

    /// A descriptor that ends the sleep when it is ready; the thing is ready then. One at most: a later one takes its place.
    pub fn descriptor(&mut self, source: Source<'a>, interest: Interest) {
        (self.source, self.is_stirred) = (Some((source, interest)), false);
    }

    /// A [descriptor](Self::descriptor) that ends the sleep when it is ready; the thing is then asked again.
    pub fn stirred_by(&mut self, source: Source<'a>, interest: Interest) {
        (self.source, self.is_stirred) = (Some((source, interest)), true);
    }

    /// The sleep ends after this time at the latest, and the thing is asked again.
    pub fn look_again(&mut self, after: Duration) {
        self.nap = Some(self.nap.map_or(after, |nap| nap.min(after)));
    }
}

/// As `poll` takes it.
pub(super) fn entry<'w>((source, interest): &'w (Source<'_>, Interest)) -> PollFd<'w> {
    let fd = match source {
        Source::Borrowed(fd) => *fd,
        Source::Kept(fd) => fd.as_fd(),
    };
    PollFd::from_borrowed_fd(fd, interest.flags())
}
