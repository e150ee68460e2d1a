//! Queues are made here.

use procession_codec::Message;
use procession_shm::ShmError;
use procession_sys::memory;

use crate::layout::{Layout, MAX_BUDGET, MAX_CAPACITY};
use crate::link::Link;
use crate::memory::Memory;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::wire::Wire;

/// How many bytes of messages a queue holds unless said otherwise: 64 MiB.
pub const DEFAULT_BYTES: u64 = 64 << 20;

/// How many messages an unbounded queue holds, if they are small.
const MANY: usize = 1 << 20;

/// A queue for `n` messages, of [`DEFAULT_BYTES`] together at most.
///
/// Takes three descriptors in the process that has both ends, two in one that has one. Memory is taken as messages need
/// it, and kept for the next ones.
///
/// # Errors
/// Memory, address space or descriptors have run out.
///
/// # Panics
/// If `n` is 0 or more than 2^24.
///
/// # Examples
/// ```
/// let (tx, rx) = procession_queue::bounded::<String>(100)?;
/// std::thread::spawn(move || tx.send("hello".into()).unwrap());
/// assert_eq!(rx.recv()?, "hello");
/// assert!(rx.recv().is_err()); // no sender is left
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Queue")]
pub fn bounded<T: Message>(n: usize) -> Result<(Sender<T>, Receiver<T>), ShmError> {
    bounded_bytes(n, DEFAULT_BYTES)
}

/// A queue for `n` messages, of `bytes` together at most, as they are encoded. A single one may have so many.
///
/// # Errors
/// As [`bounded`].
///
/// # Panics
/// If `n` is 0 or more than 2^24, or `bytes` is 0 or more than 2^38.
pub fn bounded_bytes<T: Message>(n: usize, bytes: u64) -> Result<(Sender<T>, Receiver<T>), ShmError> {
    bounded_as(n, bytes)
}

/// [`bounded_bytes`] for values that travel as `W` says.
///
/// # Errors
/// As [`bounded`].
///
/// # Panics
/// As [`bounded_bytes`].
#[allow(clippy::type_complexity, reason = "two ends are clearer than an alias for them")]
pub fn bounded_as<T, W: Wire<T>>(n: usize, bytes: u64) -> Result<(Sender<T, W>, Receiver<T, W>), ShmError> {
    make(n, bytes, false)
}

/// A queue that a sender never waits for: it takes messages while there is memory, a quarter of what is left in the
/// machine or the control group now, and a million of them; then [`SendFault::Full`](crate::SendFault::Full).
///
/// A queue that grows without bound ends in the death of some process, sooner or later: this one ends in an error.
///
/// # Errors
/// As [`bounded`].
#[doc(alias = "SimpleQueue")]
pub fn unbounded<T: Message>() -> Result<(Sender<T>, Receiver<T>), ShmError> {
    make(MANY, (memory::available() / 4).clamp(1 << 16, MAX_BUDGET), true)
}

#[allow(clippy::type_complexity, reason = "two ends are clearer than an alias for them")]
fn make<T, W>(n: usize, bytes: u64, never_waits: bool) -> Result<(Sender<T, W>, Receiver<T, W>), ShmError> {
    assert!(
        (1..=MAX_CAPACITY as usize).contains(&n),
        "a queue for {n} messages, of at least 1 and at most 2^24"
    );
    assert!((1..=MAX_BUDGET).contains(&bytes), "a queue for {bytes} bytes, of at least 1 and at most 2^38");
    let (producers, consumers) = Link::pair(|| Memory::create(Layout::new(n as u32, bytes, never_waits)))?;
    Ok((Sender::new(producers), Receiver::new(consumers)))
}
