//! Any value that serde can write, in shared memory, always whole.
//!
//! | word | what it is |
//! |---|---|
//! | 0 | the lock |
//! | 1 | the version of the [`Twin`] |
//! | then, twice | how many bytes are used, and as many words as the capacity takes |
//!
//! Invariants: the encoding is made before the lock is taken, but in an update; the decoding is made of bytes that were
//! copied out and belong to one commit; a length from the memory is never believed beyond the capacity, which is told by
//! the length of the object. Held by `tests/encoded.rs` and `tests/value_steps.rs`.

mod error;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use procession_codec::{Codec, Message, Postcard, handles};
use procession_sys::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Fingerprint;
use crate::domain::Domain;
use crate::error::{NameError, Refusal, ShmError};
use crate::named::sealed::Parts;
use crate::place::{Hold, Place, WORD};
use crate::space::Space;
use crate::twin::{self, Twin};
use crate::wait::Wait;
use crate::whole::{self, Kind};

pub use error::EncodedError;

/// A value of any type that serde can write and read, up to a size, in shared memory; replaced as a whole.
///
/// *Shared* handle: `Clone`, and sending it duplicates; all clones and receivers see the same value. `Send` and `Sync`
/// whatever `T` is, since what is shared are bytes. It has memory, a descriptor and a mapping of its own: twice its
/// capacity, reserved when it is made. Handles inside of the value are not carried: [`EncodedError::Encode`].
///
/// As [`Value`](crate::Value) does, it keeps two copies and a lock for writers; readers take none. The type and the codec
/// are in the fingerprint, by name, so that a receiver that expects another type refuses it.
///
/// # If a peer dies
/// A thread that is killed while it writes leaves the old value or the new one, and its lock to the next who asks.
///
/// # After a fork
/// As for a [`Value`](crate::Value): a forked child holds nothing that its parent held.
///
/// # Examples
/// ```
/// use procession_shm::{Encoded, EncodedError};
/// use std::collections::BTreeMap;
///
/// let best = Encoded::<BTreeMap<String, u32>>::with_capacity(4096, &BTreeMap::new())?;
/// let other = best.clone(); // or received from a pipe
/// other.update(|scores| scores.insert("ada".into(), 7))?;
/// assert_eq!(best.get()?["ada"], 7);
/// let long = (0..4096).map(|n| (n.to_string(), n)).collect();
/// assert!(matches!(best.set(&long), Err(EncodedError::TooLarge { capacity: 4096, .. })));
/// assert_eq!(best.get()?.len(), 1);
/// # Ok::<(), EncodedError>(())
/// ```
pub struct Encoded<T: Message, C: Codec = Postcard> {
    place: Place,
    kind: PhantomData<fn(T, C) -> T>,
}

/// The smallest object: without any capacity.
const N_WORDS_EMPTY: usize = Twin::n_words(1);

impl<T: Message, C: Codec> Encoded<T, C> {
    /// Makes one with room for `bytes` bytes of encoding, rounded up to a multiple of 8, and this value in it.
    ///
    /// # Errors
    /// [`EncodedError::TooLarge`] and [`EncodedError::Encode`] for the value; [`EncodedError::Memory`].
    pub fn with_capacity(bytes: usize, value: &T) -> Result<Self, EncodedError> {
        let encoded = Self::encode(value)?;
        let capacity = bytes.checked_next_multiple_of(WORD).unwrap_or(usize::MAX);
        if encoded.len() > capacity {
            return Err(EncodedError::TooLarge { len: encoded.len(), capacity });
        }
        // A sum beyond any memory is refused like one just below it.
        let len = capacity.saturating_mul(2).saturating_add(Place::len(N_WORDS_EMPTY));
        let this = Self::find(whole::create(Self::kind(), len)?)?;
        store(this.twin().first(), &encoded);
        Ok(this)
    }

    /// How many bytes an encoding may have.
    #[must_use]
    pub fn capacity(&self) -> usize {
        (self.place.words().len() - N_WORDS_EMPTY) / 2 * WORD
    }

    /// The value, as it was committed last.
    ///
    /// Copies its bytes without the lock, as [`Value::get`](crate::Value::get) does, then decodes the copy.
    ///
    /// # Errors
    /// [`EncodedError::Damaged`] and [`EncodedError::Decode`], if somebody wrote something else over it;
    /// [`EncodedError::Memory`], if there is no room for the copy, which has as many bytes as the memory says, within the
    /// capacity. Decoding takes memory in proportion to those bytes.
    pub fn get(&self) -> Result<T, EncodedError> {
        let mut bytes = Vec::new();
        let len = self.twin().read(&self.place, |copy| load(copy, &mut bytes))?;
        self.decode(len, &bytes)
    }

    /// Replaces the value. Encodes it first, then takes the lock.
    ///
    /// Blocks while another thread holds the lock.
    ///
    /// # Errors
    /// [`EncodedError::TooLarge`]; [`EncodedError::Encode`]; [`EncodedError::Lock`]. The value is then as it was.
    ///
    /// # If a peer dies
    /// If this thread is killed in here, the value is the old or the new one. If the holder dies, this thread goes on.
    pub fn set(&self, value: &T) -> Result<(), EncodedError> {
        self.replace(value, Deadline::NEVER)
    }

    /// [`set`](Self::set), unless another thread holds the lock.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn try_set(&self, value: &T) -> Result<(), EncodedError> {
        self.replace(value, Deadline::now())
    }

    /// [`set`](Self::set), which waits no longer than this.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_timeout(&self, value: &T, timeout: Duration) -> Result<(), EncodedError> {
        self.replace(value, Deadline::after(timeout))
    }

    /// [`set`](Self::set), which waits no longer than until then.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_until(&self, value: &T, deadline: Instant) -> Result<(), EncodedError> {
        self.replace(value, Deadline::at(deadline))
    }

    /// Changes the value, and returns what `change` returns. No other change comes between.
    ///
    /// Blocks while another thread holds the lock. Decoding, `change` and encoding run under the lock; `change` may call
    /// [`get`](Self::get) of this value, which is then the old one, and nothing that takes this lock.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`set`](Self::set). The value is then as it was, even though `change` may have run.
    ///
    /// # Panics
    /// If `change` does. The value is then the old one.
    ///
    /// # If a peer dies
    /// As [`set`](Self::set).
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, EncodedError> {
        self.change(change, Deadline::NEVER)
    }

    /// [`update`](Self::update), unless another thread holds the lock; `change` does not run then.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn try_update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, EncodedError> {
        self.change(change, Deadline::now())
    }

    /// [`update`](Self::update), which waits no longer than this; `change` itself may take longer.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_timeout<R>(
        &self,
        timeout: Duration,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, EncodedError> {
        self.change(change, Deadline::after(timeout))
    }

    /// [`update`](Self::update), which waits no longer than until then; `change` itself may take longer.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_until<R>(
        &self,
        deadline: Instant,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, EncodedError> {
        self.change(change, Deadline::at(deadline))
    }

    fn replace(&self, value: &T, deadline: Deadline) -> Result<(), EncodedError> {
        let bytes = self.fitting(value)?;
        let hold = self.place.hold(Wait(deadline))?;
        self.finish(hold, &bytes);
        Ok(())
    }

    fn change<R>(&self, change: impl FnOnce(&mut T) -> R, deadline: Deadline) -> Result<R, EncodedError> {
        let hold = self.place.hold(Wait(deadline))?;
        let mut bytes = Vec::new();
        let len = self.twin().read_held(&hold, |copy| load(copy, &mut bytes))?;
        let mut value = self.decode(len, &bytes)?;
        let answer = change(&mut value);
        let bytes = self.fitting(&value)?;
        self.finish(hold, &bytes);
        Ok(answer)
    }

    fn finish(&self, hold: Hold<'_>, bytes: &[u8]) {
        self.twin().finish(hold, |copy| store(copy, bytes));
    }

    /// The encoding, if there is room for it.
    fn fitting(&self, value: &T) -> Result<Vec<u8>, EncodedError> {
        let (bytes, capacity) = (Self::encode(value)?, self.capacity());
        if bytes.len() > capacity {
            return Err(EncodedError::TooLarge { len: bytes.len(), capacity });
        }
        Ok(bytes)
    }

    fn encode(value: &T) -> Result<Vec<u8>, EncodedError> {
        let mut bytes = Vec::new();
        handles::refuse(|| C::encode_into(value, &mut bytes))?;
        Ok(bytes)
    }

    fn decode(&self, len: u64, bytes: &[u8]) -> Result<T, EncodedError> {
        if len != bytes.len() as u64 {
            return Err(EncodedError::Damaged { len, capacity: self.capacity() });
        }
        Ok(handles::refuse(|| C::decode(bytes))?)
    }

    fn twin(&self) -> Twin<'_> {
        Twin::new(self.place.words())
    }

    fn kind() -> Kind {
        let codec = Fingerprint::new(C::NAME, 0, WORD);
        let fingerprint = Fingerprint::new("Encoded", 0, WORD).field(type_name::<T>(), 0, codec);
        Kind { name: "procession-encoded", fingerprint }
    }

    /// What another process has made: its length says how much room there is.
    fn find(space: Space) -> Result<Self, ShmError> {
        let len = space.object().len();
        let n_words = (len / WORD).checked_sub(1).filter(|n| *n >= N_WORDS_EMPTY && n % 2 == 1);
        let whole = n_words.filter(|n| Place::len(*n) == len);
        let place = Place::new(space, whole.ok_or(Refusal::Damaged)?)?;
        Ok(Self { place, kind: PhantomData })
    }
}

/// Copies out what is used of a copy, and returns how many bytes it says that is; more than there are is damage, of which
/// nothing is copied.
fn load(copy: &[AtomicU64], bytes: &mut Vec<u8>) -> Result<u64, ShmError> {
    let (len, words) = copy.split_first().expect("a copy begins with its length");
    let len = len.load(Relaxed);
    twin::load_all(words, len, bytes)?;
    Ok(len)
}

fn store(copy: &[AtomicU64], bytes: &[u8]) {
    let (len, words) = copy.split_first().expect("a copy begins with its length");
    len.store(bytes.len() as u64, Relaxed);
    twin::store(words, bytes);
}

/// Another handle of the same value.
impl<T: Message, C: Codec> Clone for Encoded<T, C> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), kind: PhantomData }
    }
}

/// Shows how much room there is, and not the value, which would have to be decoded.
impl<T: Message, C: Codec> fmt::Debug for Encoded<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = (type_name::<T>(), C::NAME);
        f.debug_struct("Encoded").field("of", &name).field("capacity", &self.capacity()).finish()
    }
}

/// An encoded value whose descriptor came by other ways than a message. The domain of its users must be known here.
///
/// # Errors
/// [`ShmError::Refused`] for anything but an encoded value of this type and codec. The descriptor is then closed.
impl<T: Message, C: Codec> TryFrom<OwnedFd> for Encoded<T, C> {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        Self::from_parts(fd, None)
    }
}

impl<T: Message, C: Codec> AsFd for Encoded<T, C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.place.space().as_fd()
    }
}

impl<T: Message, C: Codec> Parts for Encoded<T, C> {
    fn parts(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), NameError> {
        Ok((self.as_fd(), self.place.space().domain().map(AsFd::as_fd)))
    }

    fn from_parts(memory: OwnedFd, domain: Option<Domain>) -> Result<Self, ShmError> {
        Self::find(whole::adopt(memory, domain, Self::kind())?)
    }
}

impl<T: Message, C: Codec> Serialize for Encoded<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        whole::serialize(self.place.space(), serializer)
    }
}

impl<'de, T: Message, C: Codec> Deserialize<'de> for Encoded<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole::deserialize(deserializer, Self::kind(), Self::find)
    }
}
