//! Namespaces in a server: named fields of any types.
//!
//! A namespace is a dictionary whose keys are names, and each of whose values says of which type it is.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use procession_codec::{Bytes, Codec, DecodeError, Message, Postcard};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::error::CallError;
use crate::manager::Manager;
use crate::proxy::proxy;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, DictAsk, Item, Kind, Load, Recipe, key, key_of};

/// Named fields in a server, each of a type of its own; made by [`Manager::namespace`].
///
/// Each call is one step. A field is got as the type as which it was set: else [`CallError::WrongType`] says both. Types are
/// compared by their names, as [`type_name`] gives them, and then by what decodes. What a [`Dict`](crate::Dict) says of its
/// values, of sharing, of blocking and of deaths is true here.
///
/// ```
/// use procession_manager::CallError;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let settings = manager.namespace()?;
/// settings.set("depth", &3_u32)?;
/// settings.set("title", &"deep".to_owned())?;
/// assert_eq!(settings.get::<u32>("depth")?, Some(3));
/// assert_eq!(settings.get::<u32>("width")?, None);
/// assert!(matches!(settings.get::<u32>("title"), Err(CallError::WrongType { .. })));
/// assert_eq!(settings.names()?, ["depth", "title"]);
/// # Ok(()) }
/// ```
#[doc(alias = "NamespaceProxy")]
pub struct Namespace(Raw);

proxy!(Namespace, Kind::Namespace);

impl Manager {
    /// A new namespace, with nothing in it.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn namespace(&self) -> Result<Namespace, CallError> {
        self.make(Recipe::Namespace).map(Namespace::from_raw)
    }
}

impl Namespace {
    /// The field with this name, if there is one.
    ///
    /// # Errors
    /// [`CallError::WrongType`], and others.
    pub fn get<T: Message>(&self, name: &str) -> Result<Option<T>, CallError> {
        self.field(DictAsk::Get(key(name)?), Load::default())
    }

    /// Sets a field, whatever it was before.
    pub fn set<T: Message>(&self, name: &str, value: &T) -> Result<(), CallError> {
        let mut load = Load::default();
        let field = load.pack(&Packed(value))?;
        self.0.ask_with(Ask::Dict(DictAsk::Insert(key(name)?, field)), load, None).map(drop)
    }

    /// The field with this name; if there is none, it is `value` from now on.
    ///
    /// # Errors
    /// [`CallError::WrongType`], and others.
    pub fn get_or_insert<T: Message>(&self, name: &str, value: &T) -> Result<T, CallError> {
        let mut load = Load::default();
        let field = load.pack(&Packed(value))?;
        match self.field(DictAsk::GetOrInsert(key(name)?, field), load)? {
            Some(value) => Ok(value),
            None => Err(CallError::Refused("the server took what was not sent".into())),
        }
    }

    /// Changes a field, as [`Dict::update`](crate::Dict::update) does; it starts from `T::default()`.
    ///
    /// # Errors
    /// [`CallError::WrongType`], and others.
    pub fn update<T: Message + Default, A: Clone, R>(
        &self,
        name: &str,
        change: fn(&mut T, A) -> R,
        argument: A,
    ) -> Result<R, CallError> {
        let key = key(name)?;
        let mut answer = self.0.ask(Ask::Dict(DictAsk::Read(key.clone())))?;
        loop {
            let Answer::Versioned(read) = answer else { return Err(unexpected(&answer)) };
            let (version, mut value) = match read {
                Some((version, item)) => (Some(version), opened(item)?),
                None => (None, T::default()),
            };
            let result = change(&mut value, argument.clone());
            let mut load = Load::default();
            let field = load.pack(&Packed(&value))?;
            let swap = DictAsk::Swap(key.clone(), version, Some(field));
            answer = self.0.ask_with(Ask::Dict(swap), load, None)?;
            if let Answer::Done = answer {
                return Ok(result);
            }
        }
    }

    /// Takes a field out; whether there was one.
    pub fn remove(&self, name: &str) -> Result<bool, CallError> {
        match self.0.ask(Ask::Dict(DictAsk::Remove(key(name)?)))? {
            Answer::Value(before) => Ok(before.is_some()),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether there is a field with this name.
    pub fn contains(&self, name: &str) -> Result<bool, CallError> {
        self.0.yes(Ask::Dict(DictAsk::Contains(key(name)?)))
    }

    /// The names of all fields, sorted.
    pub fn names(&self) -> Result<Vec<String>, CallError> {
        match self.0.ask(Ask::Dict(DictAsk::Keys))? {
            Answer::Keys(keys) => {
                let mut names = keys.iter().map(key_of).collect::<Result<Vec<String>, _>>()?;
                names.sort_unstable();
                Ok(names)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// How many fields there are.
    pub fn len(&self) -> Result<u64, CallError> {
        self.0.number(Ask::Dict(DictAsk::Len))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool, CallError> {
        Ok(self.len()? == 0)
    }

    /// Takes all fields out.
    pub fn clear(&self) -> Result<(), CallError> {
        self.0.done(Ask::Dict(DictAsk::Clear), Load::default())
    }

    /// All fields as they are at one instant; at most 64 MiB.
    pub fn snapshot(&self) -> Result<Snapshot, CallError> {
        match self.0.ask(Ask::Dict(DictAsk::Pairs))? {
            Answer::Pairs(pairs) => {
                let fields = pairs.into_iter().map(|(name, item)| Ok((key_of(&name)?, item)));
                Ok(Snapshot(fields.collect::<Result<_, CallError>>()?))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The field with this name, as soon as there is one. Blocks until then.
    ///
    /// # Errors
    /// [`CallError::WrongType`], and others.
    pub fn wait_for<T: Message>(&self, name: &str) -> Result<T, CallError> {
        self.wait_for_by(name, None)
    }

    /// [`wait_for`](Self::wait_for) for at most `timeout`; then [`CallError::TimedOut`].
    pub fn wait_for_timeout<T: Message>(&self, name: &str, timeout: Duration) -> Result<T, CallError> {
        self.wait_for_by(name, Instant::now().checked_add(timeout))
    }

    /// [`wait_for`](Self::wait_for) until `instant`; then [`CallError::TimedOut`].
    pub fn wait_for_until<T: Message>(&self, name: &str, instant: Instant) -> Result<T, CallError> {
        self.wait_for_by(name, Some(instant))
    }

    fn wait_for_by<T: Message>(&self, name: &str, until: Option<Instant>) -> Result<T, CallError> {
        match self.0.ask_with(Ask::Dict(DictAsk::Await(key(name)?)), Load::default(), until)? {
            Answer::Value(Some(item)) => opened(item),
            other => Err(unexpected(&other)),
        }
    }

    fn field<T: Message>(&self, ask: DictAsk, load: Load) -> Result<Option<T>, CallError> {
        match self.0.ask_with(Ask::Dict(ask), load, None)? {
            Answer::Value(item) => item.map(opened).transpose(),
            other => Err(unexpected(&other)),
        }
    }
}

/// The fields that a [`Namespace`] had at one instant, in this process.
#[derive(Clone)]
pub struct Snapshot(BTreeMap<String, Item>);

impl Snapshot {
    /// The field with this name, if there is one.
    ///
    /// # Errors
    /// [`CallError::WrongType`], or it does not decode.
    pub fn get<T: Message>(&self, name: &str) -> Result<Option<T>, CallError> {
        self.0.get(name).cloned().map(opened).transpose()
    }

    /// The names of all fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The value of a field.
fn opened<T: Message>(item: Item) -> Result<T, CallError> {
    match item.unpack()? {
        Opened::Value(value) => Ok(value),
        Opened::Other(is) => Err(CallError::WrongType { is, asked: type_name::<T>() }),
    }
}

/// A field on its way: the name of its type, and its bytes.
struct Packed<'a, T>(&'a T);

impl<T: Message> Serialize for Packed<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        // Handles go into the table of who encodes the whole.
        Postcard::encode_into(self.0, &mut bytes).map_err(ser::Error::custom)?;
        (type_name::<T>(), Bytes::from(bytes)).serialize(serializer)
    }
}

/// A field that has come.
enum Opened<T> {
    Value(T),
    /// It is of this type.
    Other(String),
}

impl<'de, T: Message> Deserialize<'de> for Opened<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (is, bytes) = <(String, Bytes)>::deserialize(deserializer)?;
        if is != type_name::<T>() {
            return Ok(Self::Other(is));
        }
        let value: Result<T, DecodeError> = Postcard::decode(&bytes);
        value.map(Self::Value).map_err(de::Error::custom)
    }
}
