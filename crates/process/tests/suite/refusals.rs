//! Arguments and results that do not make it, and children that lie.
//!
//! # Safety
//! The child writes to the descriptor it was started with, which is open as long as it lives.
#![allow(unsafe_code, reason = "a child that writes on its private channel")]

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use procession_process::{JoinError, SpawnError};
use procession_sys::message::Outgoing;
use procession_sys::spawn::CHILD_FD;
use procession_sys::{Deadline, socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Start, expected};

/// A value that cannot be written, or cannot be read, as it says itself.
#[derive(Debug, PartialEq)]
enum Stubborn {
    Easy,
    NotWritten,
    NotRead,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Easy => 0_u8.serialize(serializer),
            Self::NotWritten => Err(ser::Error::custom("never to be written")),
            Self::NotRead => 1_u8.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Easy),
            _ => Err(de::Error::custom("never to be read")),
        }
    }
}

fn take(_: Stubborn) -> u8 {
    1
}

pub(crate) fn an_argument_that_does_not_encode(start: Start) {
    let error = expected!(start().spawn(take, Stubborn::NotWritten), Err(e @ SpawnError::Argument(_)) => e);
    assert!(error.to_string().contains("never to be written"), "{error}");
    assert_eq!(start().spawn(take, Stubborn::Easy).unwrap().join().unwrap(), 1);
}

pub(crate) fn an_argument_that_does_not_decode(start: Start) {
    let child = start().name("reader").spawn(take, Stubborn::NotRead).unwrap();
    let (who, text) = expected!(child.join(), Err(JoinError::Argument { who, error }) => (who, error));
    assert_eq!(who.name, "reader");
    assert!(text.contains("never to be read"), "{text}");
}

pub(crate) fn a_result_that_does_not_encode(start: Start) {
    let child = start().spawn(|()| Stubborn::NotWritten, ()).unwrap();
    let text = expected!(child.join(), Err(JoinError::ResultNotEncoded { error, .. }) => error);
    assert!(text.contains("never to be written"), "{text}");
}

pub(crate) fn a_result_that_does_not_decode(start: Start) {
    let child = start().spawn(|()| Stubborn::NotRead, ()).unwrap();
    child.wait().unwrap();
    let error = expected!(child.try_join(), Err(JoinError::ResultNotDecoded { error, .. }) => error);
    assert!(error.to_string().contains("never to be read"), "{error}");
    expected!(child.join(), Err(JoinError::AlreadyTaken { .. }));
}

/// The child's end of its private channel.
fn channel() -> BorrowedFd<'static> {
    // SAFETY: this child keeps the descriptor it was started with open until it ends.
    unsafe { BorrowedFd::borrow_raw(CHILD_FD) }
}

/// Bytes that are no message.
pub(crate) fn garbage_on_the_channel(start: Start) {
    fn scribble(exit: bool) -> u8 {
        socket::send_packet(channel(), &[IoSlice::new(b"?")], &[], Deadline::NEVER).unwrap();
        if exit { std::process::exit(0) } else { 1 }
    }
    for exit in [false, true] {
        let child = start().spawn(scribble, exit).unwrap();
        expected!(child.join(), Err(JoinError::Garbled { .. }));
    }
}

/// Messages that are no report.
pub(crate) fn garbage_that_looks_like_a_report(start: Start) {
    fn invent(bytes: Vec<u8>) -> io::Result<()> {
        Outgoing::new().send(channel(), &bytes, &[], Deadline::NEVER).map_err(io::Error::other)
    }
    fn scribble(bytes: Vec<u8>) -> u8 {
        invent(bytes).expect("there is room");
        std::process::exit(0)
    }
    // No such variant; a length beyond the end; nothing at all; a body in memory that does not come along.
    for bytes in [vec![0x7f], vec![2, 0, 0xff], vec![], vec![2, 1]] {
        let child = start().spawn(scribble, bytes.clone()).unwrap();
        expected!(child.join(), Err(JoinError::Garbled { .. }));
    }
}
