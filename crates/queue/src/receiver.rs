//! The end of a queue that receives.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::handles::HandleError;
use procession_codec::{DecodeError, Postcard};
use procession_raw::{Side, Turn};
use procession_shm::Party;
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::RecvError;
use crate::in_place;
use crate::iter::{Iter, TryIter};
use crate::link::{Barred, Link, News};
use crate::luggage::Laden;
use crate::scratch;
use crate::traffic::{self, Missing, Taken};
use crate::wire::Wire;

/// The receiving end of a queue of `T`.
///
/// *Shared* handle: `Clone`, `Send`, `Sync`; any number of threads and processes may receive at once, and each message
/// goes to one of them. Sending it to another process, in an argument, a pipe, a result or a message of a queue,
/// duplicates it.
///
/// # If a peer dies
/// What was sent is received whole, and once. With a receiver that is killed, one message at most is lost: the one that
/// it had taken and not returned. Who dies in the middle is followed by the next who receives. When the last sender is
/// gone, however it ended, and nothing is left, receiving is an error: at once if it was dropped or the death was told,
/// else within a tick or 256 tries. A receiver that is *stopped* in the middle keeps others from receiving until it goes on; their time
/// limits hold.
pub struct Receiver<T, W = Postcard> {
    link: Arc<Link>,
    types: PhantomData<fn(W) -> T>,
}

impl<T, W> Receiver<T, W> {
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

    /// As [`Sender::len`](crate::Sender::len).
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.link.memory().ring().len().min(self.link.memory().layout().capacity) as usize
    }

    /// As [`Sender::is_empty`](crate::Sender::is_empty).
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Sender::is_full`](crate::Sender::is_full).
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// As [`Sender::capacity`](crate::Sender::capacity).
    #[doc(alias = "maxsize")]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.link.memory().layout().capacity as usize
    }

    /// As [`Sender::capacity_bytes`](crate::Sender::capacity_bytes).
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.link.memory().layout().budget
    }

    /// As [`Sender::close`](crate::Sender::close).
    pub fn close(&self) {
        self.link.memory().ring().close(&SharedPark);
    }

    /// As [`Sender::is_closed`](crate::Sender::is_closed).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.memory().ring().is_closed()
    }
}

impl<T, W: Wire<T>> Receiver<T, W> {
    /// Receives the next value.
    ///
    /// Blocks until there is one, the queue is closed, or no sender is left.
    ///
    /// # Errors
    /// [`RecvError`].
    #[doc(alias = "get")]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::NEVER)
    }

    /// The next value if there is one: else [`RecvError::Empty`].
    ///
    /// Blocks for some 50 µs at most, while others are in the middle: then [`RecvError::Contended`].
    ///
    /// # Errors
    /// [`RecvError`].
    #[doc(alias = "get_nowait")]
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::now()).map_err(|error| match error {
            RecvError::TimedOut => RecvError::Empty,
            error => error,
        })
    }

    /// [`recv`](Self::recv) for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_by(Deadline::after(timeout))
    }

    /// [`recv`](Self::recv) until `instant`.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_until(&self, instant: Instant) -> Result<T, RecvError> {
        self.recv_by(Deadline::at(instant))
    }

    /// The values that come, until the queue is closed or no sender is left, and nothing is left in it. Blocks between
    /// them.
    ///
    /// A message that does not decode ends it too: [`recv`](Self::recv) tells the difference.
    pub fn iter(&self) -> Iter<'_, T, W> {
        Iter::new(self)
    }

    /// The values that are there, without waiting for more.
    pub fn try_iter(&self) -> TryIter<'_, T, W> {
        TryIter::new(self)
    }

    #[inline]
    fn recv_by(&self, deadline: Deadline) -> Result<T, RecvError> {
        match self.link.recv_at_once(W::SMALL) {
            Some(small) => W::unpack(&small).map_err(RecvError::Decode),
            None => self.recv_slowly(deadline),
        }
    }

    #[inline(never)]
    fn recv_slowly(&self, deadline: Deadline) -> Result<T, RecvError> {
        if !deadline.has_passed()
            && let Some(small) = self.link.recv_in_a_moment(W::SMALL)
        {
            return W::unpack(&small).map_err(RecvError::Decode);
        }
        if W::KEEPS {
            let mut bytes = Vec::new();
            if self.recv_encoded(&mut bytes, deadline)?.is_some() {
                return Err(RecvError::Decode(DecodeError::Handle(HandleError::NotCarried)));
            }
            return W::get_owned(bytes).map_err(RecvError::Decode);
        }
        scratch::with(|bytes| {
            let value = match self.recv_one(bytes, deadline)? {
                Taken::Copied => W::get(bytes),
                Taken::Leased(leased) => {
                    if let Some(value) = in_place::get::<T, W>(self.link.memory(), &leased) {
                        return Ok(value);
                    }
                    traffic::copy(self.link.memory(), leased.at(), leased.len(), bytes)?;
                    drop(leased);
                    W::get(bytes)
                }
                Taken::Laden(laden) => {
                    let descriptors = laden.open(&self.link, bytes)?;
                    W::get_with(bytes, descriptors)
                }
            };
            value.map_err(RecvError::Decode)
        })
    }

    #[inline(never)]
    fn recv_encoded(&self, bytes: &mut Vec<u8>, deadline: Deadline) -> Result<Option<Laden<'_>>, RecvError> {
        match self.recv_one(bytes, deadline)? {
            Taken::Copied => {}
            Taken::Leased(leased) => traffic::copy(self.link.memory(), leased.at(), leased.len(), bytes)?,
            Taken::Laden(laden) => return Ok(Some(laden)),
        }
        Ok(None)
    }
}

impl<T, W> Receiver<T, W> {
    /// Takes one message, waiting for it.
    pub(crate) fn recv_one(&self, bytes: &mut Vec<u8>, deadline: Deadline) -> Result<Taken<'_>, RecvError> {
        let memory = self.link.memory();
        self.recv_as(deadline, |turn, party| match traffic::take(memory, turn, party, 0, bytes)? {
            Taken::Laden(laden) => laden.claim(&self.link, turn).map(Taken::Laden),
            taken => {
                turn.commit(1);
                Ok(taken)
            }
        })
    }

    /// Takes what `take` takes and commits, waiting for it.
    pub(crate) fn recv_as<'a, X>(
        &'a self,
        deadline: Deadline,
        mut take: impl FnMut(&mut Turn<'a, SharedPark>, &Party<'_>) -> Result<X, Missing>,
    ) -> Result<X, RecvError> {
        let party = self.link.party();
        let mut take = || match self.link.enter(&party, deadline) {
            Ok(mut turn) => match take(&mut turn, &party) {
                Ok(taken) => Ok(Ok(taken)),
                Err(Missing::Empty) => Ok(Err(turn.other())),
                Err(missing) => Err(RecvError::from(missing)),
            },
            Err(barred) => Err(barred.into()),
        };
        let (mut ticks, mut has_slept) = (0, false);
        let error = loop {
            let seen = match take() {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(seen)) => seen,
                Err(error) => break error,
            };
            self.link.sweep(&party);
            if self.is_closed() {
                match self.link.drained(&party, deadline) {
                    Ok(true) => break RecvError::Closed,
                    Ok(false) => continue,
                    Err(barred) => break barred.into(),
                }
            }
            if deadline.has_passed() && !self.link.seems_alone_to_who_tries(seen) {
                break RecvError::TimedOut;
            }
            has_slept = true;
            if self.link.wait(seen, deadline, &mut ticks) == News::Maybe {
                continue;
            }
            // If nobody is left, nobody sends any more: one look at what was sent before.
            let is_alone = self.link.is_alone();
            match take() {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(_)) => break if is_alone { RecvError::Disconnected } else { RecvError::TimedOut },
                Err(error) => break error,
            }
        };
        if has_slept {
            self.link.pass_on();
        }
        Err(error)
    }
}

impl From<Barred> for RecvError {
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::By(by) => Self::Contended { by },
            Barred::NoSlot => Self::NoSlot,
            Barred::Corrupt => Self::Corrupt,
        }
    }
}

impl From<Missing> for RecvError {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Empty => Self::Empty,
            Missing::Memory(error) => Self::Memory(error),
            Missing::Senseless => Self::Corrupt,
        }
    }
}

impl<T, W> Clone for Receiver<T, W> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.link))
    }
}

impl<T, W> fmt::Debug for Receiver<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver of a queue with {} of {} messages", self.len(), self.capacity())
    }
}

impl<T, W> Serialize for Receiver<T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.link.serialize(serializer)
    }
}

impl<'de, T, W> Deserialize<'de> for Receiver<T, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Link::receive(deserializer, Side::Consumers).map(Self::new)
    }
}
