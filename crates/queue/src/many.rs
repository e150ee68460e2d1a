//! Many messages at once: one lock, one commit and one wake for a batch.
//!
//! Invariants: what is committed leaves the list of what is not sent in the same turn; code of the values runs before the
//! lock is taken or after it is given back. A batch is small enough that nobody waits long for it.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use procession_codec::DecodeError;
use procession_sys::Deadline;

use crate::batch::{Batch, MANY, Next};
use crate::error::{RecvError, SendFault};
use crate::receiver::Receiver;
use crate::scratch;
use crate::sender::{LARGE, Sender};
use crate::slot::{INLINE, Small};
use crate::traffic::{self, Taken};
use crate::wire::Wire;

/// Not all values were sent: the others are in here, in their order.
pub struct SendManyError<T, I> {
    n_sent: usize,
    unsent: Vec<T>,
    rest: I,
    fault: SendFault,
}

impl<T, I: Iterator<Item = T>> SendManyError<T, I> {
    /// Of a value that was not sent, and those behind it.
    pub(crate) fn new(n_sent: usize, unsent: T, rest: I, fault: SendFault) -> Self {
        Self { n_sent, unsent: [unsent].into(), rest, fault }
    }

    /// How many were sent: all those before the first that was not.
    #[must_use]
    pub fn n_sent(&self) -> usize {
        self.n_sent
    }

    /// Why the first of the others was not sent.
    #[must_use]
    pub fn fault(&self) -> &SendFault {
        &self.fault
    }

    /// The values that were not sent.
    pub fn into_unsent(self) -> impl Iterator<Item = T> {
        self.unsent.into_iter().chain(self.rest)
    }
}

impl<T, I> fmt::Debug for SendManyError<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SendManyError");
        debug.field("n_sent", &self.n_sent).field("fault", &self.fault).finish_non_exhaustive()
    }
}

impl<T, I> fmt::Display for SendManyError<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, after {} values", self.fault, self.n_sent)
    }
}

impl<T, I> Error for SendManyError<T, I> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

impl<T, W: Wire<T>> Sender<T, W> {
    /// Sends all values, in their order. Blocks while there is no room.
    ///
    /// Others may send in between. For many small values this is several times as fast as one after the other. Values are
    /// taken from `values` some ahead of those that are sent.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = procession_queue::bounded::<u32>(100)?;
    /// assert_eq!(tx.send_many(0..10)?, 10);
    /// let mut values = Vec::new();
    /// assert_eq!(rx.recv_many(&mut values, 100)?, 10);
    /// let error = tx.try_send_many(0..1000).unwrap_err();
    /// assert_eq!((error.n_sent(), error.into_unsent().next()), (100, Some(100)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), Deadline::NEVER)
    }

    /// [`send_many`](Self::send_many) without waiting: as many as there is room for.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn try_send_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), Deadline::now()).map_err(|mut error| {
            if let SendFault::TimedOut = error.fault {
                error.fault = SendFault::Full;
            }
            error
        })
    }

    /// [`send_many`](Self::send_many) for at most `timeout`.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn send_many_timeout<I: IntoIterator<Item = T>>(
        &self,
        values: I,
        timeout: Duration,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), Deadline::after(timeout))
    }

    /// [`send_many`](Self::send_many) until `instant`.
    ///
    /// # Errors
    /// [`SendManyError`], with those that were not sent.
    pub fn send_many_until<I: IntoIterator<Item = T>>(
        &self,
        values: I,
        instant: Instant,
    ) -> Result<usize, SendManyError<T, I::IntoIter>> {
        self.send_many_by(values.into_iter(), Deadline::at(instant))
    }

    fn send_many_by<I: Iterator<Item = T>>(
        &self,
        mut rest: I,
        deadline: Deadline,
    ) -> Result<usize, SendManyError<T, I>> {
        let mut n_sent = 0;
        let mut batch = Batch::new();
        let fault = scratch::with(|bytes| {
            loop {
                let filled = batch.fill::<W>(&mut rest, bytes, self.capacity_bytes());
                let sent = self.send_batch(&mut batch, bytes, deadline);
                n_sent += batch.n_sent();
                match (sent, filled) {
                    (Err(fault), _) | (Ok(()), Err(fault)) => break Some(fault),
                    (Ok(()), Ok(())) if batch.n_sent() == 0 => break None,
                    (Ok(()), Ok(())) => {}
                }
            }
        });
        match fault {
            None => Ok(n_sent),
            Some(fault) => Err(SendManyError { n_sent, unsent: batch.into_unsent(), rest, fault }),
        }
    }

    /// Sends what is encoded; what is not sent stays.
    fn send_batch(&self, batch: &mut Batch<T>, bytes: &[u8], deadline: Deadline) -> Result<(), SendFault> {
        while let Some(next) = batch.next() {
            match next {
                Next::Laden(at, outgoing) => self.send_laden(&bytes[at], outgoing, deadline)?,
                // It goes the way of all large ones, alone.
                Next::Large(at) => self.send_encoded(&bytes[at], deadline)?,
                Next::Many => {
                    self.send_as(deadline, |load| batch.put::<W>(load, bytes))?;
                    continue;
                }
            }
            batch.advance();
        }
        Ok(())
    }
}

impl<T, W: Wire<T>> Receiver<T, W> {
    /// Receives at least one and at most `max` values, as many as are there, to the end of `into`; says how many.
    ///
    /// Blocks until there is one. They are decoded when all are taken: if that panics, those behind are lost. At most 256 at
    /// once; large messages and those with handles come
    /// alone.
    ///
    /// # Errors
    /// [`RecvError`]. If messages do not decode, the others of the batch are in `into` all the same.
    pub fn recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::NEVER)
    }

    /// [`recv_many`](Self::recv_many) without waiting: else [`RecvError::Empty`].
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn try_recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::now()).map_err(|error| match error {
            RecvError::TimedOut => RecvError::Empty,
            error => error,
        })
    }

    /// [`recv_many`](Self::recv_many) for at most `timeout`.
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::after(timeout))
    }

    /// [`recv_many`](Self::recv_many) until `instant`.
    ///
    /// # Errors
    /// As [`recv_many`](Self::recv_many).
    pub fn recv_many_until(
        &self,
        into: &mut Vec<T>,
        max: usize,
        instant: Instant,
    ) -> Result<usize, RecvError> {
        self.recv_many_by(into, max, Deadline::at(instant))
    }

    fn recv_many_by(&self, into: &mut Vec<T>, max: usize, deadline: Deadline) -> Result<usize, RecvError> {
        if max == 0 {
            return Ok(0);
        }
        let max = max.min(MANY);
        // Nothing is allocated in the turn.
        let mut ends = Vec::with_capacity(if W::PACKS { 0 } else { max });
        into.reserve(if W::PACKS { max } else { 0 });
        let mut received = Received { before: into.len(), values: into, failed: None };
        scratch::with(|bytes| {
            match self.take_many(&mut received, &mut ends, bytes, max, deadline)? {
                None | Some(Taken::Copied) => {}
                Some(Taken::Leased(leased)) => {
                    traffic::copy(self.link().memory(), leased.at(), leased.len(), bytes)?;
                    ends.push(bytes.len());
                }
                Some(Taken::Laden(laden)) => {
                    let descriptors = laden.open(self.link(), bytes)?;
                    received.add(W::get_with(bytes, descriptors));
                }
            }
            let mut begin = 0;
            for end in ends {
                received.add(W::get(&bytes[begin..end]));
                begin = end;
            }
            received.finish()
        })
    }

    /// Takes messages of one turn; one that has to be alone is the answer.
    fn take_many(
        &self,
        received: &mut Received<'_, T>,
        ends: &mut Vec<usize>,
        bytes: &mut Vec<u8>,
        max: usize,
        deadline: Deadline,
    ) -> Result<Option<Taken<'_>>, RecvError> {
        let memory = self.link().memory();
        self.recv_as(deadline, |turn, party| {
            if W::PACKS {
                let add = |small: Small| received.add(W::unpack(&small));
                let n = traffic::take_small(memory, turn, W::SMALL, 0..max as u32, add)?;
                if n > 0 {
                    turn.commit(n);
                    return Ok(None);
                }
            }
            while ends.len() < max && bytes.len() < LARGE {
                let which = ends.len() as u32..max as u32;
                let add = |small: Small| {
                    small.with(|small| bytes.extend_from_slice(small));
                    ends.push(bytes.len());
                };
                if traffic::take_small(memory, turn, INLINE, which, add)? > 0 {
                    continue;
                }
                match traffic::take(memory, turn, party, ends.len() as u32, bytes) {
                    Ok(Taken::Copied) => ends.push(bytes.len()),
                    Ok(Taken::Laden(laden)) => {
                        return laden.claim(self.link(), turn).map(|laden| Some(Taken::Laden(laden)));
                    }
                    Ok(alone) => {
                        turn.commit(1);
                        return Ok(Some(alone));
                    }
                    Err(missing) if ends.is_empty() => return Err(missing),
                    // Those before it first.
                    Err(_) => break,
                }
            }
            turn.commit(ends.len() as u32);
            Ok(None)
        })
    }
}

/// Values that were received, and the first error of those that do not decode.
struct Received<'a, T> {
    values: &'a mut Vec<T>,
    before: usize,
    failed: Option<DecodeError>,
}

impl<T> Received<'_, T> {
    #[inline]
    fn add(&mut self, value: Result<T, DecodeError>) {
        match value {
            Ok(value) => self.values.push(value),
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }

    fn finish(self) -> Result<usize, RecvError> {
        let n = self.values.len() - self.before;
        self.failed.map_or(Ok(n), |error| Err(RecvError::Decode(error)))
    }
}
