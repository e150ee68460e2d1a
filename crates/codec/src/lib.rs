//! Typed values to bytes and back, with descriptors beside them: the serialization that pipes, queues, pools
//! and managers share.
//!
//! Anything that serde can write and read is a [`Message`]. A [`Codec`] says how; every carrier has one as a
//! type parameter, with [`Postcard`] as the default.
//!
//! | codec | for | cannot |
//! |---|---|---|
//! | [`Postcard`] | speed and size; both sides are the same program | `untagged`, `flatten`, unknown fields |
//! | [`MessagePack`] | self-describing types, sides of different age, other languages | `Some(None)`, `Some(())` |
//! | [`Json`] | reading along | as `MessagePack`; NaN; maps with composite keys; blocks of bytes |
//!
//! # Example
//!
//! ```
//! use procession_codec::{Bytes, Codec, DecodeError, EncodeError, Message, Postcard};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! enum Task {
//!     Resize { name: String, width: u32, pixels: Bytes },
//!     Stop,
//! }
//!
//! // What a carrier does: try the slot it has, and make room if that does not suffice.
//! fn carry<M: Message, C: Codec>(message: &M, _: C) -> Vec<u8> {
//!     let mut slot = vec![0; 16];
//!     match C::encode_to_slice(message, &mut slot) {
//!         Ok(n) => slot.truncate(n),
//!         Err(EncodeError::TooSmall { needed }) => {
//!             slot.resize(needed, 0);
//!             C::encode_to_slice(message, &mut slot).unwrap();
//!         }
//!         Err(error) => panic!("{error}"),
//!     }
//!     slot
//! }
//!
//! let task = Task::Resize { name: "logo".into(), width: 64, pixels: Bytes::from(vec![0; 4096]) };
//! let bytes = carry(&task, Postcard);
//! assert_eq!(Postcard::decode::<Task>(&bytes)?, task);
//!
//! // Bytes from elsewhere are an error at worst.
//! let claimed = DecodeError::Length { codec: "postcard", claimed: 4096, remaining: 1000 };
//! assert_eq!(Postcard::decode::<Task>(&bytes[..1009]), Err(claimed));
//! assert_eq!(Postcard::decode::<Task>(&[1, 0]), Err(DecodeError::Trailing { extra: 1 }));
//! # Ok::<(), DecodeError>(())
//! ```
//!
//! # What every codec promises
//!
//! - What encodes without an error decodes to an equal value, as far as the type's own serde implementations
//!   write all of it. What a format would change on the way is an error on the sending side.
//! - All of the input is the value: trailing bytes are refused.
//! - Any input is safe to decode. A length is checked against the input before memory is reserved for it,
//!   nesting ends at [`MAX_DEPTH`], and elements without bytes at [`MAX_EMPTY_ELEMENTS`]. Memory follows the
//!   size of the decoded elements: a byte may become an element of the wanted type, never more, and at most
//!   64 elements of a sequence are reserved before they were seen.
//! - The same bounds hold on encoding, so that a sender hears of them and not only its receiver.
//! - After an error or a panic, outputs and handle tables are as they were.
//!
//! Two gaps, both in what serde itself does with types that look at the data first: a recursive newtype of
//! an option (`struct A(Option<Box<A>>)`) inside of an untagged enum recurses without end on any input, and
//! an attempt at one variant that took a handle before it failed leaves none for the next.
//!
//! # Bytes
//!
//! serde writes a `Vec<u8>` number by number. [`Bytes`], or `#[serde(with = "procession_codec::serde_bytes")]`
//! on a field, makes it one block: some 40 times faster or more for [`Postcard`]. Decoding to `&str` and `&[u8]`
//! borrows from the input and copies nothing.
//!
//! # Handles
//!
//! Pipe ends, locks and files go beside the bytes, through the table in [`handles`]. [`Descriptor`] makes a
//! message of any file descriptor.
//!
//! # When not to use it
//!
//! Large arrays of numbers should not pass through a codec at all: share them, or send them as `Plain` data,
//! and the cost is that of a copy. A file format or a protocol between programs of different owners wants a
//! schema and versions, which none of these codecs checks. And a codec does not authenticate: safe to decode
//! means that decoding does no harm, not that the value is true.

#![forbid(unsafe_code)]

mod bounded;
mod bytes;
mod codec;
mod descriptor;
mod error;
pub mod handles;
mod json;
mod limits;
mod message_pack;
mod output;
mod pieces;
mod postcard;
mod tail;

pub use crate::bytes::Bytes;
pub use crate::codec::{Codec, Message};
pub use crate::descriptor::Descriptor;
pub use crate::error::{DecodeError, EncodeError};
pub use crate::handles::HandleError;
pub use crate::json::Json;
pub use crate::limits::{MAX_DEPTH, MAX_EMPTY_ELEMENTS};
pub use crate::message_pack::MessagePack;
pub use crate::postcard::Postcard;
pub use crate::tail::Tail;
#[doc(no_inline)]
pub use serde_bytes;
