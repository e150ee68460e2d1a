//! Lists in a server.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use procession_codec::Message;

use crate::error::CallError;
use crate::frozen::Iter;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item, Kind, ListAsk, Load};

/// A list in a server, made by [`Manager::list`](crate::Manager::list): what `Vec` is in one process. Indices count from 0.
///
/// Each call is one step. What a [`Dict`](crate::Dict) says of its values, of sharing, of blocking and of deaths is true here.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let list = manager.list::<String>()?;
/// list.push("one".into())?;
/// list.extend(["two".into(), "three".into()])?;
/// list.update(0, |text, more| text.push_str(more), "!")?;
/// assert_eq!(list.to_vec()?, ["one!", "two", "three"]);
/// assert_eq!(list.pop()?.as_deref(), Some("three"));
/// assert_eq!(list.get(7)?, None);
/// # Ok(()) }
/// ```
#[doc(alias = "ListProxy")]
pub struct List<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(List<T>, Kind::List);

impl<T: Message> List<T> {
    /// The value at an index, if there is one.
    pub fn get(&self, index: u64) -> Result<Option<T>, CallError> {
        self.0.value(Ask::List(ListAsk::Get(index)), Load::default())
    }

    /// Puts a value at an index, and returns the one that was there; if none was, nothing is done.
    pub fn set(&self, index: u64, value: T) -> Result<Option<T>, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.value(Ask::List(ListAsk::Set(index, value)), load)
    }

    /// Puts a value behind the last one.
    #[doc(alias = "append")]
    pub fn push(&self, value: T) -> Result<(), CallError> {
        self.insert(u64::MAX, value)
    }

    /// Puts a value before the one at an index; behind the last one where the index is greater.
    pub fn insert(&self, index: u64, value: T) -> Result<(), CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.done(Ask::List(ListAsk::Insert(index, value)), load)
    }

    /// Takes the last value.
    pub fn pop(&self) -> Result<Option<T>, CallError> {
        self.0.value(Ask::List(ListAsk::Pop), Load::default())
    }

    /// Takes the value at an index, if there is one; those behind it move up.
    pub fn remove(&self, index: u64) -> Result<Option<T>, CallError> {
        self.0.value(Ask::List(ListAsk::Remove(index)), Load::default())
    }

    /// The first value.
    pub fn first(&self) -> Result<Option<T>, CallError> {
        self.get(0)
    }

    /// The last value.
    pub fn last(&self) -> Result<Option<T>, CallError> {
        self.0.value(Ask::List(ListAsk::Last), Load::default())
    }

    /// Takes the value at an index, if there is one, and puts the last one in its place.
    pub fn swap_remove(&self, index: u64) -> Result<Option<T>, CallError> {
        self.0.value(Ask::List(ListAsk::SwapRemove(index)), Load::default())
    }

    /// Puts the values at two indices in each other's place.
    ///
    /// # Errors
    /// [`CallError::OutOfBounds`], and others.
    pub fn swap(&self, a: u64, b: u64) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Exchange(a, b)), Load::default())
    }

    /// Keeps the first `len` values, and drops the others.
    pub fn truncate(&self, len: u64) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Truncate(len)), Load::default())
    }

    /// Turns the order round.
    pub fn reverse(&self) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Reverse), Load::default())
    }

    /// Puts all of `values` behind the last one, side by side; all together may have 64 MiB.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let mut load = Load::default();
        let values = packed(values, &mut load)?;
        self.0.done(Ask::List(ListAsk::Extend(values)), load)
    }

    /// The values in a range, as far as there are some, as they are at one instant; at most 64 MiB.
    pub fn range(&self, range: impl RangeBounds<u64>) -> Result<Vec<T>, CallError> {
        let (from, to) = ends(&range);
        items(&self.0, ListAsk::Range(from, to))
    }

    /// Takes the values in a range out, as far as there are some; at most 64 MiB, or they stay.
    pub fn drain(&self, range: impl RangeBounds<u64>) -> Result<Vec<T>, CallError> {
        let (from, to) = ends(&range);
        items(&self.0, ListAsk::Drain(from, to))
    }

    /// The first index of a value with the same bytes, if there is one. A value with handles is not found.
    #[doc(alias = "index")]
    pub fn position(&self, value: &T) -> Result<Option<u64>, CallError> {
        position(&self.0, value)
    }

    /// Whether a value with the same bytes is there.
    pub fn contains(&self, value: &T) -> Result<bool, CallError> {
        Ok(self.position(value)?.is_some())
    }

    /// Takes all out that have the same bytes as one of `values`; how many those were.
    #[doc(alias = "retain")]
    pub fn remove_all<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<u64, CallError>
    where
        T: 'a,
    {
        let mut load = Load::default();
        let values = values.into_iter().map(|value| load.pack(value)).collect::<Result<_, _>>()?;
        self.0.number(Ask::List(ListAsk::RemoveEqual(values)))
    }

    /// Changes what is in a range in one step, as [`Dict::update`](crate::Dict::update) does; it may become longer or shorter.
    /// The whole may have 64 MiB. So a list is sorted:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = procession_manager::Manager::start()?;
    /// let list = manager.list::<u32>()?;
    /// list.extend([3, 1, 3, 2])?;
    /// list.update_range(.., |all, ()| { all.sort_unstable(); all.dedup(); }, ())?;
    /// assert_eq!(list.to_vec()?, [1, 2, 3]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "sort")]
    #[doc(alias = "retain")]
    pub fn update_range<A: Clone, R>(
        &self,
        range: impl RangeBounds<u64>,
        change: fn(&mut Vec<T>, A) -> R,
        argument: A,
    ) -> Result<R, CallError> {
        update_range(&self.0, ends(&range), change, argument)
    }

    /// Changes the value at an index, as [`Dict::update`](crate::Dict::update) does; `None`, and nothing done, where there is
    /// none. If values move meanwhile, it is the one that is there then.
    pub fn update<A: Clone, R>(
        &self,
        index: u64,
        change: fn(&mut T, A) -> R,
        argument: A,
    ) -> Result<Option<R>, CallError> {
        let swap = |version, item| Ask::List(ListAsk::Swap(index, version, item));
        self.0.update(Ask::List(ListAsk::Read(index)), swap, None, change, argument)
    }

    /// How many values there are.
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::List(ListAsk::Len))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), CallError> {
        self.0.done(Ask::List(ListAsk::Clear), Load::default())
    }

    /// All values as they are at one instant; at most 64 MiB.
    pub fn to_vec(&self) -> Result<Vec<T>, CallError> {
        items(&self.0, ListAsk::All)
    }

    /// All values as they are at this instant, in blocks.
    pub fn iter(&self) -> Result<Iter<T>, CallError> {
        Iter::of(&self.0, |_, item| Ok(item.unpack()?))
    }
}

/// Many values to be sent.
pub(crate) fn packed<T: Message>(
    values: impl IntoIterator<Item = T>,
    load: &mut Load,
) -> Result<Vec<Item>, CallError> {
    Ok(values.into_iter().map(|value| load.pack(&value)).collect::<Result<_, _>>()?)
}

/// Asks for many values.
pub(crate) fn items<T: Message>(raw: &Raw, ask: ListAsk) -> Result<Vec<T>, CallError> {
    match raw.ask(Ask::List(ask))? {
        Answer::Items(items) => Ok(items.into_iter().map(Item::unpack).collect::<Result<_, _>>()?),
        other => Err(unexpected(&other)),
    }
}

/// Where a range begins, and where it ends: the index behind its last one.
pub(crate) fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

/// The first index of a value with the same bytes.
pub(crate) fn position<T: Message>(raw: &Raw, value: &T) -> Result<Option<u64>, CallError> {
    let mut load = Load::default();
    let value = load.pack(value)?;
    match raw.ask(Ask::List(ListAsk::Find(value)))? {
        Answer::Found(at) => Ok(at),
        other => Err(unexpected(&other)),
    }
}

/// Reads a range, changes it, and puts it back if it is still the same; else again.
pub(crate) fn update_range<T: Message, A: Clone, R>(
    raw: &Raw,
    (from, to): (u64, u64),
    change: impl Fn(&mut Vec<T>, A) -> R,
    argument: A,
) -> Result<R, CallError> {
    let mut answer = raw.ask(Ask::List(ListAsk::ReadRange(from, to)))?;
    loop {
        let Answer::Range(version, items) = answer else { return Err(unexpected(&answer)) };
        let mut values = items.into_iter().map(Item::unpack).collect::<Result<_, _>>()?;
        let result = change(&mut values, argument.clone());
        let mut load = Load::default();
        let items = packed(values, &mut load)?;
        answer = raw.ask_with(Ask::List(ListAsk::SwapRange(from, to, version, items)), load, None)?;
        if let Answer::Done = answer {
            return Ok(result);
        }
    }
}
