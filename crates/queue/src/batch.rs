//! Values that are to be sent together.
//!
//! Invariants: the first `n_put` values are in the queue, the others are not; they are encoded before a turn and dropped
//! after it, so that no code of theirs runs in one.

use std::ops::Range;

use procession_codec::handles::Outgoing;

use crate::error::SendFault;
use crate::sender::LARGE;
use crate::slot::Small;
use crate::traffic::{Load, Parcel, Refused};
use crate::wire::Wire;

/// Messages of a batch.
pub(crate) const MANY: usize = 256;

/// Values of which some are put, and the others to be.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    values: Vec<T>,
    /// Where each value ends in the bytes, and is encoded; of a [`Wire`] that packs, nothing.
    ends: Vec<usize>,
    /// How many values are ready to be sent: all but one that cannot be.
    n_ready: usize,
    n_put: usize,
    /// Of the last value, if it has any.
    luggage: Option<Outgoing>,
}

/// What can be put next.
#[derive(Debug)]
pub(crate) enum Next {
    /// One value with luggage.
    Laden(Range<usize>, Outgoing),
    /// One value that is written outside of a turn.
    Large(Range<usize>),
    /// Some that are not.
    Many,
}

impl<T> Batch<T> {
    pub(crate) fn new() -> Self {
        Self { values: Vec::new(), ends: Vec::new(), n_ready: 0, n_put: 0, luggage: None }
    }

    /// How many of the values are sent.
    pub(crate) fn n_sent(&self) -> usize {
        self.n_put
    }

    /// Those that are not.
    pub(crate) fn into_unsent(mut self) -> Vec<T> {
        self.values.split_off(self.n_put)
    }

    /// Takes the next values; the last ones are sent.
    pub(crate) fn fill<W: Wire<T>>(
        &mut self,
        values: &mut impl Iterator<Item = T>,
        bytes: &mut Vec<u8>,
        limit: u64,
    ) -> Result<(), SendFault> {
        self.values.clear();
        self.ends.clear();
        (self.n_ready, self.n_put) = (0, 0);
        bytes.clear();
        if W::PACKS && W::SMALL as u64 <= limit {
            self.values.extend(values.take(MANY));
            self.n_ready = self.values.len();
            return Ok(());
        }
        while self.ends.len() < MANY && bytes.len() < LARGE {
            let Some(value) = values.next() else { return Ok(()) };
            let begin = bytes.len();
            let encoded = W::put_with_handles(&value, bytes);
            self.values.push(value);
            let outgoing = encoded.map_err(SendFault::Encode)?;
            let len = (bytes.len() - begin) as u64;
            if len > limit {
                return Err(SendFault::TooLarge { len, limit });
            }
            self.ends.push(bytes.len());
            self.n_ready += 1;
            if !outgoing.is_empty() {
                self.luggage = Some(outgoing);
                return Ok(());
            }
        }
        Ok(())
    }

    /// What to put next; its luggage leaves the batch.
    pub(crate) fn next(&mut self) -> Option<Next> {
        if self.n_put == self.n_ready {
            return None;
        }
        Some(match self.place(self.n_put) {
            Some(at) if self.is_laden() => match self.luggage.take() {
                Some(outgoing) => Next::Laden(at, outgoing),
                None => Next::Many,
            },
            Some(at) if at.len() > LARGE => Next::Large(at),
            _ => Next::Many,
        })
    }

    /// One more is put.
    pub(crate) fn advance(&mut self) {
        self.n_put += 1;
    }

    /// Puts those before the next large or laden one, as many as there is room for.
    pub(crate) fn put<W: Wire<T>>(&mut self, load: &mut Load<'_, '_>, bytes: &[u8]) -> Result<bool, Refused> {
        loop {
            self.n_put += if W::PACKS && self.ends.is_empty() {
                load.put_small(self.values[self.n_put..].iter().map_while(W::pack))
            } else {
                let alone = usize::from(self.luggage.is_some());
                let places = (self.n_put..self.n_ready - alone).map_while(|at| self.place(at));
                load.put_small(places.map_while(|at| Small::new(&bytes[at])))
            };
            if self.n_put == self.n_ready || self.is_laden() {
                return Ok(true);
            }
            match self.place(self.n_put) {
                Some(at) if at.len() > LARGE => return Ok(true),
                Some(at) => load.put(&Parcel::Bytes(&bytes[at]))?,
                None => {
                    let Some(small) = W::pack(&self.values[self.n_put]) else { return Ok(true) };
                    small.with(|bytes| load.put(&Parcel::Bytes(bytes)))?;
                }
            }
            self.n_put += 1;
        }
    }

    /// Whether the next value, which is then the last, has luggage.
    fn is_laden(&self) -> bool {
        self.luggage.is_some() && self.n_put + 1 == self.n_ready
    }

    /// Where a value lies in the bytes.
    fn place(&self, at: usize) -> Option<Range<usize>> {
        let end = *self.ends.get(at)?;
        Some(at.checked_sub(1).map_or(0, |before| self.ends[before])..end)
    }
}
