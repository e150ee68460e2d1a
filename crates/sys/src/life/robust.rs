//! libc's robust mutex inside of a slot, and the kernel's list that it is on.
//!
//! Invariants: a mutex is locked by try only, and only where the life word says that nobody alive holds it; it is
//! unlocked by the thread that locked it; one that was left by a dead owner is made consistent at once, so it never
//! becomes unusable.
//!
//! # Safety
//! - libc gets pointers to mutexes that lie in a mapping or a box that outlives the call. A locked one stays mapped
//!   until it is unlocked or its thread has ended: its [`Membership`](super::Membership) sees to that.
//! - A free robust mutex is its bytes: libc keeps no pointer to it and none in it (glibc and musl). So the same bytes
//!   at another address are a free mutex, and all it takes to make one of zeros is to store those that are not zero.
//! - While it is locked, libc and the kernel follow the links in it, which any process that maps it could have
//!   changed. Peers are trusted not to write there: no more, and no less, than any process-shared robust mutex asks.
#![allow(unsafe_code, reason = "pthread mutexes, and get_robust_list, which has no wrapper")]

use std::mem::{MaybeUninit, offset_of};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::slot::MUTEX_SIZE;
use super::{LifeSlot, MutexLayout, OWNER, SLOT_SIZE};
use crate::caps::{self, Capability};
use crate::{OsError, Result};

/// How this process's libc lays out a robust mutex. Found out once, with a mutex of our own.
///
/// # Errors
/// libc makes no process-shared robust mutexes, or its futex word is not found in them.
pub fn layout() -> Result<MutexLayout> {
    static LAYOUT: OnceLock<std::result::Result<MutexLayout, i32>> = OnceLock::new();
    LAYOUT.get_or_init(try_one).map_err(|errno| OsError::from_errno("looking into a robust mutex", errno))
}

/// The number of the calling thread, as life words hold it.
pub(super) fn thread_number() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// What came of an attempt to lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// The calling thread has the mutex, and the kernel knows.
    Registered,
    /// The calling thread has the mutex, but the kernel's list does not hold it where it should.
    Unknown,
    /// Somebody has it, or it is of no use.
    Busy,
}

/// Tries to lock the mutex of a slot whose life word holds no living owner.
pub(super) fn try_lock(slot: &LifeSlot, layout: &MutexLayout) -> Locked {
    make_free(slot, layout);
    // SAFETY: the slot holds a mutex of this libc (its bytes are those of `layout`, or what libc made of them), shared
    // between processes and mapped while `slot` is borrowed and, if locked, by the caller's membership.
    let answer = unsafe { libc::pthread_mutex_trylock(slot.mutex.get()) };
    match answer {
        0 => {}
        libc::EOWNERDEAD => {
            // SAFETY: the calling thread has just locked this mutex.
            unsafe { libc::pthread_mutex_consistent(slot.mutex.get()) };
        }
        _ => return Locked::Busy,
    }
    let registered = newest_entry() == Some(slot.word(layout).as_ptr().addr());
    let ours = slot.word(layout).load(Ordering::Relaxed) & OWNER == thread_number();
    if registered && ours { Locked::Registered } else { Locked::Unknown }
}

/// Unlocks the mutex of a slot, which the calling thread locked.
pub(super) fn unlock(slot: &LifeSlot) {
    // SAFETY: the caller is the membership that locked it, on the same thread and in the same process. libc would
    // answer an error and change nothing if it were not.
    unsafe { libc::pthread_mutex_unlock(slot.mutex.get()) };
}

/// Makes a mutex of a slot that was never used. Changes nothing in any other, however many threads do it at once: the
/// bytes that are not zero in a free mutex never change.
fn make_free(slot: &LifeSlot, layout: &MutexLayout) {
    for number in 0..MUTEX_SIZE / 4 {
        let (word, value) = (slot.mutex_word(number), layout.free[number]);
        if value != 0 && word.load(Ordering::Relaxed) != value {
            word.store(value, Ordering::Relaxed);
        }
    }
}

fn try_one() -> std::result::Result<MutexLayout, i32> {
    let slot = Box::<LifeSlot>::new_zeroed();
    // SAFETY: every field is an integer or a mutex in raw form, for which zeros are a valid value.
    let slot = unsafe { slot.assume_init() };
    initialise(&slot)?;
    let mut layout = MutexLayout { word: 0, free: [0; 16] };
    for number in 0..MUTEX_SIZE / 4 {
        layout.free[number] = slot.mutex_word(number).load(Ordering::Relaxed);
    }
    // SAFETY: the mutex was just initialised and lives in the box until the end of this function.
    check(unsafe { libc::pthread_mutex_trylock(slot.mutex.get()) })?;
    let word = life_word(&slot);
    unlock(&slot);
    layout.word = word.ok_or(libc::ENOTSUP)?;
    if layout.is_sound() { Ok(layout) } else { Err(libc::ENOTSUP) }
}

/// The offset of the life word in a slot that the calling thread has just locked.
///
/// Where the kernel's list cannot be asked, it is the first word that holds the thread's number: a guess, but processes
/// compare it when they meet, and without the list nothing but an agreed place is asked of it.
fn life_word(slot: &LifeSlot) -> Option<u32> {
    let tid = thread_number();
    if let Some(address) = newest_entry() {
        let offset = address.checked_sub(ptr::from_ref(slot).addr())?;
        let number = offset.checked_sub(offset_of!(LifeSlot, mutex))? / 4;
        let inside = offset < SLOT_SIZE && number < MUTEX_SIZE / 4;
        let ours = inside && slot.mutex_word(number).load(Ordering::Relaxed) & OWNER == tid;
        return if ours { u32::try_from(offset).ok() } else { None };
    }
    let number = (0..MUTEX_SIZE / 4).find(|n| slot.mutex_word(*n).load(Ordering::Relaxed) == tid)?;
    u32::try_from(offset_of!(LifeSlot, mutex) + number * 4).ok()
}

fn initialise(slot: &LifeSlot) -> std::result::Result<(), i32> {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the pointer is to room for one attribute object, local to this function.
    check(unsafe { libc::pthread_mutexattr_init(attributes) })?;
    // SAFETY: the object was initialised by the call before.
    let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
    // SAFETY: as before.
    let robust = unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
    let wanted = check(shared).and_then(|()| check(robust));
    // SAFETY: the attributes are initialised, and the slot's mutex is room that no other thread has yet.
    let made = wanted.and_then(|()| check(unsafe { libc::pthread_mutex_init(slot.mutex.get(), attributes) }));
    // SAFETY: it was initialised above and is not used after this.
    unsafe { libc::pthread_mutexattr_destroy(attributes) };
    made
}

fn check(answer: i32) -> std::result::Result<(), i32> {
    if answer == 0 { Ok(()) } else { Err(answer) }
}

/// `struct robust_list_head` of `linux/futex.h`.
#[repr(C)]
struct Head {
    first: *mut libc::c_void,
    futex_offset: libc::c_long,
    pending: *mut libc::c_void,
}

/// The address of the futex word that the calling thread put on the kernel's list last. `None` without a list, or if
/// it is empty.
fn newest_entry() -> Option<usize> {
    if !caps::has(Capability::RobustList) {
        return None;
    }
    let mut head: *mut Head = ptr::null_mut();
    let mut size: libc::size_t = 0;
    // SAFETY: with thread id 0 (ourselves) the call only writes one pointer and one size, both local variables of
    // those types that outlive it.
    let answer = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) };
    if answer != 0 || size != size_of::<Head>() || head.is_null() {
        return None;
    }
    // SAFETY: the kernel answered with the head that this thread's libc registered: a live object of that type in the
    // thread's own memory, which only this thread changes. The read is volatile, as the compiler does not see it change.
    let head_now = unsafe { head.read_volatile() };
    let first = head_now.first.addr() & !1; // the lowest bit is the kind of the mutex
    let empty = first == head.addr();
    (!empty).then(|| first.wrapping_add_signed(head_now.futex_offset as isize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::{OWNER_DIED, is_alive};

    #[test]
    fn a_free_mutex_can_be_made_of_zeros() {
        let layout = layout().unwrap();
        assert!(layout.is_sound() && layout.free.iter().any(|word| *word != 0));
        // SAFETY: zeros are valid for every field.
        let slot = Box::leak(unsafe { Box::<LifeSlot>::new_zeroed().assume_init() });
        assert_eq!(try_lock(slot, &layout), Locked::Registered);
        assert!(is_alive(slot.word(&layout).load(Ordering::Relaxed)));
        assert_eq!(try_lock(slot, &layout), Locked::Busy);
        unlock(slot);
        assert_eq!(slot.word(&layout).load(Ordering::Relaxed), 0);
        slot.word(&layout).store(OWNER_DIED, Ordering::Relaxed);
        assert_eq!(try_lock(slot, &layout), Locked::Registered);
        unlock(slot);
        assert_eq!(try_lock(slot, &layout), Locked::Registered, "not marked as beyond recovery");
        unlock(slot);
    }

    #[test]
    fn the_guess_without_the_list_is_the_same_word() {
        // SAFETY: zeros are valid for every field.
        let slot = Box::leak(unsafe { Box::<LifeSlot>::new_zeroed().assume_init() });
        let layout = layout().unwrap();
        assert_eq!(try_lock(slot, &layout), Locked::Registered);
        let tid = thread_number();
        let first = (0..MUTEX_SIZE / 4).find(|n| slot.mutex_word(*n).load(Ordering::Relaxed) == tid).unwrap();
        assert_eq!(offset_of!(LifeSlot, mutex) + first * 4, layout.word as usize);
        unlock(slot);
    }
}
