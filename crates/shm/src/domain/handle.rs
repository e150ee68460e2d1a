//! A domain in a message: its descriptor travels beside the bytes.
//!
//! Invariant: a domain arrives as the one that this process knows by that id, if it knows it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use procession_codec::handles::{self, Carried};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Domain, Table, registry};

impl Carried for Table {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// Writes an index of the handle table; fails where descriptors are not carried.
impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = handles::put(Arc::clone(&self.0) as _).map_err(ser::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

/// Attaches the domain that came with the message, or finds it if it is known.
impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let descriptor = handles::take(u32::deserialize(deserializer)?).map_err(de::Error::custom)?;
        registry::attach(descriptor).map(Self).map_err(de::Error::custom)
    }
}
