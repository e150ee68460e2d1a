//! Memory for messages on their way out and in, one piece for each thread, so that a small message allocates nothing.
//!
//! Invariant: who takes it owns it until it is kept again. Code of users that runs meanwhile, and uses pipes too, finds
//! nothing and makes its own; of two that are kept, the later stays.

use std::cell::Cell;

use procession_sys::message::HEADROOM;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory beyond this is given back after the message that needed it: room for a mebibyte and what surrounds it.
const KEPT: usize = 2 << 20;

/// Some memory, where it can be had; what is in it has no meaning.
#[inline]
pub(crate) fn take() -> Vec<u8> {
    // A thread that is ending has none.
    SCRATCH.try_with(Cell::take).unwrap_or_default()
}

/// Memory to put a message into behind the room for its header.
#[inline]
pub(crate) fn take_framed() -> Vec<u8> {
    let mut bytes = take();
    bytes.clear();
    bytes.extend_from_slice(&[0; HEADROOM]);
    bytes
}

/// Keeps memory for a later message.
#[inline]
pub(crate) fn keep(bytes: Vec<u8>) {
    if (1..=KEPT).contains(&bytes.capacity()) {
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
}
