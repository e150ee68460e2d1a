//! Copies of long blocks, by pieces.
//!
//! For long copies the C library uses `rep movsb` where it can. With that, processors of the Zen family take sixteen times
//! as long if the target lies 1 to 15 bytes behind the source modulo 4096
//! (<https://sourceware.org/bugzilla/show_bug.cgi?id=30994>), which is what a length before a block makes of two
//! allocations side by side. Pieces are too short for it, and otherwise as fast.

/// Up to this length the C library never does it.
const PIECE: usize = 2048;

/// Appends a copy of `block`.
#[inline]
pub(crate) fn append(to: &mut Vec<u8>, block: &[u8]) {
    if block.len() <= PIECE {
        to.extend_from_slice(block);
    } else {
        append_long(to, block);
    }
}

fn append_long(to: &mut Vec<u8>, block: &[u8]) {
    to.reserve(block.len());
    for piece in block.chunks(PIECE) {
        to.extend_from_slice(piece);
    }
}

/// Copies `block` over all of `to`, which is as long.
#[inline]
pub(crate) fn copy(to: &mut [u8], block: &[u8]) {
    for (to, piece) in to.chunks_mut(PIECE).zip(block.chunks(PIECE)) {
        to.copy_from_slice(piece);
    }
}
