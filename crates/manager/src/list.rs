//! Lists in a server.

use std::marker::PhantomData;

use procession_codec::Message;

use crate::error::CallError;
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

    /// Puts all of `values` behind the last one, side by side; all together may have 64 MiB.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let mut load = Load::default();
        let packed = values.into_iter().map(|value| load.pack(&value)).collect::<Result<_, _>>()?;
        self.0.done(Ask::List(ListAsk::Extend(packed)), load)
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
        match self.0.ask(Ask::List(ListAsk::All))? {
            Answer::Items(items) => Ok(items.into_iter().map(Item::unpack).collect::<Result<_, _>>()?),
            other => Err(unexpected(&other)),
        }
    }
}
