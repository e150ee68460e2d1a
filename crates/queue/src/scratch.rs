//! Memory of a thread for messages on their way, so that small ones allocate nothing.

use std::cell::Cell;

/// More than this is given back after the message that needed it.
const KEPT: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `use_it` with an empty vector. Code that it runs may do the same: it gets another vector.
#[inline]
pub(crate) fn with<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    let result = use_it(&mut bytes);
    if bytes.capacity() <= KEPT {
        bytes.clear();
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
    result
}
