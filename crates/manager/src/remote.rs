//! Traits of the user's whose objects live in a server: what [`remote`](macro@crate::remote) makes of them.
//!
//! ```
//! use procession_manager::{CallError, Manager};
//!
//! #[procession_manager::remote]
//! pub trait Bank {
//!     fn deposit(&mut self, cents: i64) -> i64;
//!     fn withdraw(&mut self, cents: i64) -> Result<i64, String>;
//!     fn balance(&self) -> i64;
//! }
//!
//! struct Vault(i64);
//!
//! impl Bank for Vault {
//!     fn deposit(&mut self, cents: i64) -> i64 { self.0 += cents; self.0 }
//!     fn withdraw(&mut self, cents: i64) -> Result<i64, String> {
//!         if cents > self.0 { return Err(format!("there are {} cents", self.0)) }
//!         self.0 -= cents;
//!         Ok(self.0)
//!     }
//!     fn balance(&self) -> i64 { self.0 }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = Manager::start()?;
//! // The function makes the object in the server.
//! let bank = manager.register(|cents: i64| -> Box<dyn Bank> { Box::new(Vault(cents)) }, 100)?;
//! let child = procession_process::spawn(|bank: BankProxy| bank.deposit(5).unwrap(), bank.clone())?;
//! assert_eq!(child.join()?, 105);
//! assert_eq!(bank.withdraw(200)?, Err("there are 105 cents".to_owned()));
//! assert_eq!(bank.balance()?, 105);
//! # Ok(()) }
//! ```
//!
//! # What the proxy has
//! For a trait `Bank`, `BankProxy`: Send, Sync, Clone, and a value that travels, as all proxies are. For each method of the
//! trait it has one with the same name and arguments, whose answer is in a `Result` with [`CallError`]. A method that returns
//! a `Result` has its own inside of that: `bank.withdraw(5)??`. What all proxies have besides is in [`RemoteProxy`].
//!
//! | of the trait | |
//! |---|---|
//! | `&self`, `&mut self` | calls of `&self` run at the same time as each other, calls of `&mut self` alone; in the order in which they came |
//! | arguments | values that own their data, or `&T`, `&str`, `&[T]`, `&Path` of such: these are encoded from where they are |
//! | answers | values that own their data |
//! | parameters of the trait, as in `trait Store<T>` | stay parameters of the proxy |
//! | methods with `where Self: Sized`, and those of supertraits | cannot be called from afar |
//! | generic methods, associated types, `self` by value | do not compile; the error says what to do |
//!
//! Objects are `Send` and `Sync`: the attribute adds that to the trait. Each call runs in a thread of the server that it has
//! for itself, so a long one keeps nobody else waiting, but those who call the same object.
//!
//! # Panics of a method
//! The caller gets [`CallError::Panicked`], with message, place and backtrace of the server, and its own backtrace. After
//! one in a method with `&mut self` the object may be half changed: it is *poisoned*, as a mutex of the standard library is.
//! Every call then answers [`CallError::Poisoned`], until somebody who knows better says
//! [`clear_poison`](RemoteProxy::clear_poison). A panic in a method with `&self` changes nothing of that kind.
//!
//! # Versions
//! A call names a method by its name and its signature, as they stand in the source. A server whose trait has no such method
//! says [`CallError::UnknownMethod`], one where it has other types [`CallError::OtherVersion`], with both signatures. Methods
//! may be added and put in another order. Nothing but what the trait names can be called.
//!
//! # Without blocking
//! A call blocks until it was carried out. One with a limit of time: [`within`](RemoteProxy::within).
//!
//! # If somebody dies
//! A client that dies, or gives up, before its call has begun has not called; one that has begun is carried out. With the
//! server its objects are gone, without being dropped.

use std::backtrace::Backtrace;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

pub use procession_codec::Message;
use procession_process::Panic;
#[doc(hidden)]
pub use serde;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CallError;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item, Kind, Load, RemoteAsk};

/// A trait whose objects can live in a server: of `dyn Bank` for a trait `Bank` with the attribute
/// [`remote`](macro@crate::remote), which alone implements it.
#[diagnostic::on_unimplemented(
    message = "objects of `{Self}` cannot live in a manager",
    note = "put `#[procession::remote]` before a trait, and return a `Box<dyn Trait>` of it"
)]
pub trait Remote: Send + Sync + 'static {
    /// What stands for it in clients.
    type Proxy: RemoteProxy<Of = Self>;
    #[doc(hidden)]
    const NAME: &'static str;
    #[doc(hidden)]
    const NUMBER: u64;
    #[doc(hidden)]
    const METHODS: &'static [Method];
    #[doc(hidden)]
    fn call_shared(object: &Self, method: u64, exchange: &mut Exchange);
    #[doc(hidden)]
    fn call_exclusive(object: &mut Self, method: u64, exchange: &mut Exchange);
}

/// What the proxies of all remote traits have.
pub trait RemoteProxy: Clone + Message + Send + Sync + 'static {
    /// The trait, as `dyn Trait`.
    type Of: ?Sized + Remote<Proxy = Self>;
    #[doc(hidden)]
    fn from_handle(handle: Handle<Self::Of>) -> Self;
    #[doc(hidden)]
    fn handle(&self) -> &Handle<Self::Of>;

    /// Whether both are proxies to one object.
    fn is_same(&self, other: &Self) -> bool {
        self.handle().raw.is_same(&other.handle().raw)
    }

    /// A proxy to the same object whose calls wait for at most `limit` until they begin, and then answer
    /// [`CallError::TimedOut`]. One that has begun is waited for five seconds longer, and is then carried out unheard. Proxies
    /// sent to other processes have no limit.
    fn within(&self, limit: Duration) -> Self {
        let Handle { raw, .. } = self.handle().clone();
        Self::from_handle(Handle { raw, limit: Some(limit), types: PhantomData })
    }

    /// Whether a method with `&mut self` has panicked, so that calls answer [`CallError::Poisoned`].
    ///
    /// # Errors
    /// The server is gone.
    fn is_poisoned(&self) -> Result<bool, CallError> {
        self.handle().raw.yes(Ask::Remote(RemoteAsk::IsPoisoned))
    }

    /// Calls are carried out again after a panic: whoever says so knows that the object is in order.
    ///
    /// # Errors
    /// The server is gone.
    fn clear_poison(&self) -> Result<(), CallError> {
        self.handle().raw.done(Ask::Remote(RemoteAsk::ClearPoison), Load::default())
    }
}

/// A panic of a method, in the server, as its caller has it.
#[non_exhaustive]
pub struct RemotePanic {
    /// What happened in the server, with the backtrace there.
    pub server: Panic,
    /// Where it was called.
    pub caller: Backtrace,
}

impl RemotePanic {
    pub(crate) fn heard(server: Panic) -> Self {
        Self { server, caller: Backtrace::force_capture() }
    }
}

impl fmt::Display for RemotePanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server {}", self.server)
    }
}

impl fmt::Debug for RemotePanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, caller } = self;
        write!(f, "{self}\nin the server:\n{}\ncalled by:\n{caller}", server.backtrace)
    }
}

/// One row of the table of a trait.
#[doc(hidden)]
#[derive(Debug)]
pub struct Method {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    pub(crate) number: u64,
    pub(crate) version: u64,
    pub(crate) is_exclusive: bool,
}

#[doc(hidden)]
impl Method {
    pub const fn new(
        name: &'static str,
        signature: &'static str,
        number: u64,
        version: u64,
        is_exclusive: bool,
    ) -> Self {
        Self { name, signature, number, version, is_exclusive }
    }
}

/// Only compiles for what can be sent.
#[doc(hidden)]
pub const fn travels<T: Message>() {}

/// The arguments of a call on their way in, the answer on its way out.
#[doc(hidden)]
#[derive(Debug)]
pub struct Exchange {
    arguments: Option<Item>,
    outcome: Option<Result<(Item, Load), String>>,
}

#[doc(hidden)]
impl Exchange {
    pub(crate) fn new(arguments: Item) -> Self {
        Self { arguments: Some(arguments), outcome: None }
    }

    pub fn arguments<T: DeserializeOwned + Serialize>(&mut self) -> Option<T> {
        match self.arguments.take()?.unpack() {
            Ok(arguments) => Some(arguments),
            Err(error) => {
                self.outcome = Some(Err(format!("the arguments are not what the method takes: {error}")));
                None
            }
        }
    }

    pub fn answer<T: Serialize>(&mut self, answer: &T) {
        let mut load = Load::default();
        let packed = load.pack(answer).map(|item| (item, load));
        self.outcome = Some(packed.map_err(|error| format!("what the method returned: {error}")));
    }

    /// What came of it; also what moves with it when it was sent.
    pub(crate) fn into_answer(self) -> (Answer, Load) {
        match self.outcome {
            Some(Ok((item, load))) => (Answer::Value(Some(item)), load),
            Some(Err(why)) => (Answer::Refused(why), Load::default()),
            None => (Answer::NoMethod, Load::default()),
        }
    }
}

/// What a proxy is made of.
#[doc(hidden)]
pub struct Handle<T: ?Sized> {
    raw: Raw,
    limit: Option<Duration>,
    types: PhantomData<fn() -> Box<T>>,
}

#[doc(hidden)]
impl<T: ?Sized + Remote> Handle<T> {
    pub fn call<A: Serialize, R: DeserializeOwned + Serialize>(
        &self,
        method: &Method,
        arguments: &A,
    ) -> Result<R, CallError> {
        let mut load = Load::default();
        let arguments = load.pack(arguments)?;
        let (number, version) = (method.number, method.version);
        let ask = Ask::Remote(RemoteAsk::Call { number, version, arguments });
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        let full = |signature: &str| format!("{}::{signature}", T::NAME);
        match self.raw.ask_with(ask, load, deadline)? {
            Answer::Value(Some(answer)) => Ok(answer.unpack()?),
            Answer::NoMethod => Err(CallError::UnknownMethod { method: full(method.name) }),
            Answer::OtherVersion(theirs) => {
                Err(CallError::OtherVersion { ours: full(method.signature), theirs: full(&theirs) })
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl<T: ?Sized> Handle<T> {
    pub(crate) fn from_raw(raw: Raw) -> Self {
        Self { raw, limit: None, types: PhantomData }
    }
}

impl<T: ?Sized> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), limit: self.limit, types: PhantomData }
    }
}

impl<T: ?Sized> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de, T: ?Sized + Remote> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(Kind::Remote(T::NUMBER), deserializer).map(Self::from_raw)
    }
}

impl<T: ?Sized> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.raw).finish()
    }
}
