//! Waking tasks instead of threads: what the async forms of the crates above wait with.
//!
//! A future tries its call; if there is nothing to be had, it arms a watch with its waker and is asked again when the
//! watch has fired. So nothing is ever taken on behalf of a future that may be gone.
//!
//! | watch | on | who waits |
//! |---|---|---|
//! | [`Descriptor`] | a descriptor, for reading or for writing | a thread of ours in `epoll_wait` |
//! | [`Thing`] | a [`Waitable`](crate::Waitable), as a rule words of shared memory | a thread of ours in [`wait::any`](crate::wait::any) |
//!
//! Each thread is started by the first watch of its kind, and stays, asleep, as long as the process. A forked child starts
//! its own; a watch that it inherits does nothing.
//!
//! Invariants: a watch that is armed fires, also if what it waits for was there before; one that is dropped holds nothing any
//! more, or, for a [`Thing`], a moment later. Held by the async tests of the crates above.

mod descriptor;
mod thing;

pub use descriptor::Descriptor;
pub use thing::Thing;

/// Wakes the task of a waker; one that panics costs its own task, and not all others.
pub fn wake(waker: std::task::Waker) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
}
