//! The contract of a codec, as far as bytes go. Each case holds for every codec; where formats differ, the
//! case says which of two outcomes is allowed, never that anything goes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_codec::{Bytes, Codec, DecodeError, EncodeError, Message, serde_bytes};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of everything that serde tells apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: (i8, i16, i32, i64, i128),
    large: (u8, u16, u32, u64, u128),
    real: (f32, f64),
    letter: char,
    text: String,
    block: Bytes,
    nothing: (),
    none: Option<u8>,
    some: Option<String>,
    unit: Unit,
    newtype: Newtype,
    pair: Pair,
    array: [u16; 3],
    sequence: Vec<Kind>,
    map: BTreeMap<String, Vec<u32>>,
    result: Result<u8, String>,
    boxed: Box<Kind>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(u64);
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(String),
    Tuple(u8, i64),
    Struct { a: Option<u8>, b: Vec<()> },
}

fn everything() -> Everything {
    Everything {
        flag: true,
        small: (i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN),
        large: (u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX),
        real: (0.1, -0.0),
        letter: '\u{10ffff}',
        text: "tab\t quote\" zero\0 ünï".into(),
        block: Bytes::from((0..=255).collect::<Vec<u8>>()),
        nothing: (),
        none: None,
        some: Some(String::new()),
        unit: Unit,
        newtype: Newtype(1 << 40),
        pair: Pair(9, "nine".into()),
        array: [1, 200, 60_000],
        sequence: kinds(),
        map: [("a".into(), vec![]), ("b".into(), vec![1, 2])].into(),
        result: Err("no".into()),
        boxed: Box::new(Kind::Tuple(1, -1)),
    }
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::Unit,
        Kind::Newtype("x".into()),
        Kind::Tuple(0, i64::MAX),
        Kind::Struct { a: Some(0), b: vec![(); 3] },
    ]
}

pub(crate) fn encode<C: Codec>(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut out = Vec::new();
    C::encode_into(value, &mut out).unwrap();
    out
}

pub(crate) fn round_trip<C: Codec, T: Message + PartialEq + Debug>(value: T) {
    let bytes = encode::<C>(&value);
    assert_eq!(C::decode::<T>(&bytes).as_ref(), Ok(&value), "{bytes:?}");
}

pub(crate) fn every_kind_of_value_round_trips<C: Codec>() {
    round_trip::<C, _>(everything());
    round_trip::<C, _>(kinds());
    round_trip::<C, _>(());
    round_trip::<C, _>(7_u8);
    round_trip::<C, _>(String::from("alone"));
    round_trip::<C, _>(Some(kinds()));
    round_trip::<C, Vec<u64>>(vec![]);
}

pub(crate) fn unsized_values_are_encoded<C: Codec>() {
    assert_eq!(encode::<C>("text"), encode::<C>(&String::from("text")));
    assert_eq!(encode::<C>(&[1_u32, 2][..]), encode::<C>(&vec![1_u32, 2]));
}

pub(crate) fn encoding_appends<C: Codec>() {
    let mut out = b"before".to_vec();
    C::encode_into(&everything(), &mut out).unwrap();
    assert_eq!(out[..6], *b"before");
    assert_eq!(out[6..], encode::<C>(&everything()));
}

pub(crate) fn slice_and_vector_and_size_agree<C: Codec>() {
    let bytes = encode::<C>(&everything());
    let mut slice = vec![0; bytes.len() + 10];
    assert_eq!(C::encode_to_slice(&everything(), &mut slice), Ok(bytes.len()));
    assert_eq!(slice[..bytes.len()], bytes);
    assert_eq!(C::encoded_size(&everything()), Ok(bytes.len()));
}

pub(crate) fn too_small_names_the_size_that_suffices<C: Codec>() {
    let bytes = encode::<C>(&everything());
    let needed = bytes.len();
    for room in 0..needed {
        let mut slice = vec![0; room];
        assert_eq!(C::encode_to_slice(&everything(), &mut slice), Err(EncodeError::TooSmall { needed }));
    }
    let mut slice = vec![0; needed];
    assert_eq!(C::encode_to_slice(&everything(), &mut slice), Ok(needed));
    assert_eq!(slice, bytes);
}

pub(crate) fn trailing_bytes_are_refused<C: Codec>() {
    for extra in [1, 3] {
        for byte in [b' ', 0, b'1', 0xff] {
            let mut bytes = encode::<C>(&everything());
            bytes.extend(std::iter::repeat_n(byte, extra));
            assert_eq!(C::decode::<Everything>(&bytes), Err(DecodeError::Trailing { extra }));
        }
    }
    // Two values where one was wanted.
    let mut bytes = encode::<C>("one");
    let extra = bytes.len();
    bytes.extend(encode::<C>("two"));
    assert_eq!(C::decode::<String>(&bytes), Err(DecodeError::Trailing { extra }));
}

pub(crate) fn empty_input_is_truncated<C: Codec>() {
    assert_eq!(C::decode::<Everything>(&[]), Err(DecodeError::Truncated));
    assert_eq!(C::decode::<u32>(&[]), Err(DecodeError::Truncated));
}

/// Writes something, then fails.
struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this value is out of order"))
    }
}

pub(crate) fn output_is_as_before_after_an_error<C: Codec>() {
    let mut out = b"before".to_vec();
    let error = C::encode_into(&("written", Fails), &mut out).unwrap_err();
    assert!(matches!(error, EncodeError::Value(_)), "{error:?}");
    assert_eq!(out, b"before");
    assert_eq!(C::encode_to_slice(&("written", Fails), &mut [0; 99]), Err(error.clone()));
    assert_eq!(C::encode_to_slice(&("written", Fails), &mut []), Err(error.clone()));
    assert_eq!(C::encoded_size(&("written", Fails)), Err(error));
}

pub(crate) fn output_is_as_before_after_a_panic<C: Codec>() {
    struct Panics;
    impl Serialize for Panics {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            std::panic::resume_unwind(Box::new(()))
        }
    }
    let mut out = b"before".to_vec();
    let result = catch_unwind(AssertUnwindSafe(|| C::encode_into(&("written", Panics), &mut out)));
    assert!(result.is_err());
    assert_eq!(out, b"before");
}

pub(crate) fn error_texts_are_kept<C: Codec>() {
    #[derive(Debug, PartialEq)]
    struct Picky;
    impl<'de> Deserialize<'de> for Picky {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let n = u32::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format_args!("{n} is not to my taste")))
        }
    }
    let Err(EncodeError::Value(text)) = C::encode_into(&vec![Fails], &mut Vec::new()) else { panic!() };
    assert!(text.contains("out of order"), "{text}");
    let Err(DecodeError::Malformed(text)) = C::decode::<Vec<Picky>>(&encode::<C>(&vec![77_u32])) else {
        panic!()
    };
    assert!(text.contains("77 is not to my taste") && text.starts_with(C::NAME), "{text}");
    // An error of a visitor, which an engine might swallow.
    let Err(DecodeError::Malformed(text)) = C::decode::<std::num::NonZeroU8>(&encode::<C>(&0_u8)) else {
        panic!()
    };
    assert!(text.contains("nonzero"), "{text}");
}

fn is_inside(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr())
}

pub(crate) fn strings_are_borrowed<C: Codec>() {
    #[derive(Serialize, Deserialize)]
    struct Borrowed<'a> {
        name: &'a str,
        #[serde(borrow)]
        more: Vec<&'a str>,
    }
    let bytes = encode::<C>(&Borrowed { name: "first", more: vec!["second"] });
    let borrowed: Borrowed<'_> = C::decode(&bytes).unwrap();
    assert_eq!((borrowed.name, borrowed.more[0]), ("first", "second"));
    assert!(is_inside(borrowed.name.as_bytes(), &bytes));
    assert!(is_inside(borrowed.more[0].as_bytes(), &bytes));
}

pub(crate) fn blocks_are_borrowed_where_there_are_blocks<C: Codec>() {
    let bytes = encode::<C>(&Bytes::from(&b"block"[..]));
    match C::decode::<&[u8]>(&bytes) {
        Ok(block) => {
            assert_eq!(block, b"block");
            assert!(is_inside(block, &bytes));
        }
        Err(error) => assert_eq!(C::NAME, "json", "{error}"),
    }
}

pub(crate) fn bytes_are_one_block_where_there_are_blocks<C: Codec>() {
    let block = Bytes::from(vec![0xff; 1000]);
    round_trip::<C, _>(block.clone());
    round_trip::<C, _>(Bytes::new());
    // Long ones are copied by pieces.
    for len in [2047, 2048, 2049, 100_003] {
        let long = Bytes::from((0..len).map(|at| (at / 7 % 251) as u8).collect::<Vec<_>>());
        let mut slice = vec![0; C::encoded_size(&long).unwrap()];
        C::encode_to_slice(&long, &mut slice).unwrap();
        assert_eq!(slice, encode::<C>(&long));
        round_trip::<C, _>(long);
    }
    match encode::<C>(&block).len() {
        4001 => assert_eq!(C::NAME, "json", "1000 numbers of 3 digits, 999 commas, 2 brackets"),
        size => assert!(size <= 1005, "{size}"),
    }
}

pub(crate) fn bytes_agree_with_serde_bytes<C: Codec>() {
    let theirs = serde_bytes::ByteBuf::from(vec![1, 2, 200]);
    let bytes = encode::<C>(&theirs);
    assert_eq!(bytes, encode::<C>(&Bytes::from(vec![1, 2, 200])));
    assert_eq!(C::decode::<Bytes>(&bytes).unwrap().into_vec(), theirs.into_vec());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
    Many(Vec<Untagged>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Point { x: i32, y: i32 },
    Origin,
}

pub(crate) fn flattened_and_untagged_types_work_or_are_refused<C: Codec>() {
    let flat = Flat { id: 1, rest: [("key".into(), "value".into())].into() };
    let untagged = Untagged::Many(vec![Untagged::Number(1), Untagged::Text("x".into())]);
    if C::NAME == "postcard" {
        let codec = C::NAME;
        assert_eq!(C::encoded_size(&flat), Err(EncodeError::LengthUnknown { codec }));
        let bytes = encode::<C>(&untagged);
        assert_eq!(C::decode::<Untagged>(&bytes), Err(DecodeError::NotSelfDescribing { codec }));
    } else {
        round_trip::<C, _>(flat);
        round_trip::<C, _>(untagged);
        round_trip::<C, _>(vec![Tagged::Point { x: 1, y: -1 }, Tagged::Origin]);
    }
}

pub(crate) fn ambiguous_values_round_trip_or_are_refused<C: Codec>() {
    fn check<C: Codec, T: Message + PartialEq + Debug>(value: T) {
        match C::encoded_size(&value) {
            Ok(_) => round_trip::<C, _>(value),
            Err(error) => assert!(matches!(error, EncodeError::Value(_)), "{error:?}"),
        }
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Option<u8>);
    check::<C, _>(Some(None::<u8>));
    check::<C, _>(Some(Some(None::<u8>)));
    check::<C, _>(Some(()));
    check::<C, _>(Some(Unit));
    check::<C, _>(Some(Wrapped(None)));
    check::<C, _>(Some(Box::new(None::<u8>)));
    // These are not ambiguous and must work.
    round_trip::<C, _>(Some(Some(1)));
    round_trip::<C, _>(Some(vec![None, Some(1)]));
    round_trip::<C, _>(Some(Kind::Unit));
    round_trip::<C, Result<(), ()>>(Ok(()));
    round_trip::<C, _>(Some((None::<u8>, ())));
}

pub(crate) fn floats_keep_their_bits_or_are_refused<C: Codec>() {
    for bits in [0, 1, f64::NAN.to_bits(), 0xfff0_dead_beef_0001, f64::INFINITY.to_bits(), f64::MIN.to_bits()]
    {
        let value = f64::from_bits(bits);
        match C::encoded_size(&value) {
            Ok(_) => assert_eq!(C::decode::<f64>(&encode::<C>(&value)).unwrap().to_bits(), bits),
            Err(error) => assert!(!value.is_finite() && C::NAME == "json", "{error}"),
        }
        let value = f32::from_bits(bits as u32);
        match C::encoded_size(&[value]) {
            Ok(_) => {
                assert_eq!(C::decode::<[f32; 1]>(&encode::<C>(&[value])).unwrap()[0].to_bits(), bits as u32);
            }
            Err(error) => assert!(!value.is_finite() && C::NAME == "json", "{error}"),
        }
    }
}

pub(crate) fn a_codec_may_be_used_inside_of_itself<C: Codec>() {
    /// Travels as the encoding of its contents, as a block.
    #[derive(Debug, PartialEq)]
    struct Sealed<C: Codec>(Vec<Kind>, C);
    impl<C: Codec> Serialize for Sealed<C> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(C::encoded_size(&Fails).is_err());
            Bytes::from(encode::<C>(&self.0)).serialize(serializer)
        }
    }
    impl<'de, C: Codec> Deserialize<'de> for Sealed<C> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let bytes = Bytes::deserialize(deserializer)?;
            assert!(C::decode::<Vec<Kind>>(&[]).is_err());
            let kinds = C::decode(&bytes).map_err(serde::de::Error::custom)?;
            Ok(Self(kinds, C::default()))
        }
    }
    let bytes = encode::<C>(&("around", Sealed(kinds(), C::default())));
    let (text, sealed): (String, Sealed<C>) = C::decode(&bytes).unwrap();
    assert_eq!((text.as_str(), sealed.0), ("around", kinds()));
}
