//! Handles for other roles of a test: they go as messages do.

use std::os::fd::OwnedFd;

use procession_codec::{Codec, Message, Postcard, handles};
use procession_testkit::roles::{self, Role};

const PARCEL: &str = "PROCESSION_TEST_PARCEL";

/// Hands a value with handles to a role, which takes it with [`received`].
pub(crate) fn hand<T: Message>(role: Role, value: &T) -> Role {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(value, &mut bytes)).unwrap();
    let fds: Vec<OwnedFd> = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    let text =
        format!("{} {}", fds.len(), bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let role = role.env(PARCEL, text);
    fds.into_iter().enumerate().fold(role, |role, (n, fd)| role.hand(&n.to_string(), fd))
}

/// What was handed to this role.
pub(crate) fn received<T: Message>() -> T {
    let text = std::env::var(PARCEL).expect("a parcel");
    let (n_fds, hex) = text.split_once(' ').unwrap();
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    let fds = (0..n_fds.parse().unwrap()).map(|n: usize| roles::handed(&n.to_string())).collect();
    handles::supply(fds, || Postcard::decode(&bytes)).unwrap()
}
