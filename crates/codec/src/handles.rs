//! The handle table: descriptors that travel beside the bytes of a value.
//!
//! A handle type (a pipe end, a lock, a [`Descriptor`](crate::Descriptor)) writes an *index* into the bytes
//! and puts its descriptor into the table of the message that is being encoded; its `Deserialize` takes the
//! descriptor with that index out of the table that arrived. serde hands no context to those
//! implementations, so the table is found through the current thread, and only inside of a scope:
//!
//! | scope | opened by | [`put`] | [`take`] | at its end |
//! |---|---|---|---|---|
//! | [`collect`] | a carrier, around encoding | next index | `NotCarried` | on success an [`Outgoing`]; else rolled back |
//! | [`supply`] | a carrier, around decoding | `NotCarried` | once for each index | what nobody took is closed |
//! | [`refuse`] | a carrier that cannot carry | `NotCarried` | `NotCarried` | nothing |
//! | none | | `NotCarried` | `NotCarried` | |
//!
//! Invariants: scopes nest like a stack, and only the innermost counts, because an implementation may
//! itself send something. A scope ends on every way out (a value, an error, a panic) and leaves the stack
//! as it was. No user code runs while the stack is borrowed: not serde's, not [`Carried`]'s, no `Drop` of a
//! handle. `tests/handles.rs` holds them.
//!
//! # Sharing and moving
//!
//! A *shared* handle leaves [`Carried::commit`] and [`Carried::rollback`] empty: sending it duplicates.
//! A *unique* one marks itself as moving before it calls [`put`] (and returns [`HandleError::Moved`] if it
//! was already), gives itself up in `commit`, and comes back in `rollback`. Each `put` has its own index,
//! also for one handle that is put twice: an index is taken once, so both receivers get their own.
//!
//! # If a peer dies
//!
//! The table is memory of one process. Descriptors that were committed but never taken are closed with the
//! message that the kernel drops, or by the receiver's scope.

mod scope;

use std::error::Error;
use std::fmt::{self, Debug, Display, Formatter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub(crate) use scope::{Attempt, Refusals};

/// A descriptor on its way out with the value being encoded.
///
/// `commit` and `rollback` must not panic. One of them is called, once, for each successful [`put`].
pub trait Carried: Send + Sync {
    /// What the receiver gets a duplicate of.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The carrier has accepted the message: a unique handle is now the receiver's.
    fn commit(&self) {}

    /// The message was not sent: a unique handle is the sender's again.
    fn rollback(&self) {}
}

impl Carried for OwnedFd {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Puts a handle into the table of the message being encoded and returns its index there.
///
/// To be called by `Serialize` implementations of handle types, which write the index.
///
/// # Errors
///
/// [`HandleError::NotCarried`] if the innermost scope is not [`collect`].
pub fn put(handle: Arc<dyn Carried>) -> Result<u32, HandleError> {
    scope::put(handle).map_err(scope::note)
}

/// Takes the descriptor with this index out of the table of the message being decoded.
///
/// To be called by `Deserialize` implementations of handle types, with the index they read.
///
/// # Errors
///
/// [`HandleError::NotCarried`] if the innermost scope is not [`supply`]; [`HandleError::Missing`] if no
/// descriptor with that index arrived; [`HandleError::Taken`] if it was taken before.
pub fn take(index: u32) -> Result<OwnedFd, HandleError> {
    scope::take(index).map_err(scope::note)
}

/// Remembers why a handle could not travel, and returns it to be made into serde's error.
///
/// serde reduces errors to texts; the codec looks here for what it was. [`put`] and [`take`] do it
/// themselves. To be called by handle types for errors of their own, above all [`HandleError::Moved`]:
/// `Err(serde::ser::Error::custom(handles::note(HandleError::Moved)))`.
#[must_use = "it must become the error of the serialization"]
pub fn note(error: HandleError) -> HandleError {
    scope::note(error)
}

/// Runs `encode` with an empty table and returns what it put there.
///
/// # Errors
///
/// What `encode` returns. Everything in the table is then rolled back, as after a panic.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, Descriptor, EncodeError, Postcard, handles};
///
/// let (reader, _writer) = std::io::pipe()?;
/// let value = ("log", Descriptor::from(std::os::fd::OwnedFd::from(reader)));
/// let mut bytes = Vec::new();
/// let ((), outgoing) = handles::collect(|| Postcard::encode_into(&value, &mut bytes))?;
/// assert_eq!(outgoing.len(), 1);
/// // A carrier now sends `bytes` together with `outgoing.descriptors()`, and then:
/// outgoing.commit();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn collect<T, E>(encode: impl FnOnce() -> Result<T, E>) -> Result<(T, Outgoing), E> {
    scope::collect(encode)
}

/// Runs `decode` with a table of these descriptors. What it did not take is closed at the end.
///
/// # Examples
///
/// ```
/// use procession_codec::handles;
/// use std::os::fd::OwnedFd;
///
/// let (reader, writer) = std::io::pipe()?;
/// let arrived: Vec<OwnedFd> = vec![reader.into(), writer.into()];
/// let reader = handles::supply(arrived, || handles::take(0))?;
/// // Nobody took the writer, so it is closed, and the reader is at its end.
/// assert_eq!(std::io::read_to_string(std::fs::File::from(reader))?, "");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn supply<T>(descriptors: Vec<OwnedFd>, decode: impl FnOnce() -> T) -> T {
    scope::supply(descriptors, decode)
}

/// Runs `work` without a table, whatever scope is around it: for carriers that cannot carry descriptors.
#[inline]
pub fn refuse<T>(work: impl FnOnce() -> T) -> T {
    scope::refuse(work)
}

/// Runs `encode` as one attempt: if it fails or panics, what it put into the table is taken out again and
/// rolled back, and earlier entries stay.
///
/// For implementations of [`Codec`](crate::Codec), whose caller may retry inside of one [`collect`].
///
/// # Errors
///
/// What `encode` returns, with the handle error that preceded it, if one did.
pub fn attempt<T, E>(encode: impl FnOnce() -> Result<T, E>) -> Result<T, (E, Option<HandleError>)> {
    let attempt = Attempt::start();
    match encode() {
        Ok(value) => {
            attempt.keep();
            Ok(value)
        }
        Err(error) => Err((error, attempt.refusal())),
    }
}

/// The handles that one encoding collected, in the order of their indices.
///
/// Send their descriptors, then [`commit`](Self::commit). Dropping it instead rolls each of them back.
#[must_use = "dropping it rolls the handles back"]
#[derive(Default)]
pub struct Outgoing(Vec<Arc<dyn Carried>>);

impl Outgoing {
    /// How many handles there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value held no handle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The descriptors to send, in the order of their indices.
    pub fn descriptors(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|handle| handle.descriptor())
    }

    /// The message was accepted by the carrier: unique handles move.
    pub fn commit(mut self) {
        for handle in std::mem::take(&mut self.0) {
            handle.commit();
        }
    }
}

impl Drop for Outgoing {
    #[inline]
    fn drop(&mut self) {
        while let Some(handle) = self.0.pop() {
            handle.rollback();
        }
    }
}

impl Debug for Outgoing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.descriptors()).finish()
    }
}

/// Why a handle could not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// Whatever carries this value carries no descriptors.
    NotCarried,
    /// The handle is unique and has moved to another process.
    Moved,
    /// The handle is unique and is being used: by another thread, or for a message that has only half arrived.
    Busy,
    /// The value refers to a descriptor that did not arrive with it.
    Missing {
        /// The index in the value.
        index: u32,
        /// How many descriptors arrived.
        carried: usize,
    },
    /// The value refers twice to one descriptor.
    Taken {
        /// The index in the value.
        index: u32,
    },
}

impl Display for HandleError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCarried => write!(f, "handles are not carried here"),
            Self::Moved => write!(f, "the handle has moved to another process"),
            Self::Busy => {
                f.write_str("the handle is in use: by another thread, or for a message that has half arrived")
            }
            Self::Missing { index, carried } => {
                write!(f, "handle {index} is missing, {carried} came with the message")
            }
            Self::Taken { index } => write!(f, "handle {index} was taken before"),
        }
    }
}

impl Error for HandleError {}
