//! The sixteen bytes at the head of every packet of a message, little-endian:
//!
//! | bytes | First | More | Abort |
//! |---|---|---|---|
//! | 0–3 | kind | kind | kind |
//! | 4–7 | descriptors of the message | descriptors of this packet | 0 |
//! | 8–15 | bytes of the message | offset of this packet's payload | 0 |
//!
//! The payload is the rest of the packet. Descriptors ride on More packets only, so that a receiver knows ahead of each
//! packet whether to look for some: looking costs time, and most messages have none. Abort says that the message begun
//! before, if any, is void.

pub(super) const LEN: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    First { descriptors: u32, len: u64 },
    More { descriptors: u32, offset: u64 },
    Abort,
}

const FIRST: u32 = u32::from_le_bytes(*b"pMg1");
const MORE: u32 = u32::from_le_bytes(*b"pMg+");
const ABORT: u32 = u32::from_le_bytes(*b"pMg0");

impl Header {
    pub(super) fn encode(self) -> [u8; LEN] {
        let (kind, descriptors, number) = match self {
            Self::First { descriptors, len } => (FIRST, descriptors, len),
            Self::More { descriptors, offset } => (MORE, descriptors, offset),
            Self::Abort => (ABORT, 0, 0),
        };
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&descriptors.to_le_bytes());
        bytes[8..].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    /// `None` for an unknown kind.
    pub(super) fn decode(bytes: [u8; LEN]) -> Option<Self> {
        let [k0, k1, k2, k3, d0, d1, d2, d3, number @ ..] = bytes;
        let descriptors = u32::from_le_bytes([d0, d1, d2, d3]);
        let number = u64::from_le_bytes(number);
        match u32::from_le_bytes([k0, k1, k2, k3]) {
            FIRST => Some(Self::First { descriptors, len: number }),
            MORE => Some(Self::More { descriptors, offset: number }),
            ABORT => Some(Self::Abort),
            _ => None,
        }
    }

    /// How many descriptors must ride on the packet itself.
    pub(super) fn carried(self) -> usize {
        match self {
            Self::More { descriptors, .. } => descriptors as usize,
            Self::First { .. } | Self::Abort => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let all = [
            Header::First { descriptors: 600, len: u64::MAX },
            Header::More { descriptors: 253, offset: 1 << 40 },
            Header::Abort,
        ];
        for header in all {
            assert_eq!(Header::decode(header.encode()), Some(header));
        }
        assert_eq!(all.map(Header::carried), [0, 253, 0]);
        assert_eq!(Header::decode([0; LEN]), None);
    }

    #[test]
    fn the_layout_is_fixed() {
        let bytes = Header::First { descriptors: 0x0102, len: 0x0304 }.encode();
        assert_eq!(bytes, *b"pMg1\x02\x01\0\0\x04\x03\0\0\0\0\0\0");
    }
}
