//! Sets in a server: dictionaries whose values are empty.

use std::borrow::Borrow;
use std::marker::PhantomData;

use procession_codec::Message;
use serde::Serialize;

use crate::dict::{key_list, keys_of};
use crate::error::CallError;
use crate::frozen::Iter;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, DictAsk, Kind, Load, key, key_of};

/// A set in a server, made by [`Manager::set`](crate::Manager::set).
///
/// Each call is one step. Values are equal if they encode to the same bytes: what a [`Dict`](crate::Dict) says of its keys, of
/// sharing, of blocking and of deaths is true here. Handles are no values of sets.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let seen = manager.set::<String>()?;
/// assert!(seen.insert(&"one".into())?);
/// assert!(!seen.insert(&"one".into())?);
/// assert!(seen.contains("one")? && seen.len()? == 1);
/// # Ok(()) }
/// ```
pub struct Set<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(Set<T>, Kind::Set);

impl<T: Message> Set<T> {
    /// Puts a value in; whether it was not there before. Of many who ask at once, one hears yes.
    pub fn insert(&self, value: &T) -> Result<bool, CallError> {
        let item = Load::default().pack(&())?;
        match self.0.ask(Ask::Dict(DictAsk::Insert(key(value)?, item)))? {
            Answer::Value(before) => Ok(before.is_none()),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a value out; whether it was there. Of many who ask at once, one hears yes.
    pub fn remove<Q>(&self, value: &Q) -> Result<bool, CallError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        match self.0.ask(Ask::Dict(DictAsk::Remove(key(value)?)))? {
            Answer::Value(before) => Ok(before.is_some()),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether it is there.
    pub fn contains<Q>(&self, value: &Q) -> Result<bool, CallError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.0.yes(Ask::Dict(DictAsk::Contains(key(value)?)))
    }

    /// Puts all of `values` in, in one step; all together may have 64 MiB.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let packed = values.into_iter().map(|value| Ok((key(&value)?, Load::default().pack(&())?)));
        let packed = packed.collect::<Result<_, CallError>>()?;
        self.0.done(Ask::Dict(DictAsk::Extend(packed)), Load::default())
    }

    /// How many values there are.
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Dict(DictAsk::Len))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), CallError> {
        self.0.done(Ask::Dict(DictAsk::Clear), Load::default())
    }

    /// Whether all of these are there, at one instant.
    #[doc(alias = "is_superset")]
    pub fn contains_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> Result<bool, CallError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.0.yes(Ask::Dict(DictAsk::ContainsAll(key_list(values)?)))
    }

    /// Takes many values out in one step; for each, whether it was there.
    pub fn remove_many<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> Result<Vec<bool>, CallError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        match self.0.ask(Ask::Dict(DictAsk::RemoveMany(key_list(values)?)))? {
            Answer::Options(before) => Ok(before.iter().map(Option::is_some).collect()),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes all values out but these; how many those were.
    #[doc(alias = "retain")]
    pub fn keep_only<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> Result<u64, CallError>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.0.number(Ask::Dict(DictAsk::Keep(key_list(values)?)))
    }

    /// Takes any one value out.
    pub fn pop(&self) -> Result<Option<T>, CallError> {
        Ok(self.keys(DictAsk::Pop)?.pop())
    }

    /// Takes all values out, in no order; at most 64 MiB, or they stay.
    pub fn drain(&self) -> Result<Vec<T>, CallError> {
        self.keys(DictAsk::Drain)
    }

    /// All values as they are at one instant, in no order; at most 64 MiB. [`iter`](Self::iter) has no limit.
    pub fn to_vec(&self) -> Result<Vec<T>, CallError> {
        keys_of(&self.0)
    }

    /// All values as they are at this instant, in no order, in blocks.
    pub fn iter(&self) -> Result<Iter<T>, CallError> {
        Iter::of(&self.0, |key, _| Ok(key_of(key)?))
    }

    fn keys(&self, ask: DictAsk) -> Result<Vec<T>, CallError> {
        match self.0.ask(Ask::Dict(ask))? {
            Answer::Pairs(pairs) => Ok(pairs.iter().map(|(key, _)| key_of(key)).collect::<Result<_, _>>()?),
            other => Err(unexpected(&other)),
        }
    }
}
