//! Values of which the end is copied to where it stays: they are what decoding the whole gives, or nothing.

use std::cell::Cell;

use procession_codec::{Bytes, Codec, Json, Message, MessagePack, Postcard, Tail};

/// What comes of a value that is cut after `at` bytes, and how often the tail was asked for.
fn cut<T: Message, C: Codec>(value: &impl serde::Serialize, at: usize, more: &[u8]) -> (Option<T>, u32) {
    let mut all = Vec::new();
    C::encode_into(value, &mut all).unwrap();
    all.extend_from_slice(more);
    let ((head, rest), asked) = (all.split_at(at), Cell::new(0));
    let append = |bytes: &mut Vec<u8>| {
        asked.set(asked.get() + 1);
        bytes.extend_from_slice(rest);
        true
    };
    (C::decode_with_tail(head, Tail::new(rest.len(), &append)), asked.get())
}

#[test]
fn the_last_block_has_it_wherever_it_is_cut() {
    let value = ("name".to_owned(), Bytes::from(vec![7; 1000]));
    for at in 7..1007 {
        assert_eq!(cut::<_, Postcard>(&value, at, b""), (Some(value.clone()), 1), "{at}");
    }
    // Before or in its length, or without anything left.
    for at in [0, 1, 5, 6, 1007] {
        assert_eq!(cut::<(String, Bytes), Postcard>(&value, at, b""), (None, 0), "{at}");
    }
}

#[test]
fn other_values_are_not_for_it() {
    let block = Bytes::from(vec![7; 1000]);
    assert_eq!(cut::<(Bytes, u8), Postcard>(&(&block, 9_u8), 100, b""), (None, 0));
    assert_eq!(cut::<(Bytes, Bytes), Postcard>(&(&block, &block), 100, b""), (None, 0));
    assert_eq!(cut::<Vec<u8>, Postcard>(&vec![7_u8; 1000], 100, b""), (None, 0));
    assert_eq!(cut::<Bytes, MessagePack>(&block, 100, b""), (None, 0));
    assert_eq!(cut::<Bytes, Json>(&block, 100, b""), (None, 0));
    // More than it says, and nothing that it says.
    assert_eq!(cut::<Bytes, Postcard>(&block, 100, b"!"), (None, 0));
    assert_eq!(cut::<(), Postcard>(&(), 0, b"more"), (None, 0));
    // It is there, and what follows is not what the type has.
    assert_eq!(cut::<(Bytes, u8), Postcard>(&block, 100, b"").0, None);
}

#[test]
fn a_length_that_is_a_lie_and_a_tail_that_does_not_come() {
    let append = |bytes: &mut Vec<u8>| {
        bytes.extend_from_slice(&[7; 10]);
        true
    };
    let decode = |head: &[u8], len| Postcard::decode_with_tail::<Bytes>(head, Tail::new(len, &append));
    assert_eq!(decode(&[12, 1, 2], 10).map(Bytes::into_vec), Some([&[1, 2][..], &[7; 10]].concat()));
    assert_eq!(decode(&[11, 1, 2], 10), None);
    assert_eq!(decode(&[13, 1, 2], 10), None);
    assert_eq!(decode(&[1, 1, 2], 10), None);
    assert_eq!(decode(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2], 10), None);
    // Other than was said.
    assert_eq!(decode(&[13, 1, 2], 11), None);
    assert_eq!(decode(&[13, 1, 2], 9), None);
    let never = |_: &mut Vec<u8>| false;
    assert_eq!(Postcard::decode_with_tail::<Bytes>(&[12, 1, 2], Tail::new(10, &never)), None);
    // So much memory there is not.
    let mut head = Vec::new();
    Postcard::encode_into(&(usize::MAX as u64 / 2 + 2), &mut head).unwrap();
    let len = usize::MAX / 2 + 2;
    assert_eq!(Postcard::decode_with_tail::<Bytes>(&head, Tail::new(len, &never)), None);
}
