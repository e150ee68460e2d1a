//! A crate that forbids unsafe code, and every lint that the expansion might meet.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unused_qualifications, unreachable_pub, nonstandard_style)]

use procession_shm::Plain;

/// With named fields, one of them with a raw name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
pub struct Named {
    /// First.
    pub x: f64,
    /// Second.
    pub r#type: u64,
}

/// With another plain struct in it.
#[derive(Clone, Copy, Plain)]
struct Outer {
    inner: [Named; 2],
}

#[derive(Clone, Copy, Plain)]
struct Tuple(u32, [u16; 2]);

#[derive(Clone, Copy, Plain)]
struct Unit;

#[derive(Clone, Copy, Plain)]
#[repr(C, packed)]
struct Packed {
    a: u8,
    b: u64,
}

#[derive(Clone, Copy, Plain)]
#[repr(C, align(16))]
struct Aligned([u64; 2]);

fn main() {
    let outer = Outer { inner: [Named { x: 1.0, r#type: 2 }; 2] };
    assert_eq!(procession_shm::plain::bytes_of(&outer).len(), 32);
    assert_eq!(procession_shm::plain::from_bytes::<Named>(&[0; 16]), Some(Named::default()));
    let Tuple(a, b) = procession_shm::plain::zeroed();
    assert_eq!((a, b), (0, [0, 0]));
    let packed = Packed { a: 1, b: 2 };
    assert_eq!(procession_shm::plain::bytes_of(&packed).len(), 9);
    assert_eq!({ packed.b } + u64::from(packed.a), 3);
    let _ = (Unit::FINGERPRINT, Aligned([0; 2]).0);
}
