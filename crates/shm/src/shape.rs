//! What things look like in shared memory, as a constant that is known when a program is compiled.
//!
//! Invariant: the length is a multiple of the alignment, so that things can lie in a row.

use crate::Fingerprint;
use crate::header;

/// How much room a thing takes in shared memory, and what tells it from others.
///
/// # Examples
/// ```
/// use procession_shm::{Shape, Shared, Atomic};
/// const PAIR: Shape = Shape::new("pair").with("a", Atomic::<u8>::SHAPE).with("b", Atomic::<u32>::SHAPE);
/// assert_eq!((PAIR.len(), PAIR.align()), (8, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub(crate) name: &'static str,
    pub(crate) len: usize,
    pub(crate) align: usize,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) needs_domain: bool,
}

impl Shape {
    /// Of something without fields, which takes no room.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, len: 0, align: 1, fingerprint: Fingerprint::new(name, 0, 1), needs_domain: false }
    }

    /// Of something that is not made of fields.
    pub(crate) const fn of(name: &'static str, len: usize, align: usize, fingerprint: Fingerprint) -> Self {
        assert!(align <= header::LEN, "nothing in shared memory is aligned to more than 64 bytes");
        Self { name, len: len.next_multiple_of(align), align, fingerprint, needs_domain: false }
    }

    /// With users whose deaths matter.
    pub(crate) const fn in_domain(self) -> Self {
        Self { needs_domain: true, ..self }
    }

    /// Where the next field of this shape would begin.
    #[must_use]
    pub const fn offset_of_next(&self, field: Self) -> usize {
        self.len.next_multiple_of(field.align)
    }

    /// With a field more, behind the others.
    #[must_use]
    pub const fn with(self, name: &str, field: Self) -> Self {
        let offset = self.offset_of_next(field);
        let align = if field.align > self.align { field.align } else { self.align };
        Self {
            len: (offset + field.len).next_multiple_of(align),
            align,
            fingerprint: self.fingerprint.field(name, offset, field.fingerprint),
            needs_domain: self.needs_domain || field.needs_domain,
            ..self
        }
    }

    /// Of `n` of them in a row.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub const fn times(self, n: usize) -> Self {
        assert!(n > 0, "nothing in shared memory has no items");
        let len = self.len * n;
        let fingerprint = Fingerprint::new("[]", len, self.align).field("", n, self.fingerprint);
        Self { len, fingerprint, ..self }
    }

    /// How many bytes it takes, a multiple of [`align`](Self::align).
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it takes no room.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The alignment in bytes: a power of two, 64 at most.
    #[must_use]
    pub const fn align(&self) -> usize {
        self.align
    }

    /// What tells it from others.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}
