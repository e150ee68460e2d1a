//! The end of a queue that sends.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::Postcard;
use procession_raw::{Owners, Side};
use procession_shm::{Party, Wait};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{SendError, SendFault};
use crate::extents::{self, Owned};
use crate::link::{Barred, Link, News};
use crate::scratch;
use crate::slot::Small;
use crate::traffic::{Load, Parcel, Refused};
use crate::wire::Wire;

/// The sending end of a queue of `T`.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; any number of threads and processes may send at once. Sending it to another
/// process, in an argument, a pipe, a result or a message of a queue, duplicates it.
///
/// Each sender's messages are received in the order in which it sent them; between senders there is no order but that of
/// arrival.
///
/// # If a peer dies
/// A message is wholly sent or not at all, whoever is killed at whatever moment, and what was sent stays. Who dies in the
/// middle is followed by the next who sends. When the last receiver is gone, however it ended, sending is an error: at
/// once if it was dropped or the death was told, else within a tick, 4096 messages or 256 tries. A sender that is *stopped* in the
/// middle keeps others from sending until it goes on; their time limits hold.
pub struct Sender<T, W = Postcard> {
    link: Arc<Link>,
    types: PhantomData<fn(T) -> W>,
}

/// Messages of more than this are written outside of the lock.
pub(crate) const LARGE: usize = 16 << 10;

impl<T, W> Sender<T, W> {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, types: PhantomData }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    #[cfg(feature = "async")]
    pub(crate) fn shared_link(&self) -> &Arc<Link> {
        &self.link
    }

    /// How many messages are queued: exact while nobody moves.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.link.memory().ring().len().min(self.link.memory().layout().capacity) as usize
    }

    /// Whether no message is queued at this moment.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether as many messages are queued at this moment as there may be. It can be full in bytes before.
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How many messages can be queued.
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.link.memory().layout().capacity as usize
    }

    /// How many bytes of messages can be queued, as they are encoded.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.link.memory().layout().budget
    }

    /// Closes the queue, for all: nobody sends any more, what was sent can still be received, and then receivers are told
    /// that it is [closed](crate::RecvError::Closed). Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here has closed it and woken all who sleep, or done nothing.
    pub fn close(&self) {
        self.link.memory().ring().close(&SharedPark);
    }

    /// Whether somebody has closed the queue.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.memory().ring().is_closed()
    }
}

impl<T, W: Wire<T>> Sender<T, W> {
    /// Sends a value.
    ///
    /// Encodes it here, and blocks while there is no room for it, or for its handles: of messages that have any, some hundreds
    /// can be queued. The queue of [`unbounded`](crate::unbounded) never
    /// blocks, and answers [`SendFault::Full`] at the limit of its memory.
    ///
    /// # Errors
    /// [`SendError`], with the value. No receiver then ever sees it.
    #[doc(alias = "put")]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::NEVER)
    }

    /// [`send`](Self::send) without waiting: [`SendFault::Full`] if there is no room.
    ///
    /// Blocks for some 50 µs at most, while others are in the middle: then [`SendFault::Contended`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    #[doc(alias = "put_nowait")]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::now()).map_err(|error| {
            let (value, fault) = error.into_parts();
            SendError::new(value, if let SendFault::TimedOut = fault { SendFault::Full } else { fault })
        })
    }

    /// [`send`](Self::send) for at most `timeout`.
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::after(timeout))
    }

    /// [`send`](Self::send) until `instant`.
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_until(&self, value: T, instant: Instant) -> Result<(), SendError<T>> {
        self.send_by(value, Deadline::at(instant))
    }

    #[inline]
    fn send_by(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        if W::pack(&value).is_some_and(|small| self.link.send_at_once(&small)) {
            return Ok(());
        }
        self.send_slowly(value, deadline)
    }

    #[inline(never)]
    fn send_slowly(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        let sent = match W::pack(&value) {
            Some(small) if self.link.send_in_a_moment(&small, deadline) => Ok(()),
            Some(small) => small.with(|bytes| self.send_encoded(bytes, deadline)),
            None => self.send_by_bytes(&value, deadline),
        };
        sent.map_err(|fault| SendError::new(value, fault))
    }

    fn send_by_bytes(&self, value: &T, deadline: Deadline) -> Result<(), SendFault> {
        let expected = W::length(value).unwrap_or_else(|| self.link.memory().expected());
        if expected > LARGE
            && let Some(sent) = self.send_in_place(value, expected, deadline)
        {
            return sent;
        }
        scratch::with(|bytes| {
            let outgoing = W::put_with_handles(value, bytes).map_err(SendFault::Encode)?;
            if bytes.len() as u64 <= self.capacity_bytes() {
                self.link.memory().expect(bytes.len());
            }
            if !outgoing.is_empty() {
                return self.send_laden(bytes, outgoing, deadline);
            }
            match Small::new(bytes) {
                Some(small)
                    if self.link.send_at_once(&small) || self.link.send_in_a_moment(&small, deadline) =>
                {
                    Ok(())
                }
                _ => self.send_encoded(bytes, deadline),
            }
        })
    }

    #[inline(never)]
    pub(crate) fn send_encoded(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendFault> {
        self.check_length(bytes.len())?;
        if bytes.len() > LARGE
            && let Some(extent) = self.extent(bytes.len())?
        {
            self.link.memory().arena().write(extent.at(), bytes).map_err(SendFault::Memory)?;
            return self.send_parcel(&Parcel::Extent(extent), deadline);
        }
        self.send_parcel(&Parcel::Bytes(bytes), deadline)
    }
}

impl<T, W> Sender<T, W> {
    pub(crate) fn check_length(&self, len: usize) -> Result<(), SendFault> {
        let (len, limit) = (len as u64, self.capacity_bytes());
        if len > limit { Err(SendFault::TooLarge { len, limit }) } else { Ok(()) }
    }

    /// A piece of memory to write a message into; `None` if all are in use.
    pub(crate) fn extent(&self, len: usize) -> Result<Option<Owned<'_>>, SendFault> {
        let (memory, party) = (self.link.memory(), self.link.party());
        let me = party.me().map_err(|_| SendFault::NoSlot)?;
        let taken = Owned::take(memory, &party, me, len).map_err(SendFault::Memory)?;
        if taken.is_some() {
            return Ok(taken);
        }
        // Those that the dead were reading, if nobody is receiving right now.
        let now = Wait(Deadline::now());
        if let Ok(turn) = memory.ring().enter(Side::Consumers, &SharedPark, &party, &now) {
            extents::take_back_leased(memory, &party, &turn);
        }
        Owned::take(memory, &party, me, len).map_err(SendFault::Memory)
    }

    pub(crate) fn send_parcel(&self, parcel: &Parcel<'_>, deadline: Deadline) -> Result<(), SendFault> {
        self.send_as(deadline, |load| load.put(parcel).map(|()| true))
    }

    /// Puts what `put` puts, and commits it, until that says that it is done; waits for room in between.
    pub(crate) fn send_as(
        &self,
        deadline: Deadline,
        mut put: impl FnMut(&mut Load<'_, '_>) -> Result<bool, Refused>,
    ) -> Result<(), SendFault> {
        let party = self.link.party();
        let (mut ticks, mut slept_at) = (0, None);
        let fault = loop {
            let seen = match self.put(&party, deadline, &mut put) {
                Ok(None) => return Ok(()),
                Ok(Some(seen)) => seen,
                Err(fault) => break fault,
            };
            if self.link.memory().layout().never_waits != 0 {
                break SendFault::Full;
            }
            if slept_at.replace(seen).is_some_and(|before| before != seen) {
                // There is room, and less than this message needs: perhaps enough for what another one waits to send.
                self.link.pass_on();
            }
            match self.link.wait(seen, deadline, &mut ticks) {
                News::Maybe => {}
                News::TimedOut => break SendFault::TimedOut,
                News::Disconnected => break SendFault::Disconnected,
            }
        };
        if slept_at.is_some() {
            self.link.pass_on();
        }
        Err(fault)
    }

    /// One turn; the consumers' counter, if there is no room before it moves.
    fn put(
        &self,
        party: &Party<'_>,
        deadline: Deadline,
        put: &mut impl FnMut(&mut Load<'_, '_>) -> Result<bool, Refused>,
    ) -> Result<Option<u32>, SendFault> {
        let mut turn = self.link.enter(party, deadline)?;
        if self.is_closed() {
            return Err(SendFault::Closed);
        }
        if self.link.seems_alone(turn.at()) {
            return Err(SendFault::Disconnected);
        }
        let mut load = Load::begin(self.link.memory(), &mut turn)?;
        let done = put(&mut load);
        load.commit();
        match done {
            Ok(true) => Ok(None),
            Ok(false) | Err(Refused::Full) => Ok(Some(turn.other())),
            Err(refused) => Err(refused.into()),
        }
    }
}

impl From<Barred> for SendFault {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::By(by) => Self::Contended { by },
            Barred::NoSlot => Self::NoSlot,
            Barred::Corrupt => Self::Corrupt,
        }
    }
}

impl From<Refused> for SendFault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Memory(error) => Self::Memory(error),
            Refused::Senseless => Self::Corrupt,
        }
    }
}

impl<T, W> Clone for Sender<T, W> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.link))
    }
}

impl<T, W> fmt::Debug for Sender<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender of a queue with {} of {} messages", self.len(), self.capacity())
    }
}

impl<T, W> Serialize for Sender<T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.link.serialize(serializer)
    }
}

impl<'de, T, W> Deserialize<'de> for Sender<T, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Link::receive(deserializer, Side::Producers).map(Self::new)
    }
}
