//! A list of a fixed number of slots in shared memory, each of which holds an item of any of a few types.
//!
//! | words | what they are |
//! |---|---|
//! | 0 | the lock, of all slots |
//! | 1 | how many slots there are |
//! | one for each slot | its capacity in bytes, a multiple of 8 |
//! | then, for each slot | a [`Twin`]: a version, and two copies of a head (kind and length) and the capacity |
//!
//! Invariants: number and capacities are checked against the length of the object when a handle is made, and copied:
//! what somebody writes over them later moves nothing; an item is replaced by one store. Held by `tests/list.rs` and
//! `tests/value_steps.rs`.

mod error;
mod item;

use std::fmt;
use std::iter::repeat_n;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use procession_sys::{Deadline, memory};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Fingerprint;
use crate::domain::Domain;
use crate::error::{NameError, Refusal, ShmError};
use crate::named::sealed::Parts;
use crate::place::{Place, WORD};
use crate::space::Space;
use crate::twin::{self, Twin};
use crate::wait::Wait;
use crate::whole::{self, Kind};

pub use error::ListError;
pub use item::Item;

/// A list of a fixed number of slots in shared memory. A slot holds an [`Item`] of any type that fits into it.
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same items. `Send` and `Sync`.
/// It has memory, a descriptor and a mapping of its own, reserved when it is made.
///
/// An item is read whole and replaced whole, also when it is a long text, and whoever is killed meanwhile. Reading takes
/// no lock; one lock for the list keeps writers apart. Two items are read one after the other: for items that belong
/// together there is [`Value`](crate::Value).
///
/// Coming from Python: this is `multiprocessing.shared_memory.ShareableList`, with its sizes: a slot made for a text or
/// for bytes has room for their length rounded up to more, a multiple of 8, and every other for 8 bytes. What differs:
/// Python has no lock, so that a reader may see half of an item; there a text that ends in NULs comes back without them;
/// here negative indices are out of range, and `shm` is a descriptor, not a name.
///
/// # If a peer dies
/// A thread that is killed while it sets an item leaves the old item or the new one, and its lock to the next who asks.
///
/// # Examples
/// ```
/// use procession_shm::{Item, List, ListError};
///
/// let list = List::from_items(["idle".into(), 0.into(), 2.5.into(), Item::None])?;
/// let other = list.clone(); // or received from a pipe
/// other.set(0, "working")?; // up to 8 bytes fit, where 4 were at first
/// other.set(3, true)?;
/// assert_eq!(list.get(0)?, "working".into());
/// assert_eq!(list.index_of(&true.into())?, Some(3));
/// assert!(matches!(list.set(0, "on strike"), Err(ListError::TooLarge { len: 9, capacity: 8, .. })));
/// assert!(matches!(list.get(4), Err(ListError::OutOfRange { index: 4, len: 4 })));
/// # Ok::<(), ListError>(())
/// ```
#[doc(alias = "ShareableList")]
#[derive(Clone)]
pub struct List {
    place: Place,
    /// Where the twin of each slot is among the words of the place.
    slots: Arc<Vec<Range<usize>>>,
}

const KIND: Kind = Kind { name: "procession-list", fingerprint: Fingerprint::new("List", 0, WORD) };

impl List {
    /// Makes a list of these items. Each slot has room for what was in it at first: see the type.
    ///
    /// # Errors
    /// [`ListError::Memory`].
    pub fn from_items(items: impl IntoIterator<Item = Item>) -> Result<Self, ListError> {
        let items: Vec<_> = items.into_iter().collect();
        let capacities = items.iter().map(Item::capacity);
        let n_words = capacities.clone().map(n_words_of).fold(0, usize::saturating_add);
        let list = Self::with_capacities(items.len(), n_words, capacities)?;
        for (slot, item) in list.slots.iter().zip(&items) {
            item.store(list.twin(slot).first());
        }
        Ok(list)
    }

    /// Makes a list of `slots` slots that hold [`Item::None`], each with room for texts of so many bytes: rounded up to a
    /// multiple of 8, and 8 at least.
    ///
    /// # Errors
    /// [`ListError::Memory`].
    pub fn with_capacity(slots: usize, bytes: usize) -> Result<Self, ListError> {
        let capacity = bytes.max(1).checked_next_multiple_of(WORD).unwrap_or(usize::MAX / WORD * WORD);
        let n_words = n_words_of(capacity).saturating_mul(slots);
        Self::with_capacities(slots, n_words, repeat_n(capacity, slots))
    }

    /// `n_words` is what all slots take. More than any memory is refused like a little more than there is.
    fn with_capacities(
        n_slots: usize,
        n_words: usize,
        capacities: impl Iterator<Item = usize>,
    ) -> Result<Self, ListError> {
        let n_words = n_words.saturating_add(n_slots).saturating_add(1);
        let len = n_words.saturating_add(1).saturating_mul(WORD);
        let place = Place::new(whole::create(KIND, len)?, n_words)?;
        let (number, table) = place.words().split_first().expect("there is a word for the number of slots");
        number.store(n_slots as u64, Relaxed);
        for (word, capacity) in table.iter().zip(capacities) {
            word.store(capacity as u64, Relaxed);
        }
        let slots = layout(place.words())?;
        Ok(Self { place, slots })
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many bytes a text in this slot may have.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`].
    pub fn capacity(&self, index: usize) -> Result<usize, ListError> {
        Ok(capacity_of(self.slot(index)?))
    }

    /// The item in this slot, as it was set last. Takes no lock.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`]; [`ListError::Damaged`], if somebody wrote something else over it; [`ListError::Memory`],
    /// if there is no room for the copy, which has as many bytes as the memory says, within the capacity.
    pub fn get(&self, index: usize) -> Result<Item, ListError> {
        let twin = self.twin(self.slot(index)?);
        let mut bytes = Vec::new();
        let head = twin.read(&self.place, |copy| item::load(copy, &mut bytes))?;
        Item::from_parts(head, bytes).ok_or(ListError::Damaged { index })
    }

    /// Replaces the item in this slot, by one of any type.
    ///
    /// Blocks while another thread sets an item of this list.
    ///
    /// # Errors
    /// [`ListError::OutOfRange`]; [`ListError::TooLarge`]; [`ListError::Lock`]. The item is then as it was.
    ///
    /// # If a peer dies
    /// If this thread is killed in here, the slot has the old or the new item. If the holder dies, this thread goes on.
    pub fn set(&self, index: usize, item: impl Into<Item>) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::NEVER)
    }

    /// [`set`](Self::set), unless another thread holds the lock.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn try_set(&self, index: usize, item: impl Into<Item>) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::now())
    }

    /// [`set`](Self::set), which waits no longer than this.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_timeout(
        &self,
        index: usize,
        item: impl Into<Item>,
        timeout: Duration,
    ) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::after(timeout))
    }

    /// [`set`](Self::set), which waits no longer than until then.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_until(&self, index: usize, item: impl Into<Item>, deadline: Instant) -> Result<(), ListError> {
        self.replace(index, &item.into(), Deadline::at(deadline))
    }

    /// All items, each read when it is asked for.
    ///
    /// # Errors
    /// Of each item, as [`get`](Self::get).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Item, ListError>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The first slot with an item that is equal to this; `None` if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn index_of(&self, item: &Item) -> Result<Option<usize>, ListError> {
        for (index, found) in self.iter().enumerate() {
            if found? == *item {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// How many slots have an item that is equal to this.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count(&self, item: &Item) -> Result<usize, ListError> {
        self.iter().try_fold(0, |n, found| Ok(n + usize::from(found? == *item)))
    }

    fn replace(&self, index: usize, item: &Item, deadline: Deadline) -> Result<(), ListError> {
        let slot = self.slot(index)?;
        let (len, capacity) = (item.len(), capacity_of(slot));
        if len > capacity {
            return Err(ListError::TooLarge { index, len, capacity });
        }
        let hold = self.place.hold(Wait(deadline)).map_err(ListError::Lock)?;
        self.twin(slot).finish(hold, |copy| item.store(copy));
        Ok(())
    }

    fn slot(&self, index: usize) -> Result<&Range<usize>, ListError> {
        self.slots.get(index).ok_or(ListError::OutOfRange { index, len: self.len() })
    }

    fn twin(&self, slot: &Range<usize>) -> Twin<'_> {
        Twin::new(&self.place.words()[slot.clone()])
    }

    /// What another process has made.
    fn find(space: Space) -> Result<Self, ShmError> {
        let len = space.object().len();
        let n_words = (len / WORD).checked_sub(1).filter(|n| Place::len(*n) == len);
        let place = Place::new(space, n_words.ok_or(Refusal::Damaged)?)?;
        let slots = layout(place.words())?;
        Ok(Self { place, slots })
    }
}

/// How many words a slot takes.
const fn n_words_of(capacity: usize) -> usize {
    Twin::n_words(1 + twin::words_of(capacity))
}

const fn capacity_of(slot: &Range<usize>) -> usize {
    (slot.end - slot.start - n_words_of(0)) / 2 * WORD
}

/// Where the slots are, if the table describes just these words. Each word is read once.
fn layout(words: &[AtomicU64]) -> Result<Arc<Vec<Range<usize>>>, ShmError> {
    let table = table(words).ok_or(Refusal::Damaged)?;
    let mut slots = Vec::new();
    memory::grow(&mut slots, table.len())?;
    let mut end = 1 + table.len();
    for word in table {
        let begin = end;
        end = end_of_slot(words, begin, word.load(Relaxed)).ok_or(Refusal::Damaged)?;
        slots.push(begin..end);
    }
    if end == words.len() { Ok(Arc::new(slots)) } else { Err(Refusal::Damaged.into()) }
}

/// The capacities: no more than there can be slots with them.
fn table(words: &[AtomicU64]) -> Option<&[AtomicU64]> {
    let (n_slots, rest) = words.split_first()?;
    let n_slots = usize::try_from(n_slots.load(Relaxed)).ok()?;
    rest.get(..n_slots).filter(|_| n_slots <= rest.len() / (1 + n_words_of(0)))
}

fn end_of_slot(words: &[AtomicU64], begin: usize, capacity: u64) -> Option<usize> {
    let capacity = usize::try_from(capacity).ok()?;
    let fits = capacity <= words.len() * WORD && capacity.is_multiple_of(WORD);
    begin.checked_add(fits.then(|| n_words_of(capacity))?).filter(|end| *end <= words.len())
}

/// Shows the items as they are now.
impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Result::ok)).finish()
    }
}

/// A list whose descriptor came by other ways than a message. The domain of its users must be known here.
///
/// # Errors
/// [`ShmError::Refused`] for anything but a list. The descriptor is then closed.
impl TryFrom<OwnedFd> for List {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        Self::from_parts(fd, None)
    }
}

impl AsFd for List {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.space().as_fd()
    }
}

impl Parts for List {
    fn parts(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), NameError> {
        Ok((self.as_fd(), self.place.space().domain().map(AsFd::as_fd)))
    }

    fn from_parts(memory: OwnedFd, domain: Option<Domain>) -> Result<Self, ShmError> {
        Self::find(whole::adopt(memory, domain, KIND)?)
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        whole::serialize(self.place.space(), serializer)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole::deserialize(deserializer, KIND, Self::find)
    }
}
