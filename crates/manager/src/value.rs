//! Single values in a server.

use std::marker::PhantomData;

use procession_codec::Message;

use crate::error::CallError;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Kind, Load, ValueAsk};

/// One value of any type in a server, made by [`Manager::value`](crate::Manager::value).
///
/// Each call is one step. What a [`Dict`](crate::Dict) says of its values, of sharing, of blocking and of deaths is true here.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let best = manager.value(("nobody".to_owned(), 0))?;
/// best.update(|best, new| if new.1 > best.1 { *best = new }, ("Ada".to_owned(), 7))?;
/// assert_eq!(best.get()?, ("Ada".to_owned(), 7));
/// # Ok(()) }
/// ```
#[doc(alias = "ValueProxy")]
pub struct Value<T>(Raw, PhantomData<fn(T) -> T>);

proxy!(Value<T>, Kind::Value);

impl<T: Message> Value<T> {
    /// What it is.
    pub fn get(&self) -> Result<T, CallError> {
        self.0.needed(Ask::Value(ValueAsk::Get), Load::default(), None)
    }

    /// Makes it `value`.
    pub fn set(&self, value: T) -> Result<(), CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.ask_with(Ask::Value(ValueAsk::Put(value)), load, None).map(drop)
    }

    /// Makes it `value`, and returns what it was.
    pub fn replace(&self, value: T) -> Result<T, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        self.0.needed(Ask::Value(ValueAsk::Put(value)), load, None)
    }

    /// Makes it `new` if it has the same bytes as `expected`; the error is what it is else. A value with handles is the same
    /// as no other.
    pub fn compare_exchange(&self, expected: &T, new: T) -> Result<Result<(), T>, CallError> {
        let mut load = Load::default();
        let (expected, new) = (load.pack(expected)?, load.pack(&new)?);
        match self.0.ask_with(Ask::Value(ValueAsk::Exchange(expected, new)), load, None)? {
            Answer::Done => Ok(Ok(())),
            Answer::Value(Some(is)) => Ok(Err(is.unpack()?)),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes it, as [`Dict::update`](crate::Dict::update) does.
    pub fn update<A: Clone, R>(&self, change: fn(&mut T, A) -> R, argument: A) -> Result<R, CallError> {
        let swap = |version, item| Ask::Value(ValueAsk::Swap(version, item));
        match self.0.update(Ask::Value(ValueAsk::Read), swap, None, change, argument)? {
            Some(result) => Ok(result),
            None => Err(CallError::Refused("the server has lost a value".into())),
        }
    }
}
