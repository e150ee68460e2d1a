//! Parts of an array: items that one process has for itself, wherever it sends them.
//!
//! | place | true | moves to |
//! |---|---|---|
//! | `HERE` | this process has the lease, and nobody has a shared slice of the items | `SEEN`; `LEAVING` when it is encoded into a message |
//! | `SEEN` | the same, and somebody may have a shared slice | `HERE` by `settle`, which has the part for itself alone |
//! | `LEAVING` | a message that is not sent yet has it | `HERE` if it is not sent, with the lease of the next number; `AWAY` when it is |
//! | `AWAY` | somebody else has it, or will | |
//!
//! Invariants: a slice that can be written is there only in `HERE` and `SEEN`, and borrows the part for itself alone, so no part
//! leaves while there is a slice of it; the lease is given back once, with the last of the part and the message that did
//! not leave. Held by `tests/array_parts.rs`.
//!
//! # Safety
//! As in `array.rs`: the items of a part are those of its lease, in this process, while the place is `HERE` or `SEEN`.
//! Encoding borrows a part like reading it does; so a part that was read through a shared reference does not leave before
//! an exclusive one has shown that those slices are gone.
#![allow(unsafe_code, reason = "leads from a lease to its items")]

use std::fmt;
use std::iter::FusedIterator;
use std::ops::{Deref, DerefMut, Range};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::{slice, thread, vec};

use procession_codec::handles::{self, Carried, HandleError};
use procession_sys::claim;
use procession_sys::fork::{Epoch, epoch};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::Array;
use super::head::{Head, N_LEASES};
use super::lease::{LIVE, Lease, TRANSIT, TakenBack};
use crate::Plain;
use crate::domain::Domain;
use crate::error::{Refusal, ShmError};
use crate::space::Space;
use crate::wait::Party;

const HERE: u8 = 0;
const SEEN: u8 = 1;
const LEAVING: u8 = 2;
const AWAY: u8 = 3;

/// Some items of an [`Array`], for one process alone: a slice to read and write, while nobody else can reach them.
///
/// *Unique* handle: not `Clone`, and sending it moves it; `Send` and `Sync`. A part that was sent answers
/// [`HandleError::Moved`] if it is sent again, and panics if its items are used. A message that fails to be sent has
/// moved nothing. Dropping it gives the items back to the array; if the thread began to panic meanwhile, the array is
/// no longer [consistent](Array::is_consistent). It belongs to the process: any of its threads may use it.
///
/// A part that was read through a shared reference, which is what `part[0]` and `part.iter()` do, may still be read
/// somewhere when it is sent. It answers [`HandleError::Busy`] until [`settle`](Self::settle), which borrows it for itself
/// alone. Writing, and reading through an exclusive reference, mark nothing.
///
/// Each `part[i]` looks where the part is, which costs a load: take the slice once, as `iter_mut` does, where that counts.
///
/// # If a peer dies
/// Its process: whoever waits for the array gets the items, and the news. Whoever sent it: a part in a message stays
/// what it is. Whoever was to receive it, or the message itself: the items go back to the array.
/// (Where `/proc` or locks of open files cannot be had, a part in a message is as if its sender still had it.)
///
/// # Examples
/// ```
/// let array = procession_shm::Array::from_slice(&[1, 2, 3, 4, 5])?;
/// let mut parts: Vec<_> = array.split(2).collect();
/// assert_eq!((&parts[0][..], parts[1].range()), (&[1, 2, 3][..], 3..5));
/// parts[1].iter_mut().for_each(|item| *item *= 10);
/// assert!(array.try_read().is_err(), "there are parts");
/// drop(parts);
/// assert_eq!(array.read()[..], [1, 2, 3, 40, 50]);
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct Part<T: Plain> {
    items: NonNull<T>,
    len: usize,
    first: usize,
    hold: Arc<Hold>,
}

/// A part may go from thread to thread.
// SAFETY: it is the only way to its items, which are `Send`, and its lease belongs to the process.
unsafe impl<T: Plain> Send for Part<T> {}
/// Through a shared reference there are only shared references to the items.
// SAFETY: see the sentence above; plain items are `Sync`.
unsafe impl<T: Plain> Sync for Part<T> {}

/// A lease, its memory, and where the part is.
struct Hold {
    space: Space,
    /// The index of the lease.
    index: usize,
    /// Its state. Changes while the place is `LEAVING` only.
    state: AtomicU64,
    place: AtomicU8,
    /// A forked child has a copy of this, and holds nothing.
    epoch: Epoch,
    was_panicking: bool,
}

impl<T: Plain> Part<T> {
    /// For who has the lease of these items, which lie in the array.
    fn new(array: &Array<T>, first: usize, len: usize, lease: Lease) -> Self {
        assert!(first.checked_add(len).is_some_and(|end| end <= array.len), "a part of the array");
        let hold = Hold {
            space: array.space.clone(),
            index: lease.index,
            state: AtomicU64::new(lease.state),
            place: AtomicU8::new(HERE),
            epoch: epoch(),
            was_panicking: thread::panicking(),
        };
        // SAFETY: the part lies in the array, so this is inside of the mapping or at its end.
        let items = unsafe { array.items.add(first) };
        Self { items, len, first, hold: Arc::new(hold) }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which items of the array these are.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.len
    }

    /// Whether the part was sent.
    #[must_use]
    pub fn is_moved(&self) -> bool {
        self.hold.place.load(Ordering::Acquire) == AWAY
    }

    /// Shows, by borrowing it for itself alone, that nobody reads the part any more: it can then be sent.
    ///
    /// # Panics
    /// If the part was sent.
    pub fn settle(&mut self) {
        self.hold.alone();
    }
}

impl<T: Plain> Deref for Part<T> {
    type Target = [T];

    /// # Panics
    /// If the part was sent, or is being sent by another thread.
    #[inline]
    fn deref(&self) -> &[T] {
        if self.hold.place.load(Ordering::Relaxed) != SEEN {
            self.hold.see();
        }
        // SAFETY: this process has the lease, and the part does not leave while the place says that it is seen; the items
        // lie in the mapping, which the hold keeps, aligned, and nobody has a slice of them to write as the part is
        // borrowed.
        unsafe { slice::from_raw_parts(self.items.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Part<T> {
    /// # Panics
    /// If the part was sent.
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        if self.hold.place.load(Ordering::Relaxed) > SEEN {
            moved();
        }
        // SAFETY: this process has the lease, and the part cannot be encoded while it is borrowed for itself alone; else
        // as in `deref`, and nobody else has a slice of the items.
        unsafe { slice::from_raw_parts_mut(self.items.as_ptr(), self.len) }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("range", &self.range()).field("is_moved", &self.is_moved()).finish()
    }
}

impl Hold {
    /// From now on somebody may have a shared slice.
    #[cold]
    fn see(&self) {
        match self.place.compare_exchange(HERE, SEEN, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) | Err(SEEN) => {}
            Err(_) => moved(),
        }
    }

    /// For who has the part for itself alone: nobody has a shared slice.
    fn alone(&self) {
        match self.place.compare_exchange(SEEN, HERE, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(HERE) => {}
            Err(_) => moved(),
        }
    }

    fn leave(&self) -> Result<(), HandleError> {
        if self.epoch != epoch() {
            return Err(HandleError::Moved);
        }
        match self.place.compare_exchange(HERE, LEAVING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(SEEN) => Err(HandleError::Busy),
            Err(_) => Err(HandleError::Moved),
        }
    }

    fn lease(&self) -> Lease {
        Lease { index: self.index, state: self.state.load(Ordering::Relaxed) }
    }

    fn come_back(&self) {
        self.place.store(HERE, Ordering::Release);
    }
}

#[cold]
fn moved() -> ! {
    panic!("{}", HandleError::Moved)
}

impl Drop for Hold {
    fn drop(&mut self) {
        let is_ours = self.epoch == epoch() && *self.place.get_mut() <= SEEN;
        if !is_ours {
            return;
        }
        let head = Head::of(self.space.object());
        if !self.was_panicking && thread::panicking() {
            head.tell_broken();
        }
        head.release(self.lease());
    }
}

/// A part on its way out, with the claim that says so to others.
struct Departure {
    hold: Arc<Hold>,
    /// The first, and how many.
    items: (u64, u64),
    claim: Option<OwnedFd>,
}

impl Carried for Departure {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.claim.as_ref().map_or_else(|| self.hold.space.as_fd(), AsFd::as_fd)
    }

    fn commit(&self) {
        if self.claim.is_some() {
            Head::of(self.hold.space.object()).depart(self.hold.lease());
        }
        self.hold.place.store(AWAY, Ordering::Release);
    }

    /// The lease moves on, so that no copy of the message, whoever has one, is a part; if somebody received such a copy
    /// already, the part is there.
    fn rollback(&self) {
        let hold = &self.hold;
        if hold.epoch != epoch() {
            // The copy of a forked child, of a part that is its parent's.
            return hold.place.store(AWAY, Ordering::Release);
        }
        let head = Head::of(hold.space.object());
        match head.arrive(&Party::new(&hold.space), hold.lease(), self.items) {
            Ok(Ok(lease)) => hold.state.store(lease.state, Ordering::Relaxed),
            Ok(Err(TakenBack)) => return hold.place.store(AWAY, Ordering::Release),
            // The thread has no place in the domain, or somebody was stopped in the middle of a few stores.
            Err(_) => {}
        }
        hold.come_back();
    }
}

/// How a part looks in a message.
#[derive(Serialize, Deserialize)]
struct Sent {
    object: u32,
    domain: Domain,
    first: u64,
    len: u64,
    lease: u32,
    state: u64,
}

impl<T: Plain> Serialize for Part<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hold = &self.hold;
        hold.space.object().must_be_open().map_err(ser::Error::custom)?;
        hold.leave().map_err(|error| ser::Error::custom(handles::note(error)))?;
        let lease = hold.index as u32;
        let claim = claim::take(hold.space.as_fd(), lease).ok();
        let items = (self.first as u64, self.len as u64);
        let departure = Departure { hold: Arc::clone(hold), items, claim };
        let object = handles::put(Arc::new(departure)).map_err(|error| {
            hold.come_back();
            ser::Error::custom(error)
        })?;
        let domain = hold.space.domain().expect("that of the array").clone();
        let ((first, len), state) = (items, hold.lease().state);
        Sent { object, domain, first, len, lease, state }.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Sent::deserialize(deserializer)?;
        let fd = handles::take(sent.object).map_err(|error| de::Error::custom(ShmError::Handle(error)))?;
        arrive(fd, sent).map_err(de::Error::custom)
    }
}

/// Makes the part that came one of this process.
fn arrive<T: Plain>(fd: OwnedFd, sent: Sent) -> Result<Part<T>, Box<dyn std::error::Error>> {
    let Sent { domain, first, len, lease, state, .. } = sent;
    let array = Array::<T>::from_descriptor(fd, Some(domain))?;
    let index = usize::try_from(lease).ok().filter(|index| *index < N_LEASES);
    let index = index.ok_or(ShmError::Refused(Refusal::Damaged))?;
    let end = first.checked_add(len).filter(|end| *end <= array.len as u64);
    if end.is_none() || state & (LIVE | TRANSIT) != LIVE {
        return Err(ShmError::Refused(Refusal::Damaged).into());
    }
    let lease = array.head().arrive(&Party::new(&array.space), Lease { index, state }, (first, len))??;
    // The descriptor stays open for the memory; it claims nothing any more.
    let _ = claim::release(array.as_fd(), index as u32);
    Ok(Part::new(&array, first as usize, len as usize, lease))
}

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the part is no longer the sender's to give: it was received before, or taken back after a death",
        )
    }
}

impl std::error::Error for TakenBack {}

/// The parts of an array, in order. Dropping it gives back those that were not taken.
#[derive(Debug)]
#[must_use = "parts that nobody keeps are given back at once"]
pub struct Parts<T: Plain>(vec::IntoIter<Part<T>>);

impl<T: Plain> Parts<T> {
    /// For who has these leases, of the items that begin at `starts`.
    pub(super) fn new(array: &Array<T>, starts: &[usize], leases: &[Lease]) -> Self {
        let end = |at: usize| starts.get(at + 1).copied().unwrap_or(array.len);
        let parts = starts.iter().zip(leases).enumerate();
        let parts: Vec<_> =
            parts.map(|(at, (&first, &lease))| Part::new(array, first, end(at) - first, lease)).collect();
        Self(parts.into_iter())
    }
}

impl<T: Plain> Iterator for Parts<T> {
    type Item = Part<T>;

    fn next(&mut self) -> Option<Part<T>> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Plain> ExactSizeIterator for Parts<T> {}
impl<T: Plain> FusedIterator for Parts<T> {}
