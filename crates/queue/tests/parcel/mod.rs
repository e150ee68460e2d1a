//! Messages with descriptors as a carrier makes them, and their way into a role of a test.
#![allow(dead_code, reason = "no program uses all of it")]

use std::os::fd::OwnedFd;

use procession_codec::{Codec, DecodeError, Message, Postcard, handles};
use procession_testkit::roles::{self, Role};

const BYTES: &str = "PROCESSION_TEST_PARCEL";

/// A message on its way: its bytes, and duplicates of its descriptors.
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Encodes, sends, and forgets, as a carrier does.
pub(crate) fn pack<T: Message>(value: &T) -> Parcel {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(value, &mut bytes)).unwrap();
    let descriptors = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    Parcel { bytes, descriptors }
}

impl Parcel {
    /// Decodes as a carrier does.
    pub(crate) fn try_unpack<T: Message>(self) -> Result<T, DecodeError> {
        handles::supply(self.descriptors, || Postcard::decode(&self.bytes))
    }

    pub(crate) fn unpack<T: Message>(self) -> T {
        self.try_unpack().unwrap()
    }
}

/// Hands a value with handles to a role, which takes it with [`received`].
pub(crate) fn hand<T: Message>(role: Role, value: &T) -> Role {
    let Parcel { bytes, descriptors } = pack(value);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let role = role.env(BYTES, format!("{} {hex}", descriptors.len()));
    descriptors.into_iter().enumerate().fold(role, |role, (n, fd)| role.hand(&n.to_string(), fd))
}

/// What was handed to this role.
pub(crate) fn received<T: Message>() -> T {
    let text = std::env::var(BYTES).expect("a parcel");
    let (n, hex) = text.split_once(' ').unwrap();
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let descriptors = (0..n.parse().unwrap()).map(|n: usize| roles::handed(&n.to_string())).collect();
    Parcel { bytes, descriptors }.unpack()
}
