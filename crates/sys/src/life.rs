//! The life of a thread as a word of shared memory: the kernel marks it when the thread has executed its last
//! instruction, whatever ended it (one exception is below).
//!
//! A thread that takes part in something shared owns one [`LifeSlot`] and holds the robust mutex inside of it, from
//! [`Membership::take`] until it ends. libc has told the kernel where its list of such mutexes is; when the thread
//! dies, by SIGKILL, in a stop, by `execve` or by returning, the kernel walks the list and marks the word. It does not
//! mark it for a stop, nor when a forked child ends. No process number is involved, and no time limit.
//!
//! | life word | the thread | who may change it, and to what |
//! |---|---|---|
//! | 0 | none, or left | whoever takes the slot: to its thread number |
//! | thread number, maybe [`WAITERS`] | alive, or stopped | itself, leaving: to 0; the kernel, at its death: to [`OWNER_DIED`]; a watcher: adds [`WAITERS`] |
//! | thread number and [`UNREGISTERED`], maybe [`WAITERS`] | alive as far as known | itself, leaving: to 0; who has [proof](has_ended) of its death: to [`OWNER_DIED`] |
//! | [`OWNER_DIED`], maybe [`WAITERS`] | dead | whoever takes the slot: to its thread number |
//!
//! The futex word inside of the mutex is found as the kernel finds it (the list's first node plus the offset that libc
//! registered), not by knowledge of libc's types. Where the kernel's list cannot be had
//! ([`Capability::RobustList`](crate::caps::Capability::RobustList) is missing), the word is claimed without the mutex
//! and carries [`UNREGISTERED`]: then nobody marks it but a process that [proves](has_ended) the death by the thread's
//! number, start time and pid namespace.
//!
//! The exception: a thread that is not the first of its process and calls `execve`. The kernel gives it the first one's
//! number before it walks the list (Linux 6.18), and then finds no word of its own. The proof sees it, as nobody has the
//! old number. Of a first thread it is the other way round: the kernel sees the `execve`, the proof does not.
//!
//! Invariants: a membership is bound to its thread and keeps the mapping of its slot; a forked child holds none of its
//! parent's; nobody but the owner follows the links that libc keeps in the mutex. Held by `tests/life.rs`, with real
//! deaths.
//!
//! What this module does not know: which slot is whose. That is the participant table of `procession-shm`.

mod membership;
mod proof;
mod robust;
mod slot;

pub use membership::{Membership, Registration};
pub use proof::{has_ended, process_has_ended, thread_has_ended};
pub use robust::layout;
pub use slot::{LifeSlot, MutexLayout, Place, SLOT_SIZE, SlotOwner, Slots};

/// Set by the kernel, or by who has proved the death.
pub const OWNER_DIED: u32 = 0x4000_0000;
/// Set by who wants to be woken by the death.
pub const WAITERS: u32 = 0x8000_0000;
/// Set by an owner whom the kernel does not know: his death is proved by his identity. No thread number is as large.
pub const UNREGISTERED: u32 = 0x2000_0000;
/// The bits of the owner.
pub const OWNER: u32 = 0x3fff_ffff;

/// The thread number in a life word.
#[inline]
pub const fn tid(word: u32) -> u32 {
    word & OWNER & !UNREGISTERED
}

/// Whether the owner of a life word with this value may still execute an instruction.
///
/// `false` is certain. `true` is certain at the instant when the word held the value, except for an
/// [`UNREGISTERED`] owner, who may have died unseen.
#[inline]
pub const fn is_alive(word: u32) -> bool {
    word & OWNER != 0 && word & OWNER_DIED == 0
}
