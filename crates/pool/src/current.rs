//! What a task may ask of the worker that runs it.

use std::cell::Cell;

thread_local! {
    static ATTEMPT: Cell<u32> = const { Cell::new(0) };
}

/// Which attempt at the calling task this is: 1 for the first, more where the task is
/// [repeatable](crate::Builder::retries) and earlier attempts cost their worker. 0 outside of tasks, and in threads that a
/// task has started.
pub fn attempt() -> u32 {
    ATTEMPT.get()
}

/// Worker: the tasks that follow are run for the `attempt`-th time.
pub(crate) fn set_attempt(attempt: u32) {
    ATTEMPT.set(attempt);
}
