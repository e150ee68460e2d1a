//! One value into a message and out of it, over a link.
//!
//! Invariant: nobody's turn is held while a value is encoded or decoded.

use procession_codec::handles::{self, Outgoing as Handles};
use procession_codec::{Codec, Message};
use procession_sys::Deadline;
use procession_sys::message::HEADROOM;

use crate::error::{RecvError, SendError};
use crate::link::Link;
use crate::scratch;

pub(crate) fn send<S: Message, C: Codec>(
    link: &Link,
    limit: u64,
    value: &S,
    deadline: Deadline,
) -> Result<(), SendError> {
    let (mut framed, handles) = encode::<S, C>(link, limit, value)?;
    let descriptors: Vec<_> = handles.descriptors().collect();
    let sent = link.send(&mut framed, &descriptors, deadline);
    scratch::keep(framed);
    sent?;
    drop(descriptors);
    handles.commit();
    Ok(())
}

/// A value behind room for a header, and its handles.
#[inline]
pub(crate) fn encode<S: Message, C: Codec>(
    link: &Link,
    limit: u64,
    value: &S,
) -> Result<(Vec<u8>, Handles), SendError> {
    let mut framed = scratch::take_framed();
    let encode = || C::encode_into(value, &mut framed);
    let ((), handles) = match link.carries_handles() {
        true => handles::collect(encode),
        false => handles::refuse(encode).map(|()| ((), Handles::default())),
    }
    .map_err(SendError::Encode)?;
    let len = (framed.len() - HEADROOM) as u64;
    if len > limit {
        return Err(SendError::TooLarge { len, limit });
    }
    Ok((framed, handles))
}

pub(crate) fn recv<R: Message, C: Codec>(link: &Link, deadline: Deadline) -> Result<R, RecvError> {
    let mut spare = scratch::take();
    let received = link.recv(deadline, &mut spare);
    scratch::keep(spare);
    let (bytes, descriptors) = received?;
    let value = handles::supply(descriptors, || C::decode(&bytes));
    match bytes.into_spare() {
        Ok(spare) => scratch::keep(spare),
        Err(bytes) => link.take_back(bytes),
    }
    value.map_err(RecvError::Decode)
}
