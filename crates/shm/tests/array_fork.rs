//! A forked child has copies of its parent's guards and parts, and gives none of them back.
//!
//! # Safety
//! The forks are made by libc's `fork`; each child runs one function and ends with `_exit`.
#![allow(unsafe_code, reason = "fork has no safe form")]

mod parcel;

use parcel::pack;
use procession_codec::handles::{self, HandleError};
use procession_codec::{Codec, EncodeError, Postcard};
use procession_shm::{Array, ArrayError};
use procession_testkit::guarded;

/// Runs `child` in a forked child, which reports whether all is as it should be.
fn in_a_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses what was made before the fork and libc's allocator, which can be used after a fork; no
    // other thread of this process holds a lock that it takes; it never returns from here.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    if pid == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        procession_sys::child::end_now(if good { 0 } else { 99 });
    }
    let mut status = 0;
    // SAFETY: waits for the child just made, and writes one local variable.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(reaped, pid);
    status == 0
}

#[test]
fn copies_of_a_forked_child_give_nothing_back() {
    guarded(|| {
        let array = Array::from_slice(&[1_u32; 10]).unwrap();
        let mut part = array.split(2).next();
        assert!(in_a_fork(|| {
            let refused = pack(part.as_ref().unwrap()).err();
            part = None;
            refused == Some(EncodeError::Handle(HandleError::Moved))
                && matches!(array.try_read(), Err(ArrayError::Leased { .. }))
        }));
        assert!(matches!(array.try_read(), Err(ArrayError::Leased { .. })));
        let mut bytes = Vec::new();
        let whole = part.as_ref().unwrap();
        let encoded = handles::collect(|| Postcard::encode_into(whole, &mut bytes)).unwrap();
        let mut outgoing = Some(encoded.1);
        assert!(in_a_fork(|| {
            outgoing = None;
            part.as_ref().unwrap().is_moved()
        }));
        drop(outgoing);
        assert!(!part.as_ref().unwrap().is_moved(), "the child took it back from nobody");
        drop(part);
        let mut items = Some(array.write());
        assert!(in_a_fork(|| {
            items = None;
            matches!(array.try_read(), Err(ArrayError::TimedOut { .. }))
        }));
        drop(items);
        let mut items = Some(array.read());
        assert!(in_a_fork(|| {
            items = None;
            matches!(array.try_write(), Err(ArrayError::TimedOut { .. })) && array.try_read().is_ok()
        }));
        drop(items);
        assert!(array.try_write().unwrap().is_consistent());
    });
}
