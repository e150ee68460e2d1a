//! Dictionaries in a server.
//!
//! The server sees bytes and no types: keys are equal if they encode to the same bytes, and a dictionary of one program is
//! one for every other that has its types. Code of the user runs in clients only, so none can stop the server.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_codec::{Bytes, Message};
use serde::Serialize;

use crate::error::CallError;
use crate::frozen::Iter;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, DictAsk, Item, Kind, Load, key, key_of};

/// A dictionary in a server: a map from `K` to `V` for all processes that have a proxy to it; made by
/// [`Manager::dict`](crate::Manager::dict).
///
/// Each call is one step: others see all of it or nothing. Values are copies: to change one where it is, use
/// [`update`](Self::update). Keys are equal if they encode to the same bytes, so `K` must not be a type with several encodings
/// of equal values, such as a `HashSet`. A borrowed form of the key must encode as the key does, as `str` and slices do, and
/// arrays do not.
///
/// Send, Sync, Clone; *shared*: sending it to another process, as an argument, in a message or in a value of another
/// object, makes another proxy to the same dictionary. Dropping the last proxy drops the dictionary.
///
/// Handles in values (proxies, locks, ends of queues) travel to the server and from there to whoever gets the value. Each
/// time a value is got it brings a duplicate: put only handles there that are Clone.
///
/// Calls block until the server has answered: some microseconds. **Errors** are [`CallError`]s.
///
/// **If a client dies**, what it asked was done or was not, and never in part. **If the server dies**, every call answers
/// [`CallError::ServerGone`].
///
/// # Examples
/// ```
/// use procession_manager::Manager;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let ages = manager.dict::<String, u32>()?;
/// assert_eq!(ages.insert("Ada".into(), 36)?, None);
/// assert_eq!(ages.insert("Ada".into(), 37)?, Some(36));
/// assert_eq!(ages.get("Ada")?, Some(37));
/// assert_eq!(ages.remove("Ada")?, Some(37));
/// assert!(ages.is_empty()?);
/// # Ok(()) }
/// ```
#[doc(alias = "DictProxy")]
pub struct Dict<K, V>(Raw, PhantomData<fn(K) -> (K, V)>);

proxy!(Dict<K, V>, Kind::Dict);

impl<K: Message, V: Message> Dict<K, V> {
    /// The value of `key`, if there is one.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.value(DictAsk::Get(self::key(key)?), Load::default())
    }

    /// Whether `key` has a value.
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.0.yes(Ask::Dict(DictAsk::Contains(self::key(key)?)))
    }

    /// Gives `key` a value, and returns the one it had.
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.value(DictAsk::Insert(self::key(&key)?, value), load)
    }

    /// The value of `key`; if there is none, it is `value` from now on. One step: of many who ask at once, one inserts, and
    /// all get the same.
    #[doc(alias = "setdefault")]
    pub fn get_or_insert(&self, key: K, value: V) -> Result<V, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.needed(DictAsk::GetOrInsert(self::key(&key)?, value), load, None)
    }

    /// Takes the value of `key`, if there is one.
    #[doc(alias = "pop")]
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.value(DictAsk::Remove(self::key(key)?), Load::default())
    }

    /// Changes the value of `key` by `change`, which gets `argument` and starts from `V::default()` where there is none;
    /// returns what `change` does.
    ///
    /// No change of others is lost: `change` works on a copy here, and the result is put into the dictionary only if the
    /// value is still the one that was copied; else all is done again with the new one, so `change` can run several times.
    /// Nobody waits for one who is at it: one that hangs, panics or is killed in `change` has changed nothing.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = procession_manager::Manager::start()?;
    /// let seen = manager.dict::<String, Vec<u32>>()?;
    /// let n = seen.update("tellers".into(), |pids, pid| { pids.push(pid); pids.len() }, std::process::id())?;
    /// assert_eq!(n, 1);
    /// # Ok(()) }
    /// ```
    pub fn update<A: Clone, R>(&self, key: K, change: fn(&mut V, A) -> R, argument: A) -> Result<R, CallError>
    where
        V: Default,
    {
        let key = self::key(&key)?;
        let swap = |version, item| Ask::Dict(DictAsk::Swap(key.clone(), version, Some(item)));
        let read = Ask::Dict(DictAsk::Read(key.clone()));
        match self.0.update(read, swap, Some(V::default), change, argument)? {
            Some(result) => Ok(result),
            None => Err(CallError::Refused("the server took what was not sent".into())),
        }
    }

    /// Inserts all of `pairs` in one step. They go in one message, so all together may have 64 MiB.
    pub fn extend(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<(), CallError> {
        let mut load = Load::default();
        let packed = pairs.into_iter().map(|(key, value)| Ok((self::key(&key)?, load.pack(&value)?)));
        let packed = packed.collect::<Result<_, CallError>>()?;
        self.0.done(Ask::Dict(DictAsk::Extend(packed)), load)
    }

    /// How many keys there are.
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Dict(DictAsk::Len))
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// Takes everything out.
    pub fn clear(&self) -> Result<(), CallError> {
        self.0.done(Ask::Dict(DictAsk::Clear), Load::default())
    }

    /// Takes any one key out, with its value.
    #[doc(alias = "popitem")]
    pub fn pop(&self) -> Result<Option<(K, V)>, CallError> {
        Ok(self.pairs(DictAsk::Pop)?.pop())
    }

    /// Takes all keys out, with their values, in no order; at most 64 MiB, or they stay.
    pub fn drain(&self) -> Result<Vec<(K, V)>, CallError> {
        self.pairs(DictAsk::Drain)
    }

    /// The values of many keys, as they are at one instant; `None` for those that have none.
    pub fn get_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> Result<Vec<Option<V>>, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.options(DictAsk::GetMany(key_list(keys)?))
    }

    /// Takes the values of many keys out, in one step; `None` for those that have none. At most 64 MiB, or they stay.
    pub fn remove_many<'a, Q>(
        &self,
        keys: impl IntoIterator<Item = &'a Q>,
    ) -> Result<Vec<Option<V>>, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.options(DictAsk::RemoveMany(key_list(keys)?))
    }

    /// Takes all keys out but these; how many those were.
    #[doc(alias = "retain")]
    pub fn keep_only<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> Result<u64, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized + 'a,
    {
        self.0.number(Ask::Dict(DictAsk::Keep(key_list(keys)?)))
    }

    /// All keys as they are at one instant, in no order; at most 64 MiB.
    pub fn keys(&self) -> Result<Vec<K>, CallError> {
        keys_of(&self.0)
    }

    /// All keys and values as they are at one instant, in no order; at most 64 MiB. [`iter`](Self::iter) has no limit.
    #[doc(alias = "items")]
    pub fn entries(&self) -> Result<Vec<(K, V)>, CallError> {
        self.pairs(DictAsk::Pairs)
    }

    /// All values as they are at one instant, in no order; at most 64 MiB.
    pub fn values(&self) -> Result<Vec<V>, CallError> {
        match self.ask(DictAsk::Pairs)? {
            Answer::Pairs(pairs) => pairs.into_iter().map(|(_, item)| Ok(item.unpack()?)).collect(),
            other => Err(unexpected(&other)),
        }
    }

    /// All keys and values as they are at this instant, in no order, in blocks.
    pub fn iter(&self) -> Result<Iter<(K, V)>, CallError> {
        Iter::of(&self.0, |key, item| Ok((key_of(key)?, item.unpack()?)))
    }

    /// The value of `key`, as soon as there is one. Blocks until then.
    pub fn wait_for<Q>(&self, key: &Q) -> Result<V, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.needed(DictAsk::Await(self::key(key)?), Load::default(), None)
    }

    /// [`wait_for`](Self::wait_for) for at most `timeout`; then [`CallError::TimedOut`].
    pub fn wait_for_timeout<Q>(&self, key: &Q, timeout: Duration) -> Result<V, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let until = Instant::now().checked_add(timeout);
        self.needed(DictAsk::Await(self::key(key)?), Load::default(), until)
    }

    /// [`wait_for`](Self::wait_for) until `instant`; then [`CallError::TimedOut`].
    pub fn wait_for_until<Q>(&self, key: &Q, instant: Instant) -> Result<V, CallError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.needed(DictAsk::Await(self::key(key)?), Load::default(), Some(instant))
    }

    fn ask(&self, ask: DictAsk) -> Result<Answer, CallError> {
        self.0.ask(Ask::Dict(ask))
    }

    fn pairs(&self, ask: DictAsk) -> Result<Vec<(K, V)>, CallError> {
        match self.ask(ask)? {
            Answer::Pairs(pairs) => {
                pairs.into_iter().map(|(key, item)| Ok((key_of(&key)?, item.unpack()?))).collect()
            }
            other => Err(unexpected(&other)),
        }
    }

    fn options(&self, ask: DictAsk) -> Result<Vec<Option<V>>, CallError> {
        match self.ask(ask)? {
            Answer::Options(values) => {
                values.into_iter().map(|value| Ok(value.map(Item::unpack).transpose()?)).collect()
            }
            other => Err(unexpected(&other)),
        }
    }

    fn value(&self, ask: DictAsk, load: Load) -> Result<Option<V>, CallError> {
        self.0.value(Ask::Dict(ask), load)
    }

    fn needed(&self, ask: DictAsk, load: Load, until: Option<Instant>) -> Result<V, CallError> {
        self.0.needed(Ask::Dict(ask), load, until)
    }
}

/// The bytes that stand for many keys.
pub(crate) fn key_list<'a, Q: Serialize + ?Sized + 'a>(
    keys: impl IntoIterator<Item = &'a Q>,
) -> Result<Vec<Bytes>, CallError> {
    Ok(keys.into_iter().map(key).collect::<Result<_, _>>()?)
}

/// All keys of a dictionary or a set.
pub(crate) fn keys_of<K: Message>(raw: &Raw) -> Result<Vec<K>, CallError> {
    match raw.ask(Ask::Dict(DictAsk::Keys))? {
        Answer::Keys(keys) => Ok(keys.iter().map(key_of).collect::<Result<_, _>>()?),
        other => Err(unexpected(&other)),
    }
}
