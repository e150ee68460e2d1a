//! Objects whose size is chosen when they are made: how they are made, travel and arrive. They are never parts.
//!
//! Invariant: what arrives has the fingerprint that is expected, and a domain; its length is the business of its type.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use procession_codec::handles;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::Fingerprint;
use crate::domain::Domain;
use crate::error::ShmError;
use crate::object::{Access, Object};
use crate::space::Space;

/// What such an object is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// For people, in `/proc` and in reports of waits.
    pub(crate) name: &'static str,
    pub(crate) fingerprint: Fingerprint,
}

/// Memory of its own, all zero, for users whose deaths matter.
pub(crate) fn create(kind: Kind, len: usize) -> Result<Space, ShmError> {
    let Kind { name, fingerprint } = kind;
    let domain = Domain::current()?;
    Ok(Space::whole(Object::create_in(Some(domain), name, fingerprint, len)?, name))
}

/// What came by other ways than a message.
pub(crate) fn adopt(fd: OwnedFd, domain: Option<Domain>, kind: Kind) -> Result<Space, ShmError> {
    let object = Object::adopt_in(domain, fd, Some(kind.fingerprint), Access::Write)?;
    Ok(Space::whole(object, kind.name))
}

/// How it looks in a message.
#[derive(Serialize, Deserialize)]
struct Sent {
    object: u32,
    domain: Option<Domain>,
}

/// Puts it into the message that is being encoded.
pub(crate) fn serialize<S: Serializer>(space: &Space, serializer: S) -> Result<S::Ok, S::Error> {
    let object = space.object();
    object.must_be_open().map_err(ser::Error::custom)?;
    let index = handles::put(Arc::clone(object) as _).map_err(ser::Error::custom)?;
    Sent { object: index, domain: space.domain().cloned() }.serialize(serializer)
}

/// Takes it out of the message that is being decoded, and makes a handle of it.
pub(crate) fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    kind: Kind,
    find: impl FnOnce(Space) -> Result<T, ShmError>,
) -> Result<T, D::Error> {
    let Sent { object, domain } = Sent::deserialize(deserializer)?;
    let fd = handles::take(object).map_err(ShmError::Handle);
    fd.and_then(|fd| adopt(fd, domain, kind)).and_then(find).map_err(de::Error::custom)
}
