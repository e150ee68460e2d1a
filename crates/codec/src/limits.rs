//! The bounds that every codec keeps, on encoding as on decoding, so that what can be sent can be received.
//!
//! A *level* of nesting is one sequence, tuple, map, struct, `Some`, newtype or enum variant with contents.
//! References and boxes are not levels; neither are `None`, units and unit variants.

/// The deepest nesting that is encoded or decoded, in levels.
///
/// Each level costs stack, in a debug build up to about 6 KiB with derived code (untagged enums more), so
/// that this depth fits in the 2 MiB of a thread that Rust starts by default.
pub const MAX_DEPTH: usize = 128;

/// Elements in one message that may take no bytes at all, beyond one for each byte that the sequences hold.
///
/// Postcard writes `()` and structs without written fields as nothing, so that a length is all there is of
/// a `Vec<()>`. A greater one is refused on both sides: three bytes must not buy unlimited work.
pub const MAX_EMPTY_ELEMENTS: usize = 4096;

/// Elements for which one sequence may reserve memory before they were seen.
///
/// The size of an element is unknown where the reservation is decided; so a number small enough to be
/// harmless even for large elements, and large enough that growing further costs little.
pub(crate) const RESERVE_AHEAD: usize = 64;

/// Hands out reservations. Over a whole message no more elements than the input has bytes, because an
/// honest message cannot hold more (elements without bytes are either without size or few).
#[derive(Debug)]
pub(crate) struct Reserve {
    left: usize,
}

impl Reserve {
    pub(crate) fn for_input(len: usize) -> Self {
        Self { left: len }
    }

    /// How many of `claimed` elements to reserve for.
    #[inline]
    pub(crate) fn grant(&mut self, claimed: usize) -> usize {
        let granted = claimed.min(RESERVE_AHEAD).min(self.left);
        self.left -= granted;
        granted
    }
}
