//! How a job becomes bytes, and the other way round: here and nowhere else.

use procession_codec::DecodeError;

use crate::error::SendFault;
use crate::wire::Wire;

/// The bytes of a value, at the end of `bytes`.
pub(super) fn encode<T, W: Wire<T>>(value: &T, bytes: &mut Vec<u8>) -> Result<(), SendFault> {
    W::put(value, bytes).map_err(SendFault::Encode)
}

/// The value of all of `bytes`, which may be gone then.
pub(super) fn decode<T, W: Wire<T>>(bytes: &mut Vec<u8>) -> Result<T, DecodeError> {
    if W::KEEPS { W::get_owned(std::mem::take(bytes)) } else { W::get(bytes) }
}
