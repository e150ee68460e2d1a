//! What an object had at one instant, block by block.

use std::collections::vec_deque::VecDeque;
use std::fmt;
use std::iter::FusedIterator;

use procession_codec::Bytes;

use crate::error::CallError;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item};

/// What a [`Dict`](crate::Dict), [`Set`](crate::Set), [`List`](crate::List) or [`Array`](crate::Array) had at one instant,
/// one after the other, however long all is together; from their `iter`.
///
/// The server keeps a copy until this is dropped, and sends it in blocks of about a quarter of a MiB: who asks for the first
/// of a block blocks until it has come. An error ends it, but for a value that does not decode.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let list = manager.list::<u32>()?;
/// list.extend([1, 2, 3])?;
/// for number in list.iter()? {
///     list.push(number? * 10)?;
/// }
/// assert_eq!(list.to_vec()?, [1, 2, 3, 10, 20, 30]);
/// # Ok(()) }
/// ```
#[must_use = "it does nothing by itself"]
pub struct Iter<T> {
    raw: Raw,
    block: VecDeque<(Bytes, Item)>,
    /// The row behind the block; `None` behind the last one.
    next: Option<u64>,
    row: Row<T>,
}

/// What a row is made into.
type Row<T> = fn(&Bytes, Item) -> Result<T, CallError>;

impl<T> Iter<T> {
    /// Of what this object has now.
    pub(crate) fn of(raw: &Raw, row: Row<T>) -> Result<Self, CallError> {
        Ok(Self { raw: raw.freeze()?, block: VecDeque::new(), next: Some(0), row })
    }

    fn fetch(&mut self) -> Result<(), CallError> {
        let Some(from) = self.next.take() else { return Ok(()) };
        match self.raw.ask(Ask::Block(from))? {
            Answer::Pairs(rows) => {
                self.next = (!rows.is_empty()).then_some(from + rows.len() as u64);
                self.block = rows.into();
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl<T> Iterator for Iter<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.block.is_empty()
            && let Err(error) = self.fetch()
        {
            return Some(Err(error));
        }
        self.block.pop_front().map(|(key, item)| (self.row)(&key, item))
    }
}

impl<T> FusedIterator for Iter<T> {}

impl<T> fmt::Debug for Iter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("raw", &self.raw).field("next", &self.next).finish_non_exhaustive()
    }
}
