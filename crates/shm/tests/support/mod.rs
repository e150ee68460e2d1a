//! What several test programs of this crate use.

use std::os::fd::OwnedFd;

use procession_codec::{Codec, DecodeError, EncodeError, Message, Postcard, handles};

/// A message on its way: its bytes, and duplicates of its descriptors, as a carrier makes them.
pub(crate) struct Parcel(Vec<u8>, Vec<OwnedFd>);

/// Encodes as a carrier does.
pub(crate) fn pack<T: Message>(value: &T) -> Result<Parcel, EncodeError> {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(value, &mut bytes))?;
    let descriptors = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    Ok(Parcel(bytes, descriptors))
}

/// Decodes as a carrier does.
pub(crate) fn unpack<T: Message>(parcel: Parcel) -> Result<T, DecodeError> {
    handles::supply(parcel.1, || Postcard::decode(&parcel.0))
}

/// There and here.
pub(crate) fn travel<T: Message>(value: &T) -> T {
    unpack(pack(value).unwrap()).unwrap()
}
