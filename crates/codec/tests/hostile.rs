//! Inputs made to hurt: cut off at every byte, each bit flipped, lengths that lie, nesting without end, and
//! noise. Each is decoded into every type of `hostile/targets.rs` by every codec, with the memory counted.
//! The outcome is a value or an error; never a panic, never an overflowing stack, and never more memory than
//! the target's share for each byte of input.

#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/targets.rs"]
mod targets;

use procession_codec::{Codec, DecodeError, Json, MAX_DEPTH, MAX_EMPTY_ELEMENTS, MessagePack, Postcard};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use targets::{Chain, Hidden, Nest, Options, Sample, Tree, Untagged, attack, sample};

/// Far beyond any bound, and past the end of any stack that would follow it.
const DEEP: usize = 200_000;

fn encode<C: Codec>(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    C::encode_into(value, &mut out).unwrap();
    out
}

fn truncations<C: Codec>() {
    let whole = encode::<C>(&sample());
    assert!(C::decode::<Sample>(&whole).is_ok());
    for end in 0..whole.len() {
        attack::<C>(&whole[..end]);
        let error = C::decode::<Sample>(&whole[..end]).unwrap_err();
        // Half a number in JSON is not the beginning of a value but a bad one.
        let half = C::NAME == "json" && matches!(error, DecodeError::Malformed(_));
        let expected = half || matches!(error, DecodeError::Truncated | DecodeError::Length { .. });
        assert!(expected, "cut at {end} of {}: {error:?}", whole.len());
    }
}

#[test]
fn truncated_postcard_is_an_error() {
    truncations::<Postcard>();
}

#[test]
fn truncated_message_pack_is_an_error() {
    truncations::<MessagePack>();
}

#[test]
fn truncated_json_is_an_error() {
    truncations::<Json>();
}

fn bit_flips<C: Codec>() {
    let whole = encode::<C>(&sample());
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        attack::<C>(&flipped);
        // A flip may leave a value, but not this one written in two ways.
        if let Ok(value) = C::decode::<Sample>(&flipped) {
            assert!(encode::<C>(&value) != whole || value != sample() || C::NAME != "postcard", "bit {bit}");
        }
    }
}

#[test]
fn flipped_bits_in_postcard_do_no_harm() {
    bit_flips::<Postcard>();
}

#[test]
fn flipped_bits_in_message_pack_do_no_harm() {
    bit_flips::<MessagePack>();
}

#[test]
fn flipped_bits_in_json_do_no_harm() {
    bit_flips::<Json>();
}

/// `number` as the variable-length integer of postcard.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Each prefix, behind nothing or an enum's tag, and followed by fillings of several lengths.
fn with_fillings(prefix: &[u8], mut act: impl FnMut(&[u8])) {
    for filling in [0, 1, 2, 0x41, 0x90, 0xc0, 0xff] {
        for len in [0, 1, 7, 64, 300] {
            for tag in [&[][..], &[1], &[4]] {
                act(&[tag, prefix, &vec![filling; len]].concat());
            }
        }
    }
}

#[test]
fn lying_lengths_in_postcard_buy_nothing() {
    for bits in 1..=64 {
        let length = u64::MAX >> (64 - bits);
        for length in [length, length / 3, length - length / 7] {
            with_fillings(&varint(length), attack::<Postcard>);
        }
    }
}

#[test]
fn lying_lengths_in_message_pack_buy_nothing() {
    // str, bin, array, map and ext, with each size of prefix.
    for marker in [0xd9, 0xda, 0xdb, 0xc4, 0xc5, 0xc6, 0xdc, 0xdd, 0xde, 0xdf, 0xc7, 0xc8, 0xc9] {
        for length in [u32::MAX, i32::MAX as u32, 1 << 24, 1 << 16, 1000, 100] {
            with_fillings(&[&[marker][..], &length.to_be_bytes()].concat(), attack::<MessagePack>);
            with_fillings(&[&[marker][..], &length.to_be_bytes()[..2]].concat(), attack::<MessagePack>);
        }
    }
}

#[test]
fn a_length_past_the_end_is_named_as_such() {
    let claimed = 1 << 60;
    let length = |input: &[u8]| Postcard::decode::<Vec<String>>(input).unwrap_err();
    let expected = DecodeError::Length { codec: "postcard", claimed, remaining: 2 };
    assert_eq!(length(&[&varint(claimed)[..], &[0, 0]].concat()), expected);
    assert_eq!(length(&[&[1][..], &varint(claimed), &[0, 0]].concat()), expected);
    let map =
        Postcard::decode::<std::collections::HashMap<u8, u8>>(&[&varint(claimed)[..], &[0, 0]].concat());
    assert_eq!(map.unwrap_err(), expected);

    let array = MessagePack::decode::<Vec<()>>(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0]).unwrap_err();
    let claimed = u64::from(u32::MAX);
    assert_eq!(array, DecodeError::Length { codec: "message pack", claimed, remaining: 6 });
}

/// Repeats a piece, and puts nothing or an ending behind it.
fn deep<C: Codec, T: DeserializeOwned>(piece: &[u8]) -> DecodeError {
    let input = piece.repeat(DEEP / piece.len());
    let error = memory::bounded(&input, 1, || C::decode::<T>(&input)).err().unwrap();
    attack::<C>(&input);
    error
}

const TOO_DEEP: DecodeError = DecodeError::TooDeep { limit: MAX_DEPTH };

#[test]
fn nesting_without_end_in_postcard_is_too_deep() {
    // Variants of `Tree` in order: newtype, tuple, struct, sequence, map, option.
    for piece in [&[1][..], &[2, 0], &[3, 0], &[4, 1], &[5, 1, 0], &[6, 1]] {
        assert_eq!(deep::<Postcard, Tree>(piece), TOO_DEEP, "{piece:?}");
    }
    assert_eq!(deep::<Postcard, Chain>(&[1]), TOO_DEEP);
    assert_eq!(deep::<Postcard, Options>(&[1]), TOO_DEEP);
    assert_eq!(deep::<Postcard, Nest>(&[1]), TOO_DEEP);
    assert_eq!(deep::<Postcard, Nest>(&[100]), TOO_DEEP);
}

#[test]
fn nesting_without_end_in_message_pack_is_too_deep() {
    let pieces: [&[u8]; 6] = [
        b"\x81\xa7Newtype",
        b"\x81\xa5Tuple\x92\x00",
        b"\x81\xa6Struct\x82\xa4name\xa0\xa5child",
        b"\x81\xa3Seq\x91",
        b"\x81\xa3Map\x81\xa0",
        b"\x81\xa6Option",
    ];
    for piece in pieces {
        assert_eq!(deep::<MessagePack, Tree>(piece), TOO_DEEP, "{piece:?}");
    }
    for piece in [&[0x91][..], &[0x81, 0xa0], &[0xdc, 0, 1], &[0xdf, 0, 0, 0, 1, 0xa1, b'x']] {
        assert_eq!(deep::<MessagePack, Untagged>(piece), TOO_DEEP, "{piece:?}");
        assert_eq!(deep::<MessagePack, IgnoredAny>(piece), TOO_DEEP, "{piece:?}");
    }
    assert_eq!(deep::<MessagePack, Nest>(&[0x91]), TOO_DEEP);
    assert_eq!(deep::<MessagePack, Chain>(&[7]), TOO_DEEP);
    assert_eq!(deep::<MessagePack, Options>(&[7]), TOO_DEEP);
}

#[test]
fn nesting_without_end_in_json_is_too_deep() {
    let pieces: [&[u8]; 6] = [
        b"{\"Newtype\":",
        b"{\"Tuple\":[0,",
        b"{\"Struct\":{\"name\":\"\",\"child\":",
        b"{\"Seq\":[",
        b"{\"Map\":{\"\":",
        b"{\"Option\":",
    ];
    for piece in pieces {
        assert_eq!(deep::<Json, Tree>(piece), TOO_DEEP, "{piece:?}");
    }
    for piece in [&b"["[..], b"{\"x\":", b"[1,"] {
        assert_eq!(deep::<Json, Untagged>(piece), TOO_DEEP, "{piece:?}");
        // Skipped in a loop and not in a recursion; so this only ends too early.
        assert_eq!(deep::<Json, IgnoredAny>(piece), DecodeError::Truncated, "{piece:?}");
    }
    assert_eq!(deep::<Json, Nest>(b"["), TOO_DEEP);
    assert_eq!(deep::<Json, Chain>(b"7"), TOO_DEEP);
    assert_eq!(deep::<Json, Options>(b"7"), TOO_DEEP);
}

#[test]
fn elements_without_bytes_buy_a_bounded_amount() {
    let limit = MAX_EMPTY_ELEMENTS;
    let some = varint(limit as u64);
    assert_eq!(Postcard::decode::<Vec<()>>(&some).unwrap().len(), limit);
    // In memory such an element may have a size; then this is what a few bytes can take.
    let allowed = 4 * limit * size_of::<Hidden>();
    memory::at_most(allowed, || Postcard::decode::<Vec<Hidden>>(&some).unwrap());

    let more = varint(limit as u64 + 1);
    assert!(matches!(Postcard::decode::<Vec<()>>(&more), Err(DecodeError::Length { .. })));
    // Not by many small ones either: each of these is within the bound.
    let many = [varint(10_000), varint(100).repeat(10_000)].concat();
    assert!(matches!(Postcard::decode::<Vec<Vec<()>>>(&many), Err(DecodeError::Length { .. })));
    memory::at_most(allowed + 100 * many.len(), || {
        Postcard::decode::<Vec<Vec<Hidden>>>(&many).err().unwrap()
    });
}

#[test]
fn extra_elements_are_not_taken_for_what_follows() {
    // A set of three where an array of two is wanted, in the formats that say how many there are.
    let bytes = encode::<MessagePack>(&(vec![1, 2, 3], 4));
    assert!(MessagePack::decode::<([u8; 2], u8)>(&bytes).is_err());
    let bytes = encode::<Json>(&(vec![1, 2, 3], 4));
    assert!(Json::decode::<([u8; 2], u8)>(&bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        attack::<Postcard>(&noise);
        attack::<MessagePack>(&noise);
        attack::<Json>(&noise);
    }

    #[test]
    fn small_numbers_do_no_harm(noise in prop::collection::vec(0..8_u8, 0..600)) {
        attack::<Postcard>(&noise);
    }

    #[test]
    fn markers_do_no_harm(noise in prop::collection::vec(0x80..=0xff_u8, 0..100)) {
        attack::<MessagePack>(&noise);
    }

    #[test]
    fn scraps_of_json_do_no_harm(noise in "[\\[\\]{}\",:0-9a-c.eE\\\\u -]{0,200}") {
        attack::<Json>(noise.as_bytes());
    }
}
