//! What all proxies are made of: which object, the ticket that keeps it, and the way to its server.
//!
//! Invariants: whoever has one has a ticket, so its object is there as long as the server is; one that arrives as the proxy
//! of another kind is refused when it is decoded. Held by `tests/handles.rs`.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use procession_codec::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::CallError;
use crate::session::Session;
use crate::wire::{Answer, Ask, Kind, Load, ObjectId, SERVER, ServerId};

/// A proxy without its types. Clone: all clones in a process are one.
#[derive(Clone, Debug)]
pub(crate) struct Raw(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: Identity,
    ticket: Descriptor,
    /// The connection of the process that asked first.
    session: OnceLock<Arc<Session>>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Identity {
    server: ServerId,
    object: ObjectId,
    kind: Kind,
}

impl Raw {
    /// Makes an object in the server.
    pub(crate) fn make(session: &Arc<Session>, kind: Kind) -> Result<Self, CallError> {
        match session.call(SERVER, Ask::Make(kind), Load::default(), None)? {
            Answer::Made(object, ticket) => {
                let id = Identity { server: session.server(), object, kind };
                let known = OnceLock::from(Arc::clone(session));
                Ok(Self(Arc::new(Inner { id, ticket, session: known })))
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
            // A copy that a fork has made: its own process is asked for each time.
            Some(_) => Session::to(id.server)?.call(id.object, ask, load, deadline),
            None => {
                let found = Session::to(id.server)?;
                let _ = session.set(Arc::clone(&found));
                found.call(id.object, ask, load, deadline)
            }
        }
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
            let text = format!("a proxy of a {:?} arrived where one of a {kind:?} was to", id.kind);
            return Err(de::Error::custom(text));
        }
        Ok(Self(Arc::new(Inner { id, ticket, session: OnceLock::new() })))
    }
}

/// A server that answers something else than was asked.
#[cold]
pub(crate) fn unexpected(answer: &Answer) -> CallError {
    CallError::Refused(format!("the server answered something else: {answer:?}"))
}
