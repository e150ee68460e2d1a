//! Messages as a carrier makes them, and their way into a process that is started.
#![allow(dead_code, reason = "no program uses all of it")]

use std::os::fd::OwnedFd;

use procession_codec::{Codec, DecodeError, EncodeError, Message, Postcard, handles};
use procession_testkit::roles::{self, Role};

/// A message on its way: its bytes, and duplicates of its descriptors.
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Encodes, sends, and forgets, as a carrier does.
pub(crate) fn pack<T: Message>(value: &T) -> Result<Parcel, EncodeError> {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(value, &mut bytes))?;
    let descriptors = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    Ok(Parcel { bytes, descriptors })
}

impl Parcel {
    /// Decodes as a carrier does.
    pub(crate) fn unpack<T: Message>(self) -> Result<T, DecodeError> {
        handles::supply(self.descriptors, || Postcard::decode(&self.bytes))
    }

    /// Hands it to a process; this one then has nothing of it, once that runs.
    pub(crate) fn hand_to(self, role: Role) -> Role {
        let numbers: Vec<_> = self.bytes.iter().map(ToString::to_string).collect();
        let role =
            role.env("PARCEL", numbers.join(" ")).env("PARCEL_HOLDS", self.descriptors.len().to_string());
        let each = self.descriptors.into_iter().enumerate();
        each.fold(role, |role, (n, fd)| role.hand(&format!("parcel{n}"), fd))
    }

    /// In that process: what it was handed.
    pub(crate) fn handed() -> Self {
        let text = |key| std::env::var(key).unwrap();
        let bytes = text("PARCEL").split(' ').map(|byte| byte.parse().unwrap()).collect();
        let n: usize = text("PARCEL_HOLDS").parse().unwrap();
        Self { bytes, descriptors: (0..n).map(|n| roles::handed(&format!("parcel{n}"))).collect() }
    }
}
