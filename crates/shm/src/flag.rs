//! A truth value of which every byte is one. Its mark as plain stands in `plain.rs`.

use std::fmt;

/// A bool for shared memory: 0 is false, every other byte is true.
///
/// # Examples
/// ```
/// use procession_shm::Flag;
/// assert!(Flag::from(true).get() && !Flag::default().get());
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Flag(u8);

impl Flag {
    /// Its value.
    #[must_use]
    pub const fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.get()
    }
}

/// As bools compare: whatever byte another process wrote for true.
impl PartialEq for Flag {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Flag {}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;

    #[test]
    fn every_byte_is_a_value() {
        for byte in 0..=u8::MAX {
            let flag: Flag = plain::from_bytes(&[byte]).unwrap();
            assert_eq!(flag, Flag::from(byte != 0));
            assert_eq!(format!("{flag:?}"), format!("{}", bool::from(flag)));
        }
    }
}
