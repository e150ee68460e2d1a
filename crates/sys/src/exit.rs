//! What a process does when it leaves by itself: it returns from `main`, or calls `exit`, also because `main` panicked.
//!
//! Not when a signal ends it, when it aborts, or with `_exit`. Invariant: each function runs once, on the thread that
//! leaves, the last that was asked for first. Held by the contract suite of `procession-process`.
//!
//! # Safety
//! libc is given one function, which takes and answers nothing and does not unwind: a panic that comes so far aborts.
#![allow(unsafe_code, reason = "atexit has no safe form")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{OsError, Result};

/// What there is to do; `None` until libc knows of us.
static LIST: Mutex<Option<List>> = Mutex::new(None);

type List = Vec<fn()>;

fn list() -> MutexGuard<'static, Option<List>> {
    // A list is whole between any two operations on it.
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the process do it when it leaves by itself. A panic of `what` aborts.
///
/// A forked child has the list of its parent: `what` must know whether that is what it was asked for in
/// ([`fork::epoch`](crate::fork::epoch)).
///
/// # Errors
/// libc has no memory for it.
///
/// # Examples
/// ```
/// procession_sys::exit::at_exit(|| eprintln!("goodbye"))?;
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub fn at_exit(what: fn()) -> Result<()> {
    let mut list = list();
    if list.is_none() {
        // SAFETY: the function is what `atexit` takes, and a program's code stays where it is until its end.
        if unsafe { libc::atexit(run) } != 0 {
            return Err(OsError::from_errno("asking libc to be called at the exit", libc::ENOMEM));
        }
    }
    list.get_or_insert_default().push(what);
    Ok(())
}

extern "C" fn run() {
    // One at a time, without the lock: what runs may ask for more.
    loop {
        let Some(what) = list().as_mut().and_then(List::pop) else { return };
        what();
    }
}
