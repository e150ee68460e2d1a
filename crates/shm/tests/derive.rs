//! The derive for plain types: what it takes, what it refuses, and that the refusal names the field.
//!
//! `derive/fail` holds programs that must not compile, each with the compiler's words in a `.stderr` beside it;
//! `derive/pass` holds programs that must compile and run. After a change of words: `TRYBUILD=overwrite`.

use std::marker::PhantomData;
use std::time::Duration;

use procession_shm::plain::{bytes_of, from_bytes};
use procession_shm::{Fingerprint, Flag, Plain};

#[test]
fn programs() {
    procession_testkit::guarded_for(Duration::from_secs(300), || {
        let cases = trybuild::TestCases::new();
        cases.pass("tests/derive/pass/*.rs");
        cases.compile_fail("tests/derive/fail/*.rs");
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
struct Particle {
    place: [f64; 3],
    charge: i32,
    fixed: Flag,
    _kind: PhantomData<str>,
    _padding: [u8; 3],
}

#[test]
fn a_struct_is_its_bytes() {
    let particle = Particle {
        place: [1.0, 2.0, 3.0],
        charge: -1,
        fixed: true.into(),
        _kind: PhantomData,
        _padding: [0; 3],
    };
    let bytes = bytes_of(&particle);
    assert_eq!(bytes.len(), 32);
    assert_eq!(from_bytes(bytes), Some(particle));
    assert_eq!(from_bytes::<Particle>(&bytes[1..]), None);
}

#[test]
fn the_fingerprint_is_made_of_name_and_fields() {
    mod other {
        use procession_shm::Plain;
        #[derive(Clone, Copy, Plain)]
        pub(super) struct Two {
            _a: u32,
            _b: u32,
        }
    }
    #[derive(Clone, Copy, Plain)]
    #[repr(C)]
    struct Two {
        _a: u32,
        _b: u32,
    }
    #[derive(Clone, Copy, Plain)]
    #[repr(C)]
    struct Three {
        _a: u32,
        _b: u32,
    }
    let u32 = u32::FINGERPRINT;
    assert_eq!(Two::FINGERPRINT, Fingerprint::new("Two", 8, 4).field("_a", 0, u32).field("_b", 4, u32));
    assert_ne!(Two::FINGERPRINT, Three::FINGERPRINT);
    // Written twice, in another place: the same type.
    assert_eq!(Two::FINGERPRINT, other::Two::FINGERPRINT);
}
