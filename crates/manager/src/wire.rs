//! What clients and the server say to each other.
//!
//! A client process has one connection to a server. Each [`Request`] has a number, and what it asks is answered once, by
//! the [`Reply`] of that number, in any order; number 0 is for what nobody waits for. Values are bytes that the server does
//! not look into, with their descriptors beside them.
//!
//! Invariant: nothing here names a function, but what an object of a trait is made from, which is taken from the process
//! that started the server and from nobody else; so all may come from anywhere, and is answered or refused.
//!
//! **Tickets.** Each object has a pair of sockets. The server keeps one end; dups of the other, the *ticket*, are in all
//! proxies to it, whichever process or message they are in. So the kernel counts who holds the object, also across
//! SIGKILL: when the last ticket is closed, the server reads the end of its side and drops the object. Nothing is ever
//! sent there: several processes have the same end, and a message with descriptors takes two packets.
//!
//! **The entrance.** A process that has a proxy and no connection yet connects to the server's listener, at a name that is
//! random, with a key that is in every proxy. The first request says [`Ask::Hello`].

use std::fmt;

use procession_codec::handles::{self, Outgoing};
use procession_codec::{Bytes, Codec, DecodeError, Descriptor, EncodeError, Message, Postcard};
use procession_pipe::{Address, AuthKey, PipeError};
use procession_process::Panic;
use serde::{Deserialize, Serialize};

/// Changes with everything in this file.
pub(crate) const VERSION: u32 = 1;

/// Which server; never the same twice, and known to those only who have a proxy to an object of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ServerId {
    name: u128,
    key: [u8; AuthKey::LEAST],
}

impl ServerId {
    pub(crate) fn random() -> Result<Self, PipeError> {
        let (name, key) = (AuthKey::random()?, AuthKey::random()?);
        let mut id = Self { name: 0, key: [0; AuthKey::LEAST] };
        id.name = name.as_bytes().iter().fold(0, |name, byte| name << 8 | u128::from(*byte));
        id.key.copy_from_slice(&key.as_bytes()[..AuthKey::LEAST]);
        Ok(id)
    }

    /// Where its entrance is.
    pub(crate) fn address(&self) -> Address {
        Address::Abstract(format!("procession-manager-{:032x}", self.name))
    }

    /// What opens it.
    pub(crate) fn key(&self) -> AuthKey {
        let Ok(key) = AuthKey::from_bytes(self.key) else { unreachable!("it has the least length") };
        key
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({:032x})", self.name)
    }
}

/// Which object of a server; never the same twice. 0 is the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectId(pub(crate) u64);

/// The server itself.
pub(crate) const SERVER: ObjectId = ObjectId(0);

/// What kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Dict,
    Set,
    List,
    Value,
    Queue,
    Event,
    Mutex,
    Semaphore,
    /// Of the trait whose name has this hash.
    Remote(u64),
}

/// What an object is made from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Recipe {
    Dict,
    Set,
    List,
    /// What it is at first.
    Value(Item),
    /// How many it holds, at least 1.
    Queue(u64),
    Event,
    /// What it guards at first.
    Mutex(Item),
    /// How many permits there are.
    Semaphore(u64),
    /// Of the trait whose name has this hash: what the function of this token makes of the argument.
    Remote {
        number: u64,
        token: Bytes,
        argument: Item,
    },
}

impl Recipe {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Dict => Kind::Dict,
            Self::Set => Kind::Set,
            Self::List => Kind::List,
            Self::Value(_) => Kind::Value,
            Self::Queue(_) => Kind::Queue,
            Self::Event => Kind::Event,
            Self::Mutex(_) => Kind::Mutex,
            Self::Semaphore(_) => Kind::Semaphore,
            Self::Remote { number, .. } => Kind::Remote(*number),
        }
    }
}

/// What a client asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// 0: nobody waits for an answer.
    pub(crate) id: u64,
    pub(crate) object: ObjectId,
    pub(crate) ask: Ask,
}

/// What comes of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) answer: Answer,
}

/// What is asked of the server or of an object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The server: to be of this [`VERSION`].
    Hello(u32),
    /// The server: to make an object.
    Make(Recipe),
    /// The server: how much it has.
    Count,
    /// The server: to end.
    Shutdown,
    /// An object: not to wait any longer for what the request with this number asked.
    Cancel(u64),
    /// A dictionary, or a set: a dictionary whose values are empty.
    Dict(DictAsk),
    List(ListAsk),
    Value(ValueAsk),
    Queue(QueueAsk),
    Event(EventAsk),
    /// A mutex or a semaphore.
    Lease(LeaseAsk),
    /// An object of a trait.
    Remote(RemoteAsk),
}

/// What is asked of a dictionary. Keys are compared by their bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum DictAsk {
    Get(Bytes),
    Contains(Bytes),
    Insert(Bytes, Item),
    Remove(Bytes),
    Len,
    Clear,
    Keys,
    Pairs,
    Extend(Vec<(Bytes, Item)>),
    GetOrInsert(Bytes, Item),
    /// The value, with its version.
    Read(Bytes),
    /// Puts or removes a value, if its version is still this one, or it is still not there; else answers as `Read`.
    Swap(Bytes, Option<u64>, Option<Item>),
    /// The value, as soon as there is one.
    Await(Bytes),
}

/// What is asked of a list. Whatever is not there is answered with nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ListAsk {
    Get(u64),
    Set(u64, Item),
    /// Before the one at this index, or after the last.
    Insert(u64, Item),
    Remove(u64),
    Extend(Vec<Item>),
    Pop,
    Len,
    Clear,
    All,
    Read(u64),
    Swap(u64, Option<u64>, Item),
}

/// What is asked of a value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ValueAsk {
    Get,
    /// Answers the one before.
    Put(Item),
    Read,
    Swap(Option<u64>, Item),
}

/// What is asked of a queue.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum QueueAsk {
    /// To send, and whether to wait for room.
    Send(Item, bool),
    /// To receive, and whether to wait for something.
    Recv(bool),
    Len,
    Close,
    IsClosed,
}

/// What is asked of what is lent: the lock of a mutex, permits of a semaphore.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LeaseAsk {
    /// To take one, and whether to wait for it.
    Take(bool),
    /// To give the one with this number back, and what is guarded from now on.
    Give(u64, Option<Item>),
    Available,
}

/// What is asked of an event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum EventAsk {
    Set,
    Clear,
    IsSet,
    Wait,
}

/// What is asked of an object of a trait.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RemoteAsk {
    /// To call the method whose name and signature have these hashes.
    Call {
        number: u64,
        version: u64,
        arguments: Item,
    },
    IsPoisoned,
    ClearPoison,
}

/// What an answer can be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It was done.
    Done,
    Yes(bool),
    Number(u64),
    Value(Option<Item>),
    Versioned(Option<(u64, Item)>),
    Keys(Vec<Bytes>),
    Pairs(Vec<(Bytes, Item)>),
    Items(Vec<Item>),
    /// One was taken.
    Lent {
        /// Its number.
        lease: u64,
        /// What is guarded.
        item: Option<Item>,
        /// The process of the last one who had it, if that died meanwhile.
        died: Option<u32>,
    },
    /// It would have to wait.
    WouldWait,
    /// The queue is closed.
    Closed,
    /// An object was made, with its ticket.
    Made(ObjectId, Descriptor),
    /// What the server has.
    Counted {
        objects: u64,
        clients: u64,
    },
    /// It was not done within the time of who asked.
    Cancelled,
    /// It cannot be done.
    Refused(String),
    /// Code of the user panicked in the server.
    Panicked(Panic),
    /// The trait has no such method.
    NoMethod,
    /// The method has this signature.
    OtherVersion(String),
    /// A method has panicked before, and said this.
    Poisoned(String),
    /// The function is none of the server's program, or comes from somebody who may not send any.
    NotSameImage,
}

/// A value: its bytes, and the descriptors that belong to them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    bytes: Bytes,
    descriptors: Vec<Descriptor>,
}

impl Item {
    /// The value that was received.
    pub(crate) fn unpack<T: Message>(self) -> Result<T, DecodeError> {
        let owned: Result<Vec<_>, _> = self.descriptors.into_iter().map(Descriptor::into_owned).collect();
        let owned = owned.map_err(|e| DecodeError::Malformed(format!("duplicating a handle: {e}")))?;
        handles::supply(owned, || Postcard::decode(&self.bytes))
    }
}

/// The handles in the values of one request. What of them moves has moved when it was sent, and else comes back.
#[derive(Debug, Default)]
pub(crate) struct Load(Vec<Outgoing>);

impl Load {
    /// A value to be sent.
    pub(crate) fn pack<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<Item, EncodeError> {
        let mut bytes = Vec::new();
        let ((), handles) = handles::collect(|| Postcard::encode_into(value, &mut bytes))?;
        if handles.is_empty() {
            return Ok(Item { bytes: bytes.into(), descriptors: Vec::new() });
        }
        let copies = handles.descriptors().map(|descriptor| descriptor.try_clone_to_owned());
        let copies: Result<Vec<_>, _> = copies.map(|copy| copy.map(Descriptor::from)).collect();
        let descriptors = copies.map_err(|e| EncodeError::Value(format!("duplicating a handle: {e}")))?;
        self.0.push(handles);
        Ok(Item { bytes: bytes.into(), descriptors })
    }

    /// It was sent.
    pub(crate) fn commit(self) {
        self.0.into_iter().for_each(Outgoing::commit);
    }
}

/// The bytes that stand for a key.
pub(crate) fn key<Q: Serialize + ?Sized>(key: &Q) -> Result<Bytes, EncodeError> {
    let mut bytes = Vec::new();
    // A handle is not equal to itself once it was sent.
    handles::refuse(|| Postcard::encode_into(key, &mut bytes))?;
    Ok(bytes.into())
}

/// The key that the bytes stand for.
pub(crate) fn key_of<K: Message>(bytes: &Bytes) -> Result<K, DecodeError> {
    handles::refuse(|| Postcard::decode(bytes))
}
