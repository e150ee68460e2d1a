//! Whether this process is still the one that it was: a fork makes a second one that remembers the same things.
//!
//! Invariants: [`epoch`] answers the same in every thread of one process, and something else in every process that was
//! forked from it, from the first instruction of the child on, also where the fork went past libc. Held by
//! `tests/life.rs`.
//!
//! One page of private memory is given to the kernel to be zeroed in the child (`MADV_WIPEONFORK`, Linux 4.14). Where
//! that is refused, the number of the process takes its place: a system call for each question.
//!
//! # Safety
//! The page is mapped once and never unmapped. It is this process's own and touched only as one atomic word, whose
//! address is in `WORD` from when it is known.
#![allow(unsafe_code, reason = "a page that the kernel wipes in a forked child")]

use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A time between two forks: equal within one process, different in its forked children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// How a fork is noticed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detection {
    /// By a page that the kernel wipes in the child: a load.
    WipedPage,
    /// By the number of the process, because the kernel refused the page: a system call.
    ProcessNumber,
}

/// The epoch of this process. Two loads, once it has been asked before.
///
/// # Examples
/// ```
/// use procession_sys::fork::epoch;
/// assert_eq!(epoch(), std::thread::spawn(epoch).join().unwrap());
/// ```
#[inline]
pub fn epoch() -> Epoch {
    let word = WORD.load(Acquire);
    if !word.is_null() {
        // SAFETY: what is stored there is the word of a page that is never unmapped.
        let epoch = unsafe { &*word }.load(Relaxed);
        if epoch != 0 {
            return Epoch(epoch);
        }
    }
    ask()
}

/// The page's word, once it is known; null before, and where there is none.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

#[cold]
fn ask() -> Epoch {
    let Some(word) = word() else { return Epoch(u64::from(std::process::id())) };
    match word.load(Relaxed) {
        0 => begin(word),
        epoch => Epoch(epoch),
    }
}

/// An epoch that can be asked whether it lasts: quicker than asking what the epoch is and comparing.
#[derive(Clone, Copy, Debug)]
pub struct Lasting {
    epoch: Epoch,
    /// The word of the page, or one that never changes where there is none.
    word: &'static AtomicU64,
}

impl Lasting {
    /// The epoch of this process.
    pub fn now() -> Self {
        static NO_WORD: AtomicU64 = AtomicU64::new(0);
        Self { epoch: epoch(), word: word().unwrap_or(&NO_WORD) }
    }

    /// Whether no fork lies between its making and this process. A load.
    ///
    /// # Examples
    /// ```
    /// assert!(procession_sys::fork::Lasting::now().lasts());
    /// ```
    #[inline]
    pub fn lasts(&self) -> bool {
        match self.word.load(Relaxed) {
            0 => self.epoch == epoch(),
            epoch => epoch == self.epoch.0,
        }
    }
}

/// How [`epoch`] knows.
pub fn detection() -> Detection {
    if word().is_some() { Detection::WipedPage } else { Detection::ProcessNumber }
}

/// The first question in a process that was just made.
///
/// The counter was copied by the fork and is at least what any ancestor's word holds, so a new word is new to all of
/// them. The word decides between threads that ask at once; the numbers of the losers stay unused.
#[cold]
fn begin(word: &AtomicU64) -> Epoch {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let next = LAST.fetch_add(1, Relaxed) + 1;
    match word.compare_exchange(0, next, Relaxed, Relaxed) {
        Ok(_) => Epoch(next),
        Err(earlier) => Epoch(earlier),
    }
}

fn word() -> Option<&'static AtomicU64> {
    static MAPPED: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    let word = *MAPPED.get_or_init(map);
    if let Some(word) = word {
        WORD.store(ptr::from_ref(word).cast_mut(), Release);
    }
    word
}

fn map() -> Option<&'static AtomicU64> {
    let len = rustix::param::page_size();
    // SAFETY: a new range at an address that the kernel chooses touches no memory of ours.
    let page = unsafe {
        rustix::mm::mmap_anonymous(
            ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    };
    let page = NonNull::new(page.ok()?)?;
    // SAFETY: the range was just mapped and holds nothing yet; the advice only says what a fork does with it.
    let wiped = unsafe { rustix::mm::madvise(page.as_ptr(), len, Advice::LinuxWipeOnFork) };
    if wiped.is_err() {
        // SAFETY: nobody else has the address.
        let _ = unsafe { rustix::mm::munmap(page.as_ptr(), len) };
        return None;
    }
    // SAFETY: a page is aligned for the word and larger, is never unmapped from here on, and is touched by atomics only.
    Some(unsafe { AtomicU64::from_ptr(page.as_ptr().cast()) })
}
