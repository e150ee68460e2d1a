//! The end of a message that is not at hand yet.

use std::fmt;

/// The rest of an encoded value, in memory that others may still change: it is copied out once, to where it stays.
///
/// For [`Codec::decode_with_tail`](crate::Codec::decode_with_tail).
#[derive(Clone, Copy)]
pub struct Tail<'a> {
    len: usize,
    append: &'a dyn Fn(&mut Vec<u8>) -> bool,
}

impl<'a> Tail<'a> {
    /// `len` bytes, which `append` puts to the end of a vector that has room for them; it says whether it did.
    pub fn new(len: usize, append: &'a dyn Fn(&mut Vec<u8>) -> bool) -> Self {
        Self { len, append }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it behind `head`; `None` without memory, or if not so much came.
    pub(crate) fn behind(&self, head: &[u8]) -> Option<Vec<u8>> {
        let len = head.len().checked_add(self.len)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        bytes.extend_from_slice(head);
        ((self.append)(&mut bytes) && bytes.len() == len).then_some(bytes)
    }
}

impl fmt::Debug for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tail of {} bytes", self.len)
    }
}
