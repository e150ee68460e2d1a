//! What all proxies are made of: which object, the ticket that keeps it, and the way to its server.
//!
//! Invariants: whoever has one has a ticket, so its object is there as long as the server is; one that arrives as the proxy
//! of another kind is refused when it is decoded. Held by `tests/handles.rs`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use procession_codec::{Descriptor, Message};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::CallError;
use crate::session::Session;
use crate::wire::{Answer, Ask, Item, Kind, Load, ObjectId, Recipe, SERVER, ServerId};

/// A proxy without its types. Clone: all clones in a process are one.
#[derive(Clone, Debug)]
pub(crate) struct Raw(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: Identity,
    ticket: Descriptor,
    /// The connection of the process that asked first.
    session: OnceLock<Arc<Session>>,
    /// In a copy that a fork has made: that of its own process.
    forked: Mutex<Option<Arc<Session>>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Identity {
    server: ServerId,
    object: ObjectId,
    kind: Kind,
}

impl Raw {
    /// Makes an object in the server.
    pub(crate) fn make(session: &Arc<Session>, recipe: Recipe, load: Load) -> Result<Self, CallError> {
        let kind = recipe.kind();
        match session.call(SERVER, Ask::Make(recipe), load, None)? {
            Answer::Made(object, ticket) => {
                let id = Identity { server: session.server(), object, kind };
                let known = OnceLock::from(Arc::clone(session));
                Ok(Self(Arc::new(Inner { id, ticket, session: known, forked: Mutex::default() })))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks the object, and waits.
    pub(crate) fn ask(&self, ask: Ask) -> Result<Answer, CallError> {
        self.ask_with(ask, Load::default(), None)
    }

    /// Asks the object, with values and what travels in them, and waits until `deadline` if there is one.
    pub(crate) fn ask_with(
        &self,
        ask: Ask,
        load: Load,
        deadline: Option<Instant>,
    ) -> Result<Answer, CallError> {
        let Inner { id, session, .. } = &*self.0;
        match session.get() {
            Some(session) if session.is_ours() => session.call(id.object, ask, load, deadline),
            Some(_) => self.forked()?.call(id.object, ask, load, deadline),
            None => {
                let found = Session::to(id.server)?;
                let _ = session.set(Arc::clone(&found));
                found.call(id.object, ask, load, deadline)
            }
        }
    }

    /// The connection of a forked child, which is not that of its parent.
    #[cold]
    fn forked(&self) -> Result<Arc<Session>, CallError> {
        let mut forked = self.0.forked.lock().unwrap_or_else(PoisonError::into_inner);
        match &*forked {
            Some(session) if session.is_ours() => Ok(Arc::clone(session)),
            _ => Ok(Arc::clone(forked.insert(Session::to(self.0.id.server)?))),
        }
    }

    /// Says something that nobody waits for, over the connection that has asked before. False: it cannot be said.
    pub(crate) fn tell(&self, ask: Ask, load: Load) -> bool {
        match self.0.session.get() {
            Some(session) if session.is_ours() => session.tell(self.0.id.object, ask, load),
            Some(_) => self.forked().is_ok_and(|session| session.tell(self.0.id.object, ask, load)),
            None => true,
        }
    }

    /// Asks for what has no value.
    pub(crate) fn done(&self, ask: Ask, load: Load) -> Result<(), CallError> {
        self.done_by(ask, load, None)
    }

    /// Asks for what has no value and may take until `deadline`.
    pub(crate) fn done_by(&self, ask: Ask, load: Load, deadline: Option<Instant>) -> Result<(), CallError> {
        match self.ask_with(ask, load, deadline)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for a yes or no.
    pub(crate) fn yes(&self, ask: Ask) -> Result<bool, CallError> {
        match self.ask(ask)? {
            Answer::Yes(yes) => Ok(yes),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for a number.
    pub(crate) fn number(&self, ask: Ask) -> Result<u64, CallError> {
        match self.ask(ask)? {
            Answer::Number(n) => Ok(n),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for a value that there may be.
    pub(crate) fn value<V: Message>(&self, ask: Ask, load: Load) -> Result<Option<V>, CallError> {
        match self.ask_with(ask, load, None)? {
            Answer::Value(value) => Ok(value.map(Item::unpack).transpose()?),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for a value that there is, or that comes until `deadline`.
    pub(crate) fn needed<V: Message>(
        &self,
        ask: Ask,
        load: Load,
        deadline: Option<Instant>,
    ) -> Result<V, CallError> {
        match self.ask_with(ask, load, deadline)? {
            Answer::Value(Some(value)) => Ok(value.unpack()?),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads a value by `read`, changes it, and puts it back by `swap` if it is still the one that was read; else does all
    /// again with the one that is there then. Where there is none it starts from `start`, or else does nothing.
    pub(crate) fn update<V: Message, A: Clone, R>(
        &self,
        read: Ask,
        swap: impl Fn(Option<u64>, Item) -> Ask,
        start: Option<fn() -> V>,
        change: fn(&mut V, A) -> R,
        argument: A,
    ) -> Result<Option<R>, CallError> {
        let mut answer = self.ask(read)?;
        let mut result = None;
        loop {
            let (version, mut value) = match (answer, start) {
                (Answer::Done, _) => return Ok(result),
                (Answer::Versioned(Some((version, item))), _) => (Some(version), item.unpack()?),
                (Answer::Versioned(None), Some(start)) => (None, start()),
                (Answer::Versioned(None), None) => return Ok(None),
                (other, _) => return Err(unexpected(&other)),
            };
            result = Some(change(&mut value, argument.clone()));
            let mut load = Load::default();
            let item = load.pack(&value)?;
            answer = self.ask_with(swap(version, item), load, None)?;
        }
    }

    /// Another object in the same server, which has what this one has now.
    pub(crate) fn freeze(&self) -> Result<Self, CallError> {
        match self.ask(Ask::Freeze)? {
            Answer::Made(object, ticket) => {
                let Inner { id, session, .. } = &*self.0;
                let id = Identity { object, kind: Kind::Frozen, ..*id };
                let (session, forked) = (session.clone(), Mutex::default());
                Ok(Self(Arc::new(Inner { id, ticket, session, forked })))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Which object it is, if it is in the same server as `other`.
    pub(crate) fn beside(&self, other: &Self) -> Option<ObjectId> {
        (self.0.id.server == other.0.id.server).then_some(self.0.id.object)
    }

    /// Whether both are of one object.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.0.id.server, self.0.id.object) == (other.0.id.server, other.0.id.object)
    }

    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.id, &self.0.ticket).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        kind: Kind,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let (id, ticket) = <(Identity, Descriptor)>::deserialize(deserializer)?;
        if id.kind != kind {
            let text = format!("a proxy of kind {:?} arrived where one of kind {kind:?} was to", id.kind);
            return Err(de::Error::custom(text));
        }
        Ok(Self(Arc::new(Inner { id, ticket, session: OnceLock::new(), forked: Mutex::default() })))
    }
}

/// A server that answers something else than was asked, if not that it cannot be done.
#[cold]
pub(crate) fn unexpected(answer: &Answer) -> CallError {
    if let Answer::OutOfBounds { index, len } = *answer {
        return CallError::OutOfBounds { index, len };
    }
    CallError::Refused(format!("the server answered something else: {answer:?}"))
}
