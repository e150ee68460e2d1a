//! How a job becomes bytes, and the other way round: here and nowhere else.

use procession_codec::DecodeError;
use procession_codec::handles::Outgoing;

use crate::error::SendFault;
use crate::packet::{self, Packet};
use crate::wire::Wire;

/// The bytes of a value, at the end of `bytes`, and its handles.
pub(super) fn encode<T, W: Wire<T>>(value: &T, bytes: &mut Vec<u8>) -> Result<Outgoing, SendFault> {
    W::put_with_handles(value, bytes).map_err(SendFault::Encode)
}

/// The value of all of `bytes`, which may be gone then.
pub(super) fn decode<T, W: Wire<T>>(bytes: &mut Vec<u8>) -> Result<T, DecodeError> {
    if W::KEEPS { W::get_owned(std::mem::take(bytes)) } else { W::get(bytes) }
}

/// The same for a job that may have luggage; `None` within if that is lost.
pub(super) fn decode_all<T, W: Wire<T>>(
    bytes: &mut Vec<u8>,
    luggage: Option<Option<Packet>>,
) -> Result<T, DecodeError> {
    match luggage {
        None => decode::<T, W>(bytes),
        Some(packet) => packet::unpack(packet).and_then(|descriptors| W::get_with(bytes, descriptors)),
    }
}
