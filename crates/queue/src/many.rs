//! Many messages at once: one lock, one commit and one wake for a batch.
//!
//! Invariants: what is committed leaves the list of what is not sent in the same turn; code of the values runs before the
//! lock is taken or after it is given back. A batch is small enough that nobody waits long for it.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use procession_sys::Deadline;

use crate::error::{RecvError, SendFault};
use crate::receiver::Receiver;
use crate::scratch;
use crate::sender::{LARGE, Sender};
use crate::traffic::{self, Load, Parcel, Refused, Taken};
use crate::wire::Wire;

/// Messages of a batch.
const MANY: usize = 256;

/// Not all values were sent: the others are in here, in their order.
pub struct SendManyError<T, I> {
    n_sent: usize,
    unsent: VecDeque<T>,
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

/// Values that are encoded and not committed.
#[derive(Debug)]
struct Batch<T> {
    values: VecDeque<T>,
    /// Where each value ends in the bytes.
    ends: VecDeque<usize>,
    /// Where the first one begins.
    begin: usize,
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
        let mut batch = Batch { values: VecDeque::new(), ends: VecDeque::new(), begin: 0 };
        let fault = scratch::with(|bytes| {
            loop {
                let filled = batch.fill::<W>(&mut rest, bytes, self.capacity_bytes());
                let n = batch.ends.len();
                let sent = self.send_batch(&mut batch, bytes, deadline);
                n_sent += n - batch.ends.len();
                match (sent, filled) {
                    (Err(fault), _) | (Ok(()), Err(fault)) => break Some(fault),
                    (Ok(()), Ok(())) if n == 0 => break None,
                    (Ok(()), Ok(())) => {}
                }
            }
        });
        match fault {
            None => Ok(n_sent),
            Some(fault) => Err(SendManyError { n_sent, unsent: batch.values, rest, fault }),
        }
    }

    /// Sends what is encoded; what is not sent stays.
    fn send_batch(&self, batch: &mut Batch<T>, bytes: &[u8], deadline: Deadline) -> Result<(), SendFault> {
        while let Some(first) = batch.first() {
            if first.len() > LARGE {
                // It goes the way of all large ones, alone.
                self.send_encoded(&bytes[first], deadline)?;
                batch.advance();
            } else {
                self.send_as(deadline, |load| batch.put(load, bytes))?;
            }
        }
        Ok(())
    }
}

impl<T> Batch<T> {
    /// Encodes the next values; the last ones are sent.
    fn fill<W: Wire<T>>(
        &mut self,
        values: &mut impl Iterator<Item = T>,
        bytes: &mut Vec<u8>,
        limit: u64,
    ) -> Result<(), SendFault> {
        bytes.clear();
        self.begin = 0;
        while self.ends.len() < MANY && bytes.len() < LARGE {
            let Some(value) = values.next() else { return Ok(()) };
            let begin = bytes.len();
            let encoded = W::put(&value, bytes);
            self.values.push_back(value);
            encoded.map_err(SendFault::Encode)?;
            let len = (bytes.len() - begin) as u64;
            if len > limit {
                return Err(SendFault::TooLarge { len, limit });
            }
            self.ends.push_back(bytes.len());
        }
        Ok(())
    }

    /// Where the first value lies that is not sent.
    fn first(&self) -> Option<Range<usize>> {
        self.ends.front().map(|end| self.begin..*end)
    }

    /// Puts those before the next large one, as many as there is room for; what was put is no longer here.
    fn put(&mut self, load: &mut Load<'_, '_>, bytes: &[u8]) -> Result<bool, Refused> {
        while let Some(first) = self.first().filter(|first| first.len() <= LARGE) {
            load.put(&Parcel::Bytes(&bytes[first]))?;
            self.advance();
        }
        Ok(true)
    }

    fn advance(&mut self) {
        self.begin = self.ends.pop_front().unwrap_or(self.begin);
        self.values.pop_front();
    }
}

impl<T, W: Wire<T>> Receiver<T, W> {
    /// Receives at least one and at most `max` values, as many as are there, to the end of `into`; says how many.
    ///
    /// Blocks until there is one. At most 256 at once; large messages come alone.
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
        scratch::with(|bytes| {
            let mut ends = Vec::with_capacity(max.min(MANY));
            let leased = self.take_many(&mut ends, bytes, max.min(MANY), deadline)?;
            if let Some(leased) = leased {
                traffic::copy(self.link().memory(), leased.at(), leased.len(), bytes)?;
                ends.push(bytes.len());
            }
            let (mut begin, mut failed, before) = (0, None, into.len());
            for end in ends {
                match W::get(&bytes[begin..end]) {
                    Ok(value) => into.push(value),
                    Err(error) => failed = failed.or(Some(error)),
                }
                begin = end;
            }
            failed.map_or(Ok(into.len() - before), |error| Err(RecvError::Decode(error)))
        })
    }

    /// Takes messages of one turn; one that is leased ends it.
    fn take_many(
        &self,
        ends: &mut Vec<usize>,
        bytes: &mut Vec<u8>,
        max: usize,
        deadline: Deadline,
    ) -> Result<Option<crate::extents::Leased<'_>>, RecvError> {
        let memory = self.link().memory();
        self.recv_as(deadline, |turn, party| {
            while ends.len() < max && bytes.len() < LARGE {
                match traffic::take(memory, turn, party, ends.len() as u32, bytes) {
                    Ok(Taken::Copied) => ends.push(bytes.len()),
                    // It is alone.
                    Ok(Taken::Leased(leased)) => {
                        turn.commit(1);
                        return Ok(Some(leased));
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
