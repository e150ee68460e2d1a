//! Arrays in a server: lists whose length is fixed.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use procession_codec::Message;

use crate::error::CallError;
use crate::frozen::Iter;
use crate::list;
use crate::manager::Manager;
use crate::proxy::proxy;
use crate::raw::Raw;
use crate::wire::{Ask, Kind, ListAsk, Load, Recipe};

/// An array in a server, made by [`Manager::array`]: so many values, each at its index, counted from 0.
///
/// Each call is one step, also those of ranges. What is not there is [`CallError::OutOfBounds`], and nothing is done. What a
/// [`Dict`](crate::Dict) says of its values, of sharing, of blocking and of deaths is true here.
///
/// ```
/// use procession_manager::CallError;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let field = manager.array([0_u8; 6])?;
/// field.set(1, 7)?;
/// field.swap(1, 5)?;
/// field.update_range(0..3, |part, by| part.iter_mut().for_each(|n| *n += by), 2)?;
/// assert_eq!(field.to_vec()?, [2, 2, 2, 0, 0, 7]);
/// assert!(matches!(field.get(6), Err(CallError::OutOfBounds { index: 6, len: 6 })));
/// # Ok(()) }
/// ```
#[doc(alias = "ArrayProxy")]
pub struct Array<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(Array<T>, Kind::Array);

impl Manager {
    /// A new array of these values, which may have 64 MiB together.
    ///
    /// # Errors
    /// As [`dict`](Self::dict), or they do not encode.
    pub fn array<T: Message>(&self, values: impl IntoIterator<Item = T>) -> Result<Array<T>, CallError> {
        let mut load = Load::default();
        let values = list::packed(values, &mut load)?;
        Raw::make(self.session()?, Recipe::Array(values), load).map(Array::from_raw)
    }
}

impl<T: Message> Array<T> {
    /// How many values there are. It never changes.
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::List(ListAsk::Len))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// The value at an index.
    pub fn get(&self, index: u64) -> Result<T, CallError> {
        self.0.needed(Ask::List(ListAsk::Get(index)), Load::default(), None)
    }

    /// Puts a value at an index.
    pub fn set(&self, index: u64, value: T) -> Result<(), CallError> {
        self.set_range(index, [value])
    }

    /// Puts a value at an index, and returns the one that was there.
    pub fn replace(&self, index: u64, value: T) -> Result<T, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.needed(Ask::List(ListAsk::Set(index, value)), load, None)
    }

    /// Puts the values at two indices in each other's place.
    pub fn swap(&self, a: u64, b: u64) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Exchange(a, b)), Load::default())
    }

    /// Puts copies of one value everywhere.
    pub fn fill(&self, value: T) -> Result<(), CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.done(Ask::List(ListAsk::Fill(value)), load)
    }

    /// Turns the order round.
    pub fn reverse(&self) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Reverse), Load::default())
    }

    /// The values in a range, as they are at one instant; at most 64 MiB.
    pub fn range(&self, range: impl RangeBounds<u64>) -> Result<Vec<T>, CallError> {
        let (from, to) = self.bounds(&range)?;
        list::items(&self.0, ListAsk::Range(from, to))
    }

    /// Puts values at `from` and behind it.
    pub fn set_range(&self, from: u64, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let mut load = Load::default();
        let values = list::packed(values, &mut load)?;
        self.0.done(Ask::List(ListAsk::SetRange(from, values)), load)
    }

    /// Changes the value at an index, as [`Dict::update`](crate::Dict::update) does.
    pub fn update<A: Clone, R>(
        &self,
        index: u64,
        change: fn(&mut T, A) -> R,
        argument: A,
    ) -> Result<R, CallError> {
        let swap = |version, item| Ask::List(ListAsk::Swap(index, version, item));
        match self.0.update(Ask::List(ListAsk::Read(index)), swap, None, change, argument)? {
            Some(result) => Ok(result),
            None => Err(CallError::Refused("the server has lost a value".into())),
        }
    }

    /// Changes the values in a range in one step, as [`Dict::update`](crate::Dict::update) does: no change of others in it is
    /// lost, and those outside are in nobody's way.
    pub fn update_range<A: Clone, R>(
        &self,
        range: impl RangeBounds<u64>,
        change: fn(&mut [T], A) -> R,
        argument: A,
    ) -> Result<R, CallError> {
        let bounds = self.bounds(&range)?;
        list::update_range(
            &self.0,
            bounds,
            |values: &mut Vec<T>, argument| change(values, argument),
            argument,
        )
    }

    /// The first index of a value with the same bytes, if there is one.
    pub fn position(&self, value: &T) -> Result<Option<u64>, CallError> {
        list::position(&self.0, value)
    }

    /// Whether a value with the same bytes is there.
    pub fn contains(&self, value: &T) -> Result<bool, CallError> {
        Ok(self.position(value)?.is_some())
    }

    /// All values as they are at one instant; at most 64 MiB.
    pub fn to_vec(&self) -> Result<Vec<T>, CallError> {
        list::items(&self.0, ListAsk::All)
    }

    /// All values as they are at this instant, in blocks.
    pub fn iter(&self) -> Result<Iter<T>, CallError> {
        Iter::of(&self.0, |_, item| Ok(item.unpack()?))
    }

    /// Where a range begins and ends.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> Result<(u64, u64), CallError> {
        let (from, to) = list::ends(range);
        let to = if matches!(range.end_bound(), Bound::Unbounded) { self.len()? } else { to };
        if from > to {
            return Err(CallError::OutOfBounds { index: from, len: self.len()? });
        }
        Ok((from, to))
    }
}
