//! Messages that are written and read where they lie in the queue.
//!
//! Invariants: a loan is the only user of its extent as long as it lives, which is until it is dropped or its thread dies.
//! Held by `tests/loan.rs`.
//!
//! # Safety
//! - The word of an extent names the thread that writes or reads it. Others take it only when that thread is dead, or when
//!   a process breaks the protocol on purpose. So nobody else touches the bytes that a slice here shows.
//! - The bytes lie in the mapping of the queue (checked when the address is asked for), which the end of the queue that is
//!   borrowed keeps; any bytes are valid.
//! - A loan stays in its thread: with a leaked loan whose slice another thread still uses, the death of the first would
//!   free the bytes. A forked child has a copy, which gives nothing back; who uses its slice breaks this.
#![allow(unsafe_code, reason = "makes slices of messages in mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::slice;
use std::time::{Duration, Instant};

use procession_codec::handles::HandleError;
use procession_codec::{Bytes, DecodeError};
use procession_shm::ShmError;
use procession_sys::Deadline;

use crate::error::{RecvError, SendFault};
use crate::extents::{Leased, Owned};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::traffic::{Parcel, Taken};
use crate::wire::AsBytes;

/// From this length on, a message is written in place; shorter ones are copied faster.
const WORTH_IT: usize = 1 << 10;

impl<T, W> Sender<T, W> {
    /// The bytes of an extent that is being filled.
    pub(crate) fn bytes_of<'a>(&self, extent: &'a mut Owned<'_>) -> Result<&'a mut [u8], ShmError> {
        let first = self.link().memory().arena().address(extent.at(), extent.len())?;
        // SAFETY: so many bytes lie at the address, in memory that the sender keeps mapped, which outlives the extent that
        // is borrowed; the word of the extent names this thread, so nobody else touches them.
        Ok(unsafe { slice::from_raw_parts_mut(first.as_ptr(), extent.len()) })
    }
}

impl Sender<Bytes, AsBytes> {
    /// Sends a message of `len` bytes that `fill` writes where it will lie. Blocks while there is no room for it.
    ///
    /// The bytes hold anything before, and other messages wait for nothing meanwhile. If `fill` panics, nothing is sent.
    ///
    /// # Errors
    /// [`SendFault`]; [`TooLarge`](SendFault::TooLarge) and a lack of memory come before `fill` is called.
    ///
    /// # Examples
    /// ```
    /// use procession_queue::{AsBytes, bounded_as};
    /// use procession_codec::Bytes;
    ///
    /// let (tx, rx) = bounded_as::<Bytes, AsBytes>(4, 64 << 20)?;
    /// tx.send_with(1 << 20, |bytes| bytes.fill(7))?;
    /// let message = rx.recv_ref()?;
    /// assert!(message.len() == 1 << 20 && message.iter().all(|byte| *byte == 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), SendFault> {
        self.send_with_by(len, fill, Deadline::NEVER)
    }

    /// [`send_with`](Self::send_with) without waiting: [`SendFault::Full`] if there is no room. `fill` is called all the
    /// same.
    ///
    /// # Errors
    /// [`SendFault`].
    pub fn try_send_with(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), SendFault> {
        self.send_with_by(len, fill, Deadline::now()).map_err(|fault| match fault {
            SendFault::TimedOut => SendFault::Full,
            fault => fault,
        })
    }

    /// [`send_with`](Self::send_with) for at most `timeout`.
    ///
    /// # Errors
    /// [`SendFault`].
    pub fn send_with_timeout(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
        timeout: Duration,
    ) -> Result<(), SendFault> {
        self.send_with_by(len, fill, Deadline::after(timeout))
    }

    /// [`send_with`](Self::send_with) until `instant`.
    ///
    /// # Errors
    /// [`SendFault`].
    pub fn send_with_until(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
        instant: Instant,
    ) -> Result<(), SendFault> {
        self.send_with_by(len, fill, Deadline::at(instant))
    }

    fn send_with_by(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        self.check_length(len)?;
        if len >= WORTH_IT
            && let Some(mut extent) = self.extent(len)?
        {
            fill(self.bytes_of(&mut extent).map_err(SendFault::Memory)?);
            return self.send_parcel(&Parcel::Extent(extent), deadline);
        }
        let mut bytes = Vec::new();
        let no_memory =
            |_| procession_sys::OsError::new("sending to a queue", std::io::ErrorKind::OutOfMemory);
        bytes.try_reserve_exact(len).map_err(|error| SendFault::Memory(no_memory(error).into()))?;
        bytes.resize(len, 0);
        fill(&mut bytes);
        self.send_encoded(&bytes, deadline)
    }
}

impl Receiver<Bytes, AsBytes> {
    /// Receives the next message, to be read where it lies: from 1 KiB on without any copy if it was sent by
    /// [`send_with`](Sender::send_with), from 16 KiB on however it was sent.
    ///
    /// Blocks until there is one. Its memory is used for other messages when the answer is dropped.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_ref(&self) -> Result<Loan<'_>, RecvError> {
        self.recv_ref_by(Deadline::NEVER)
    }

    /// [`recv_ref`](Self::recv_ref) without waiting: else [`RecvError::Empty`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn try_recv_ref(&self) -> Result<Loan<'_>, RecvError> {
        self.recv_ref_by(Deadline::now()).map_err(|error| match error {
            RecvError::TimedOut => RecvError::Empty,
            error => error,
        })
    }

    /// [`recv_ref`](Self::recv_ref) for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_ref_timeout(&self, timeout: Duration) -> Result<Loan<'_>, RecvError> {
        self.recv_ref_by(Deadline::after(timeout))
    }

    /// [`recv_ref`](Self::recv_ref) until `instant`.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_ref_until(&self, instant: Instant) -> Result<Loan<'_>, RecvError> {
        self.recv_ref_by(Deadline::at(instant))
    }

    fn recv_ref_by(&self, deadline: Deadline) -> Result<Loan<'_>, RecvError> {
        let mut copy = Vec::new();
        let held = match self.recv_one(&mut copy, deadline)? {
            Taken::Copied => Held::Copy(copy),
            Taken::Laden(_) => return Err(RecvError::Decode(DecodeError::Handle(HandleError::NotCarried))),
            Taken::Leased(leased) => {
                let first = self.link().memory().arena().address(leased.at(), leased.len());
                Held::InPlace(first.map_err(RecvError::Memory)?.as_ptr(), leased)
            }
        };
        Ok(Loan { held, not_send: PhantomData })
    }
}

/// A received message where it lies. Dropping it gives its memory back to the queue.
///
/// Stays in its thread. At most 128 are there at a time, together with the large messages that are queued; beyond that,
/// messages are copied.
///
/// # If a peer dies
/// Nobody else has it. If this thread dies with it, its memory comes back, and the message is lost.
pub struct Loan<'a> {
    held: Held<'a>,
    /// The extent is this thread's.
    not_send: PhantomData<*mut ()>,
}

enum Held<'a> {
    Copy(Vec<u8>),
    InPlace(*const u8, Leased<'a>),
}

impl Deref for Loan<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.held {
            Held::Copy(bytes) => bytes,
            // SAFETY: so many bytes lie at the address, in memory that the receiver keeps mapped, which is borrowed; the
            // word of the extent names this thread, so nobody else touches them.
            Held::InPlace(first, leased) => unsafe { slice::from_raw_parts(*first, leased.len()) },
        }
    }
}

impl fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loan of a message of {} bytes", self.len())
    }
}
