//! The contract of a codec, as far as handles go: the errors are typed, and an attempt that fails leaves the
//! table as it was. What the table itself promises is in `tests/handles.rs`.

use std::io::{Read, pipe};
use std::os::fd::OwnedFd;

use procession_codec::handles::{collect, refuse, supply};
use procession_codec::{Codec, DecodeError, Descriptor, EncodeError, HandleError};

use crate::cases::encode;

fn descriptor() -> Descriptor {
    OwnedFd::from(pipe().unwrap().0).into()
}

fn duplicates(outgoing: &procession_codec::handles::Outgoing) -> Vec<OwnedFd> {
    outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect()
}

pub(crate) fn a_descriptor_travels<C: Codec>() {
    let (mut reader, writer) = pipe().unwrap();
    let value = (1_u8, Descriptor::from(OwnedFd::from(writer)), "name");
    let mut bytes = Vec::new();
    let ((), outgoing) = collect(|| C::encode_into(&value, &mut bytes)).unwrap();
    let arrived = duplicates(&outgoing);
    outgoing.commit();
    let (one, received, name): (u8, Descriptor, String) = supply(arrived, || C::decode(&bytes)).unwrap();
    assert_eq!((one, name.as_str()), (1, "name"));

    // Shared: the sender's may go, the receiver's still works, and nothing else holds the pipe.
    drop(value);
    let mut file = std::fs::File::from(received.into_owned().unwrap());
    std::io::Write::write_all(&mut file, b"through").unwrap();
    drop(file);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

pub(crate) fn many_descriptors_keep_their_places<C: Codec>() {
    let (readers, writers): (Vec<_>, Vec<_>) = (0..200).map(|_| pipe().unwrap()).unzip();
    let value: Vec<Descriptor> = writers.into_iter().map(|writer| OwnedFd::from(writer).into()).collect();
    let (bytes, outgoing) = collect(|| Ok::<_, ()>(encode::<C>(&value))).unwrap();
    assert_eq!(outgoing.len(), 200);
    let arrived = duplicates(&outgoing);
    drop(outgoing);
    drop(value);
    let received: Vec<Descriptor> = supply(arrived, || C::decode(&bytes)).unwrap();
    for (n, (mut reader, descriptor)) in readers.into_iter().zip(received).enumerate() {
        let mut file = std::fs::File::from(descriptor.into_owned().unwrap());
        std::io::Write::write_all(&mut file, n.to_string().as_bytes()).unwrap();
        drop(file);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, n.to_string());
    }
}

const NOT_CARRIED: EncodeError = EncodeError::Handle(HandleError::NotCarried);

pub(crate) fn outside_of_a_scope_nothing_is_carried<C: Codec>() {
    let value = ("some", vec![descriptor()]);
    assert_eq!(C::encode_into(&value, &mut Vec::new()), Err(NOT_CARRIED));
    assert_eq!(C::encode_to_slice(&value, &mut [0; 100]), Err(NOT_CARRIED));
    assert_eq!(C::encoded_size(&value), Err(NOT_CARRIED));
    let bytes = encode::<C>(&vec![0_u32]);
    let error = C::decode::<Vec<Descriptor>>(&bytes).unwrap_err();
    assert_eq!(error, DecodeError::Handle(HandleError::NotCarried));
}

pub(crate) fn a_scope_that_refuses_hides_the_one_around<C: Codec>() {
    let value = descriptor();
    let (inner, outgoing) =
        collect(|| Ok::<_, ()>(refuse(|| C::encode_into(&value, &mut Vec::new())))).unwrap();
    assert_eq!(inner, Err(NOT_CARRIED));
    assert!(outgoing.is_empty());
}

pub(crate) fn too_small_leaves_the_table<C: Codec>() {
    let value = (descriptor(), "text", descriptor());
    let mut slot = vec![0; 4];
    let (written, outgoing) = collect(|| {
        let Err(EncodeError::TooSmall { needed }) = C::encode_to_slice(&value, &mut slot) else { panic!() };
        slot.resize(needed, 0);
        C::encode_to_slice(&value, &mut slot)
    })
    .unwrap();
    assert_eq!((written, outgoing.len()), (slot.len(), 2));
    let arrived = duplicates(&outgoing);
    supply(arrived, || C::decode::<(Descriptor, String, Descriptor)>(&slot)).unwrap();
}

pub(crate) fn measuring_leaves_the_table<C: Codec>() {
    let value = (descriptor(), descriptor());
    let (sizes, outgoing) = collect(|| {
        let measured = C::encoded_size(&value)?;
        let mut out = Vec::new();
        C::encode_into(&value, &mut out)?;
        Ok::<_, EncodeError>((measured, out.len()))
    })
    .unwrap();
    assert_eq!(sizes.0, sizes.1);
    assert_eq!(outgoing.len(), 2);
}

pub(crate) fn an_error_leaves_the_table<C: Codec>() {
    let kept = descriptor();
    let lost = (descriptor(), std::path::PathBuf::from(not_unicode()));
    let (error, outgoing) = collect(|| {
        let mut out = Vec::new();
        C::encode_into(&kept, &mut out)?;
        Ok::<_, EncodeError>(C::encode_into(&lost, &mut out).unwrap_err())
    })
    .unwrap();
    assert!(matches!(error, EncodeError::Value(_)), "{error:?}");
    assert_eq!(outgoing.len(), 1);
}

fn not_unicode() -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(vec![0xff])
}

pub(crate) fn a_missing_handle_is_named<C: Codec>() {
    let bytes = encode::<C>(&vec![3_u32]);
    let arrived = vec![pipe().unwrap().0.into()];
    let error = supply(arrived, || C::decode::<Vec<Descriptor>>(&bytes)).unwrap_err();
    assert_eq!(error, DecodeError::Handle(HandleError::Missing { index: 3, carried: 1 }));

    let bytes = encode::<C>(&vec![0_u32, 0]);
    let arrived = vec![pipe().unwrap().0.into()];
    let error = supply(arrived, || C::decode::<Vec<Descriptor>>(&bytes)).unwrap_err();
    assert_eq!(error, DecodeError::Handle(HandleError::Taken { index: 0 }));
}

pub(crate) fn an_unrelated_error_is_not_blamed_on_a_handle<C: Codec>() {
    assert_eq!(C::encoded_size(&descriptor()), Err(NOT_CARRIED));
    let path = std::path::PathBuf::from(not_unicode());
    assert!(matches!(C::encoded_size(&path), Err(EncodeError::Value(_))));
    assert!(C::decode::<Descriptor>(&encode::<C>(&0_u32)).is_err());
    let bytes = encode::<C>(&0_u8);
    assert!(matches!(C::decode::<std::num::NonZeroU8>(&bytes), Err(DecodeError::Malformed(_))));
}
