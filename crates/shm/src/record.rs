//! What the file of a name says: whose memory it is, and where.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version of this layout |
//! | 12 | 4 | the owner's number of the descriptor |
//! | 16 | 4 | the owner's process id |
//! | 20 | 4 | the owner's number of the descriptor of the domain of the memory's users; 0 if it has none |
//! | 24 | 8 | when the owner started |
//! | 32 | 8 | the pid namespace of the two |
//! | 40 | 16 | device and inode of the memory |
//! | 56 | 8 | inode of that domain, on the same device; 0 if it has none |
//! | 64 | 8 | hash of the 64 bytes before |
//!
//! Invariant: written before the file has its name, never again.

use procession_sys::identity::ProcessIdentity;
use procession_sys::named::FileId;

use crate::error::Refusal;
use crate::fingerprint::hash;

/// How long it is.
pub(crate) const LEN: usize = 72;

const MAGIC: [u8; 8] = *b"\x89prcnam\n";
const VERSION: u32 = 2;
const CHECKED: usize = LEN - size_of::<u64>();

/// Where memory with a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) descriptor: u32,
    pub(crate) owner: ProcessIdentity,
    pub(crate) file: FileId,
    /// The number of the descriptor, and the inode; both 0 if there is none.
    pub(crate) domain: (u32, u64),
}

impl Record {
    pub(crate) fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        let narrow = [(8, VERSION), (12, self.descriptor), (16, self.owner.pid), (20, self.domain.0)];
        for (at, number) in narrow {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let wide =
            [self.owner.started, self.owner.namespace, self.file.device, self.file.inode, self.domain.1];
        for (number, place) in wide.iter().zip(bytes[24..CHECKED].chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        let hash = hash(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&hash.to_ne_bytes());
        bytes
    }

    /// Reads a record; nothing is known about the bytes yet.
    pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<Self, Refusal> {
        let narrow = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let wide = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(number)
        };
        if bytes[..8] != MAGIC {
            return Err(Refusal::Foreign);
        }
        if narrow(8) != VERSION {
            return Err(Refusal::Version { found: narrow(8), expected: VERSION });
        }
        let record = Self {
            descriptor: narrow(12),
            owner: ProcessIdentity { pid: narrow(16), started: wide(24), namespace: wide(32) },
            file: FileId { device: wide(40), inode: wide(48) },
            domain: (narrow(20), wide(56)),
        };
        if record.encode() != *bytes {
            return Err(Refusal::Damaged);
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let record = Record {
            descriptor: 3,
            owner: ProcessIdentity { pid: 4, started: 5, namespace: 6 },
            file: FileId { device: 7, inode: 8 },
            domain: (9, 10),
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        for bit in 0..LEN * 8 {
            let mut wrong = bytes;
            wrong[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0..8 => Refusal::Foreign,
                8..12 => Refusal::Version { found: VERSION ^ (1 << (bit - 64)), expected: VERSION },
                _ => Refusal::Damaged,
            };
            assert_eq!(Record::decode(&wrong), Err(expected), "bit {bit}");
        }
    }
}
