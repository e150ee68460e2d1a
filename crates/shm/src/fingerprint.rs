//! What a type looks like in memory, as one number that two programs can compare.
//!
//! Invariant: the hash is a part of the layout of segments: changing it means a new layout version (`header.rs`). Held
//! by the test below, which knows values of it.

use std::fmt;

/// 64 bits that two types share only if they look alike in memory: name, size, alignment, and the names, offsets and
/// fingerprints of their fields.
///
/// It notices mistakes: another version of a program, a type with the same name. It is no protection against someone
/// who wants to be mistaken for another. Paths do not count, so that two programs may share a type by writing it twice.
///
/// # Examples
/// ```
/// use procession_shm::Plain;
///
/// mod old {
///     #[derive(Clone, Copy, procession_shm::Plain)]
///     pub struct Point { x: f32, y: f32 }
/// }
/// mod new {
///     #[derive(Clone, Copy, procession_shm::Plain)]
///     pub struct Point { y: f32, x: f32 }
/// }
/// assert_ne!(old::Point::FINGERPRINT, new::Point::FINGERPRINT);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of a type without fields.
    #[must_use]
    pub const fn new(name: &str, size: usize, align: usize) -> Self {
        Self(FNV_BASIS).text(name).number(size as u64).number(align as u64)
    }

    /// With a field more. The order of the fields counts.
    #[must_use]
    pub const fn field(self, name: &str, offset: usize, fingerprint: Self) -> Self {
        self.text(name).number(offset as u64).number(fingerprint.0)
    }

    /// From the number that [`get`](Self::get) gave.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The length goes first, so that two names never run into each other.
    const fn text(self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut print = self.number(bytes.len() as u64);
        let mut at = 0;
        while at < bytes.len() {
            print = print.byte(bytes[at]);
            at += 1;
        }
        print
    }

    const fn number(self, number: u64) -> Self {
        let bytes = number.to_le_bytes();
        let (mut print, mut at) = (self, 0);
        while at < bytes.len() {
            print = print.byte(bytes[at]);
            at += 1;
        }
        print
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(FNV_PRIME))
    }
}

/// The hash FNV-1a of some bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(Fingerprint(FNV_BASIS), |print, byte| print.byte(*byte)).0
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_known_one() {
        // Published values of FNV-1a with 64 bits.
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn everything_counts() {
        const BASE: Fingerprint = Fingerprint::new("T", 8, 4);
        let inner = Fingerprint::new("u32", 4, 4);
        let prints = [
            BASE,
            Fingerprint::new("U", 8, 4),
            Fingerprint::new("T", 4, 4),
            Fingerprint::new("T", 8, 8),
            BASE.field("a", 0, inner),
            BASE.field("b", 0, inner),
            BASE.field("a", 4, inner),
            BASE.field("a", 0, BASE),
            BASE.field("a", 0, inner).field("b", 4, inner),
            BASE.field("b", 4, inner).field("a", 0, inner),
        ];
        for (at, one) in prints.iter().enumerate() {
            assert!(!prints[..at].contains(one), "{at}: {one}");
        }
        assert_eq!(Fingerprint::from_u64(BASE.get()), BASE);
        assert_eq!(format!("{:?}", Fingerprint::from_u64(10)), "Fingerprint(000000000000000a)");
    }
}
