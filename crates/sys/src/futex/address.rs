//! Sleeping on words whose memory belongs to others and may be gone.
//!
//! Invariant: nothing here reads a word; the kernel does, and refuses an address that is not mapped.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex::{self, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec};

use super::MAX_WORDS;
use crate::caps::{self, Capability};

/// Where a word is, for the kernel to sleep on: it may no longer be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(usize);

impl Address {
    pub(crate) fn of(word: &AtomicU32) -> Self {
        Self(word.as_ptr().expose_provenance())
    }

    pub(crate) fn as_ptr(self) -> *mut c_void {
        ptr::with_exposed_provenance_mut(self.0)
    }

    fn entry(self, value: u32) -> Wait {
        let mut entry = Wait::new();
        entry.val = u64::from(value);
        entry.uaddr = WaitPtr::new(self.as_ptr());
        entry.flags = WaitFlags::SIZE_U32;
        entry
    }
}

/// Sleeps while `stop` is 0 and the words at these addresses, 127 at most, hold their values; or for no reason.
pub(crate) fn wait_at(stop: &AtomicU32, words: &[(Address, u32)]) {
    let mut entries = [Wait::new(); MAX_WORDS];
    entries[0] = Address::of(stop).entry(0);
    for (entry, (address, value)) in entries[1..].iter_mut().zip(words) {
        *entry = address.entry(*value);
    }
    let entries = &entries[..=words.len()];
    loop {
        match futex::waitv(entries, WaitvFlags::empty(), None, ClockId::Monotonic) {
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return caps::force_off(Capability::Waitv),
            _ => return,
        }
    }
}

/// Whether the word at `address` differs from `value`, as far as the kernel can read it.
pub(crate) fn has_changed_at(address: Address, value: u32) -> bool {
    let answer = futex::waitv(
        &[address.entry(value)],
        WaitvFlags::empty(),
        Some(&Timespec::default()),
        ClockId::Monotonic,
    );
    // Woken in this instant, in the place of another.
    matches!(answer, Ok(_) | Err(Errno::AGAIN))
}
