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
use serde::de::DeserializeOwned;
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
    Namespace,
    JobQueue,
    RwLock,
    Condvar,
    Barrier,
    Array,
    Frozen,
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
    Namespace,
    JobQueue {
        /// How many jobs wait in it, at least 1.
        most: u64,
        /// How often each is delivered at most; 0: without a limit.
        deliveries: u32,
        /// Whether the jobs of a worker that dies are delivered again.
        retries: bool,
    },
    /// What it guards at first.
    RwLock(Item),
    Condvar,
    /// How many parties meet, at least 1.
    Barrier(u64),
    /// What is in it at first, each at its index.
    Array(Vec<Item>),
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
            Self::Namespace => Kind::Namespace,
            Self::JobQueue { .. } => Kind::JobQueue,
            Self::RwLock(_) => Kind::RwLock,
            Self::Condvar => Kind::Condvar,
            Self::Barrier(_) => Kind::Barrier,
            Self::Array(_) => Kind::Array,
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
    /// A mutex, a semaphore, or a lock for readers.
    Lease(LeaseAsk),
    Jobs(JobsAsk),
    Condvar(CondvarAsk),
    Barrier(BarrierAsk),
    /// A dictionary, a set or a list: to make an object of what it has now, which never changes.
    Freeze,
    /// What was frozen: a block of what it has, from this row on.
    Block(u64),
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
    GetMany(Vec<Bytes>),
    ContainsAll(Vec<Bytes>),
    RemoveMany(Vec<Bytes>),
    /// To take out all others.
    Keep(Vec<Bytes>),
    /// To take out any one.
    Pop,
    /// To take out all.
    Drain,
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
    /// Those from this index up to that one.
    Range(u64, u64),
    /// The same, and to take them out.
    Drain(u64, u64),
    /// `Range`, with its version.
    ReadRange(u64, u64),
    /// Puts these in place of a range, if its version is still this one; else answers as `ReadRange`.
    SwapRange(u64, u64, u64, Vec<Item>),
    /// Puts these at this index and behind it, where something must be already.
    SetRange(u64, Vec<Item>),
    /// Puts the ones at these indices in each other's place.
    Exchange(u64, u64),
    /// To take out the one at this index, and put the last one in its place.
    SwapRemove(u64),
    Truncate(u64),
    /// To put this one everywhere.
    Fill(Item),
    /// The first index at which the bytes are these.
    Find(Item),
    /// To take out all whose bytes are among these.
    RemoveEqual(Vec<Item>),
    Reverse,
    Last,
}

/// What is asked of a value.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ValueAsk {
    Get,
    /// Answers the one before.
    Put(Item),
    Read,
    Swap(Option<u64>, Item),
    /// To put the second, if the bytes are those of the first; else answers what there is.
    Exchange(Item, Item),
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
    /// To receive what is there, so many at most.
    RecvMany(u64),
    /// How many it holds.
    Capacity,
}

/// What is asked of what is lent: the lock of a mutex, permits of a semaphore, either side of a lock for readers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LeaseAsk {
    /// To take so much, and whether to wait for it.
    Take(Share, bool),
    /// To give the one with this number back, and what is guarded from now on.
    Give(u64, Option<Item>),
    Available,
    /// The same as `Give`, but to keep one share.
    Downgrade(u64, Option<Item>),
}

/// How much of what is lent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Share {
    Of(u64),
    All,
}

/// What is asked of a queue of jobs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JobsAsk {
    /// To send, and whether to wait for room.
    Send(Item, bool),
    /// To receive, and whether to wait for something.
    Recv(bool),
    /// The one with this number is done.
    Done(u64),
    /// It is not, and goes to the next one.
    PutBack(u64),
    /// It never will be.
    GiveUp(u64),
    /// Whether all is done, and whether to wait until then.
    Join(bool),
    /// To take out those that were given up.
    DeadLetters,
    Len,
    Unfinished,
    Close,
    IsClosed,
}

/// What is asked of a condition variable.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CondvarAsk {
    /// To wait, and to give this mutex back.
    Wait {
        mutex: ObjectId,
        /// By which number it was lent.
        lease: u64,
        /// What is guarded from now on.
        item: Option<Item>,
    },
    /// To wake so many.
    Notify(u64),
    /// Who was woken by this number goes on.
    Heard(u64),
}

/// What is asked of a barrier.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum BarrierAsk {
    /// To arrive, and whether to wait for the others.
    Arrive(bool),
    NWaiting,
    Parties,
    IsBroken,
    Abort,
    Reset,
}

/// Why the parties of a barrier have not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Breach {
    /// This process died while it waited.
    Died(u32),
    Aborted,
}

/// A job that was given up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// Only in the answer to who takes it out.
    pub(crate) item: Option<Item>,
    pub(crate) deliveries: u32,
    /// The process that had it last.
    pub(crate) pid: u32,
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
        /// How often it was lent, with this time; 0 where nobody counts.
        n_times: u32,
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
        waiting: u64,
    },
    /// It was not done within the time of who asked.
    Cancelled,
    /// It cannot be done.
    Refused(String),
    /// Code of the user panicked in the server.
    Panicked(Panic),
    /// Values that there may be.
    Options(Vec<Option<Item>>),
    /// At which index something is.
    Found(Option<u64>),
    /// What is in a range, with its version.
    Range(u64, Vec<Item>),
    /// There is no such index.
    OutOfBounds {
        index: u64,
        len: u64,
    },
    /// The parties of a barrier have not met.
    Unmet(Breach),
    /// So many jobs are not done, and these were given up.
    Unfinished(u64, Vec<Letter>),
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
    /// How long it is.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is the same value, as far as bytes tell: one with handles is the same as no other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.descriptors.is_empty() && other.descriptors.is_empty()
    }

    /// The value that was received.
    pub(crate) fn unpack<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
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
