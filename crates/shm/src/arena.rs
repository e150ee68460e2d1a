//! Words of a protocol, and behind them bytes that get memory where it is asked for.
//!
//! Invariants: the words are touched by their own methods only; bytes are copied in and out, or left to whoever asks for
//! their address and answers for it. Held by `tests/arena.rs`.
//!
//! # Safety
//! As for the words of a [`Cell`](crate::Cell): types of [`Words`](procession_raw::Words) are made of 32-bit atomics, of
//! which all bytes are values. These are words that nobody builds guards on, so what others do with them breaks nothing.
#![allow(unsafe_code, reason = "leads to words in mapped memory")]

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use procession_codec::handles;
use procession_raw::{Id, Unguarded};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::domain::Domain;
use crate::error::ShmError;
use crate::object::Object;
use crate::space::Space;
use crate::wait::Party;
use crate::{Fingerprint, header};

/// The words of a protocol, and bytes whose meaning is that protocol's: what queues are built from. The bytes are address
/// space first; memory is taken where [`reserve`](Self::reserve) asks for it.
///
/// *Shared* handle: `Clone`, and sending it duplicates. What lies where, and what may be believed of it, is the business of
/// its user: a peer may have stored anything.
///
/// # If a peer dies
/// The bytes stay, with what it wrote.
///
/// # Examples
/// ```
/// use procession_raw::Event;
/// use procession_shm::{Arena, Fingerprint};
///
/// let arena = Arena::<Event>::create(Fingerprint::new("board", 0, 1), 1 << 30, 4096)?;
/// arena.write(0, b"hello")?;
/// arena.words().is_set();
/// arena.reserve(1 << 20, 5)?;
/// arena.write(1 << 20, b"world")?;
/// let mut bytes = [0; 5];
/// arena.read(0, &mut bytes)?;
/// assert_eq!(&bytes, b"hello");
/// assert!(arena.write(1 << 30, b"!").is_err());
/// # Ok::<(), procession_shm::ShmError>(())
/// ```
pub struct Arena<W: Unguarded> {
    space: Space,
    home: Home,
    /// How many bytes there are behind the words.
    len: usize,
    words: PhantomData<W>,
}

/// The domain of those who use it, at hand.
#[derive(Clone)]
struct Home {
    domain: Domain,
    /// In the memory of the domain.
    obituary: NonNull<AtomicU32>,
}

// SAFETY: the word is in memory that `domain` keeps mapped, and is not bound to a thread.
unsafe impl Send for Home {}
// SAFETY: as above; a home itself never changes.
unsafe impl Sync for Home {}

impl<W: Unguarded> Arena<W> {
    /// Where the bytes begin, behind the words: so that they are aligned as the data of an object is.
    const BYTES_AT: usize = size_of::<W>().next_multiple_of(header::LEN);

    /// Words that are idle, and `len` bytes, all zero, of which the first `reserved` have memory. `kind` tells it from
    /// arenas of other uses.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`]; [`ShmError::Os`] without descriptors or address space; [`ShmError::Domain`].
    pub fn create(kind: Fingerprint, len: usize, reserved: usize) -> Result<Self, ShmError> {
        let with_words = |len: usize| len.saturating_add(Self::BYTES_AT).min(isize::MAX as usize);
        let object = Object::create_sparse(
            Domain::current()?,
            "procession-arena",
            Self::fingerprint(kind),
            with_words(len),
            with_words(reserved.min(len)),
        )?;
        Self::new(object)
    }

    fn fingerprint(kind: Fingerprint) -> Fingerprint {
        let words = Fingerprint::new(W::NAME, size_of::<W>(), align_of::<W>());
        Fingerprint::new("procession-arena", 0, 1).field("words", 0, words).field(
            "bytes",
            Self::BYTES_AT,
            kind,
        )
    }

    fn new(object: Arc<Object>) -> Result<Self, ShmError> {
        const { assert!(align_of::<W>() <= header::LEN, "nothing in shared memory is aligned to more") };
        if object.len() < Self::BYTES_AT {
            let (found, expected) = (object.len() as u64, Self::BYTES_AT as u64);
            return Err(crate::Refusal::Length { found, expected }.into());
        }
        let domain = object.domain().cloned().ok_or(crate::Refusal::Domain)?;
        let home = Home { obituary: NonNull::from(domain.obituary()), domain };
        let len = object.len() - Self::BYTES_AT;
        Ok(Self { space: Space::whole(object, "Queue"), home, len, words: PhantomData })
    }

    /// The words.
    #[inline]
    #[must_use]
    pub fn words(&self) -> &W {
        // SAFETY: the object is as long as the words at least (`new`), is mapped while it is borrowed, and its data is
        // aligned for them; words are atomics, of which all bytes are values.
        unsafe { &*self.space.data().cast() }
    }

    /// How many bytes there are, with memory or without.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `n` words of eight bytes from `at` on: for what has to be whole.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    ///
    /// # Panics
    /// If `at` is no multiple of 8.
    #[inline]
    pub fn atomics(&self, at: usize, n: usize) -> Result<&[AtomicU64], ShmError> {
        assert!(at.is_multiple_of(align_of::<AtomicU64>()), "words at the odd offset {at}");
        let bytes = n.saturating_mul(size_of::<AtomicU64>());
        match at.checked_add(bytes) {
            Some(end) if end <= self.len => {}
            _ => return Err(ShmError::OutOfBounds { offset: at, len: bytes, size: self.len }),
        }
        let first = self.space.data().wrapping_add(Self::BYTES_AT + at).cast();
        // SAFETY: the words lie in the object, as was just checked, which is mapped while it is borrowed; its data is
        // aligned to more than 8, and so are `BYTES_AT` and `at`; this process touches these bytes with atomics only,
        // or where it answers for keeping others out.
        Ok(unsafe { slice::from_raw_parts(first, n) })
    }

    /// Words of a protocol at `at`, of which there are more than a type can say.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    ///
    /// # Panics
    /// If `at` is no multiple of 8.
    #[inline]
    pub fn words_at<V: Unguarded>(&self, at: usize) -> Result<&V, ShmError> {
        const {
            assert!(
                align_of::<V>() <= align_of::<AtomicU64>(),
                "of such words it is known where they may lie"
            );
        };
        assert!(at.is_multiple_of(align_of::<AtomicU64>()), "words at the odd offset {at}");
        let len = size_of::<V>();
        match at.checked_add(len) {
            Some(end) if end <= self.len => {}
            _ => return Err(ShmError::OutOfBounds { offset: at, len, size: self.len }),
        }
        let first = self.space.data().wrapping_add(Self::BYTES_AT + at);
        // SAFETY: the words lie in the object, as was just checked, which is mapped while it is borrowed; its data is
        // aligned to more than 8, and so are `BYTES_AT` and `at`; words are atomics, of which all bytes are values.
        Ok(unsafe { &*first.cast() })
    }

    /// `N` words of eight bytes from `at` on, if they lie in it: for ways where an error would cost more than the words.
    ///
    /// # Panics
    /// If `at` is no multiple of 8.
    #[inline(always)]
    #[must_use]
    pub fn group<const N: usize>(&self, at: usize) -> Option<&[AtomicU64; N]> {
        assert!(at.is_multiple_of(align_of::<AtomicU64>()), "words at an odd offset");
        let room = self.len.checked_sub(size_of::<[AtomicU64; N]>())?;
        let first = self.space.data().wrapping_add(Self::BYTES_AT).wrapping_add(at);
        // SAFETY: the words lie in the object, as `at` is at most `room`; the rest is as in `atomics`.
        (at <= room).then(|| unsafe { &*first.cast() })
    }

    /// Fetches the line of cache at `at`, to write it soon: whoever has it loses it. A hint: nothing changes, wherever it
    /// points.
    #[inline(always)]
    pub fn will_write(&self, at: usize) {
        let place = self.space.data().wrapping_add(Self::place(at));
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads and writes nothing, and of an address that is not mapped it does nothing.
        unsafe {
            asm!("prefetchw [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = place;
    }

    /// Fetches the line of cache at `at`, to read it soon. A hint, as [`will_write`](Self::will_write).
    #[inline(always)]
    pub fn will_read(&self, at: usize) {
        let place = self.space.data().wrapping_add(Self::place(at));
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads and writes nothing, and of an address that is not mapped it does nothing.
        unsafe {
            asm!("prefetcht0 [{}]", in(reg) place, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = place;
    }

    /// Copies the bytes from `at` on. While another writes them, these are old and new ones in any mixture.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    #[inline]
    pub fn read(&self, at: usize, bytes: &mut [u8]) -> Result<(), ShmError> {
        self.space.object().read(Self::place(at), bytes)
    }

    /// Copies `bytes` to `at`, where memory should have been reserved.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    #[inline]
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<(), ShmError> {
        self.space.object().write(Self::place(at), bytes)
    }

    /// The address of `len` bytes from `at` on, mapped while this handle lives: for who keeps others from them, and
    /// itself from what others may do.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`].
    pub fn address(&self, at: usize, len: usize) -> Result<NonNull<u8>, ShmError> {
        let place = self.space.object().inside(Self::place(at), len)?;
        Ok(NonNull::new(self.space.data().wrapping_add(place)).expect("mapped memory is not at address 0"))
    }

    /// Takes memory for `len` bytes from `at` on, so that touching them cannot fail. Where they have it, nothing changes.
    ///
    /// # Errors
    /// [`ShmError::OutOfMemory`]; [`ShmError::OutOfBounds`].
    pub fn reserve(&self, at: usize, len: usize) -> Result<(), ShmError> {
        self.space.object().reserve(Self::place(at), len)
    }

    /// Gives the memory of `len` bytes from `at` on back to the system: they are zero then.
    ///
    /// # Errors
    /// [`ShmError::OutOfBounds`]; [`ShmError::Os`].
    pub fn release(&self, at: usize, len: usize) -> Result<(), ShmError> {
        self.space.object().release(Self::place(at), len)
    }

    /// The domain of those who use it.
    #[inline]
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.home.domain
    }

    /// The [obituary](Domain::obituary) of the domain.
    #[inline]
    #[must_use]
    pub fn obituary(&self) -> &AtomicU32 {
        // SAFETY: the word lies in the memory of the domain (`new`), which keeps it mapped for writing while it is
        // borrowed, and touches it with atomics only.
        unsafe { self.home.obituary.as_ref() }
    }

    /// The calling thread in the domain, if that can be told without looking for it.
    #[inline]
    #[must_use]
    pub fn id_at_hand(&self) -> Option<Id> {
        self.domain().id_at_hand()
    }

    /// The calling thread, to wait for something here.
    #[inline]
    #[must_use]
    pub fn party(&self) -> Party<'_> {
        Party::new(&self.space)
    }

    /// Where it is.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    #[inline]
    fn place(at: usize) -> usize {
        at.saturating_add(Self::BYTES_AT)
    }
}

impl<W: Unguarded> Clone for Arena<W> {
    fn clone(&self) -> Self {
        Self { space: self.space.clone(), home: self.home.clone(), ..*self }
    }
}

impl<W: Unguarded> fmt::Debug for Arena<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena of {} bytes behind {}", self.len(), W::NAME)
    }
}

/// How an arena looks in a message, with what tells its kind: see [`receive`](Arena::receive).
#[derive(Serialize, Deserialize)]
struct Sent {
    object: u32,
    domain: Domain,
}

impl<W: Unguarded> Arena<W> {
    /// Puts it into the message that is being encoded.
    ///
    /// # Errors
    /// No message is being encoded, or its carrier takes no handles.
    pub fn send<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object = handles::put(Arc::clone(self.space.object()) as _).map_err(ser::Error::custom)?;
        Sent { object, domain: self.domain().clone() }.serialize(serializer)
    }

    /// Takes one of this kind out of the message that is being decoded.
    ///
    /// # Errors
    /// What came is something else: a [`Refusal`](crate::Refusal), in the words of the deserializer.
    pub fn receive<'de, D: Deserializer<'de>>(deserializer: D, kind: Fingerprint) -> Result<Self, D::Error> {
        let Sent { object, domain } = Sent::deserialize(deserializer)?;
        let fd = handles::take(object).map_err(ShmError::Handle);
        fd.and_then(|fd| Object::adopt_sparse(domain, fd, Self::fingerprint(kind)))
            .and_then(Self::new)
            .map_err(de::Error::custom)
    }
}
