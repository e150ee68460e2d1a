//! What stands at the beginning of every segment, so that its receiver knows what came.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version of this layout |
//! | 12 | 4 | zero |
//! | 16 | 8 | fingerprint of the type of the data |
//! | 24 | 8 | length of the data in bytes |
//! | 32 | 16 | id of the domain of its users; zero if it needs none |
//! | 48 | 8 | zero |
//! | 56 | 8 | hash of the 56 bytes before |
//!
//! The data follows at once, at offset 64. Numbers are in the machine's order: memory does not leave the machine.
//!
//! Invariants: a header is written before anybody else has the segment, and never again. It is copied out once, when
//! the segment arrives, and checked in the copy; nothing in it is believed later, because others may write there.
//! Every change of the layout, of [`Fingerprint`] included, changes [`VERSION`]. Held by the tests below, and by
//! `tests/hostile.rs`, which flips every bit.

use crate::error::Refusal;
use crate::fingerprint::{Fingerprint, hash};

/// How long it is. Also the largest alignment of the data.
pub(crate) const LEN: usize = 64;
/// The version of the layout on this page.
pub(crate) const VERSION: u32 = 2;

const MAGIC: [u8; 8] = *b"\x89prcshm\n";
const CHECKED: usize = LEN - size_of::<u64>();

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fingerprint: Fingerprint,
    /// Bytes of data.
    pub(crate) len: u64,
    /// The words of the domain's id.
    pub(crate) domain: Option<[u64; 2]>,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.fingerprint.get().to_ne_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_ne_bytes());
        let [low, high] = self.domain.unwrap_or([0; 2]);
        bytes[32..40].copy_from_slice(&low.to_ne_bytes());
        bytes[40..48].copy_from_slice(&high.to_ne_bytes());
        let hash = hash(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&hash.to_ne_bytes());
        bytes
    }

    /// Reads a header; nothing is known about the bytes yet.
    pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<Self, Refusal> {
        if bytes[..8] != MAGIC {
            return Err(Refusal::Foreign);
        }
        let found = u32::from_ne_bytes(part(bytes, 8));
        if found != VERSION {
            return Err(Refusal::Version { found, expected: VERSION });
        }
        let domain = [u64::from_ne_bytes(part(bytes, 32)), u64::from_ne_bytes(part(bytes, 40))];
        let header = Self {
            fingerprint: Fingerprint::from_u64(u64::from_ne_bytes(part(bytes, 16))),
            len: u64::from_ne_bytes(part(bytes, 24)),
            domain: (domain != [0; 2]).then_some(domain),
        };
        // Says at once that the hash is right and that there is nothing where nothing should be.
        if header.encode() != *bytes {
            return Err(Refusal::Damaged);
        }
        Ok(header)
    }
}

fn part<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        fingerprint: Fingerprint::from_u64(0x0102_0304_0506_0708),
        len: 4096,
        domain: Some([0x0a, 0x0b << 56]),
    };

    #[test]
    fn the_layout_is_the_one_on_the_page() {
        let bytes = HEADER.encode();
        assert_eq!(bytes[..16], *b"\x89prcshm\n\x02\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[24..32], [0, 16, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..40], [0x0a, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..56], [0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::decode(&bytes), Ok(HEADER));
        let alone = Header { domain: None, ..HEADER };
        assert_eq!(alone.encode()[32..56], [0; 24]);
        assert_eq!(Header::decode(&alone.encode()), Ok(alone));
    }

    #[test]
    fn every_bit_counts() {
        for bit in 0..LEN * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refusal = Header::decode(&bytes).unwrap_err();
            match bit / 8 {
                0..8 => assert_eq!(refusal, Refusal::Foreign, "bit {bit}"),
                8..12 => assert!(matches!(refusal, Refusal::Version { expected: VERSION, .. }), "bit {bit}"),
                _ => assert_eq!(refusal, Refusal::Damaged, "bit {bit}"),
            }
        }
        assert_eq!(Header::decode(&[0; LEN]), Err(Refusal::Foreign));
    }
}
