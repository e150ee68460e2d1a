//! Messages over streams, which keep no boundaries: the packets of a message become frames.
//!
//! A frame is the header of a packet, then its payload, then a mark of one byte. The length of a payload is not written:
//! it is what is left of the message, at most [`PAYLOAD`](super::PAYLOAD) bytes. Descriptors there are none.
//!
//! | mark | says |
//! |---|---|
//! | [`GOOD`] | the frame is whole |
//! | [`VOID`] | the sender gave up inside of it and filled it with zeros: the message is void |
//!
//! So a sender that gave up inside of a frame owes some bytes that it need not remember, and a message whose last frame
//! was filled is never taken for a whole one.
//!
//! What the survivor sees if the peer is killed: between two messages, the end; anywhere inside of one, also where only
//! the mark is missing, `ClosedInside`; where not even its first header has come, the lengths are those of the header.

/// The mark of a frame that is whole.
pub(super) const GOOD: u8 = b'.';
/// The mark of a frame whose sender gave up.
pub(super) const VOID: u8 = b'!';
