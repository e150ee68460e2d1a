//! Memory of a thread for messages on their way, so that small ones allocate nothing.

use std::cell::RefCell;

/// More than this is given back after the message that needed it.
const KEPT: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `use_it` with an empty vector. Code that it runs may do the same: it gets another vector.
#[inline]
pub(crate) fn with<R>(use_it: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut use_it = Some(use_it);
    // Used where it lies: to move it costs as much as a small message.
    let used = SCRATCH.try_with(|scratch| {
        let mut bytes = scratch.try_borrow_mut().ok()?;
        bytes.clear();
        let result = use_it.take()?(&mut bytes);
        if bytes.capacity() > KEPT {
            *bytes = Vec::new();
        }
        Some(result)
    });
    match (used, use_it) {
        (Ok(Some(result)), _) => result,
        (_, Some(use_it)) => use_it(&mut Vec::new()),
        (_, None) => unreachable!("used, and there is a result"),
    }
}
