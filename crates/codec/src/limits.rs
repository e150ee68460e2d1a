//! The bounds that every codec keeps, on encoding as on decoding, so that what can be sent can be received.
//!
//! A *level* of nesting is one sequence, tuple, map, struct, `Some`, newtype or enum variant with contents.
//! References and boxes are not levels; neither are `None`, units and unit variants.

/// The deepest nesting that is encoded or decoded, in levels.
///
/// Each level costs stack while it is read, in a debug build 1 to 7 KiB with derived code and more if structs
/// themselves are large; so this depth fits into the 2 MiB of a thread that Rust starts by default. The case
/// `nesting_fits_a_default_stack` of `tests/contract.rs` runs it.
pub const MAX_DEPTH: usize = 128;

/// Elements in one message that may take no bytes at all, beyond one for each byte that the sequences hold.
///
/// Postcard writes `()` and structs without written fields as nothing, so that a length is all there is of
/// a `Vec<()>`. A greater one is refused on both sides: three bytes must not buy unlimited work.
pub const MAX_EMPTY_ELEMENTS: usize = 4096;

/// Hands out reservations: for how many elements a visitor may reserve memory before it saw them.
///
/// The size of an element is unknown here, in memory as in the input. So each sequence may reserve for a few
/// elements, which is harmless and spares small ones all regrowth. Over the whole message these are no more
/// than the input has bytes, as an honest message cannot hold more (elements without bytes are few). Longer
/// sequences share one element for every eight bytes of input; they grow the rest of the way as others do.
#[derive(Debug)]
pub(crate) struct Reserve {
    few_left: usize,
    shared_left: usize,
}

/// What each sequence may reserve for.
const FEW: usize = 64;
/// Bytes of input for each further element.
const SHARE: usize = 8;

impl Reserve {
    pub(crate) fn for_input(len: usize) -> Self {
        Self { few_left: len, shared_left: len / SHARE }
    }

    /// How many of `claimed` elements to reserve for.
    #[inline]
    pub(crate) fn grant(&mut self, claimed: usize) -> usize {
        let few = claimed.min(FEW).min(self.few_left);
        let shared = (claimed - few).min(self.shared_left);
        self.few_left -= few;
        self.shared_left -= shared;
        few + shared
    }
}
