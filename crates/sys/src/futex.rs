//! Sleeping on words of shared memory and waking those who sleep, between threads and between processes.
//!
//! Every futex here is a *shared* one: it is found by the memory behind the address, not by the address, so each
//! process may have mapped it elsewhere. Deadlines are absolute and monotonic, so an interrupted sleep does not
//! grow. Held by `tests/futex.rs`: a wake after a store is never lost, across two processes; the fallbacks keep
//! the same answers.
//!
//! Nothing here knows why anybody sleeps; that is in the word protocols of `procession_raw`.

mod address;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_raw::{Park, Waited};
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags, WakeOp, WakeOpCmp};
use rustix::time::{ClockId, Timespec};

use crate::Deadline;
use crate::caps::{self, Capability};

pub(crate) use address::{Address, has_changed_at, wait_at};

/// The longest sleep on one word by a caller that had several in mind: see [`wait_any`].
pub const TICK: Duration = Duration::from_millis(50);

/// The most words that [`wait_any`] sleeps on at once; the kernel's limit.
pub const MAX_WORDS: usize = 128;

/// [`Park`] over the shared futexes of the kernel. Has no state: all values are alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct SharedPark;

impl Park for SharedPark {
    /// A time from now on, as the kernel takes it: no clock is read. A signal handler ends the sleep, and the caller,
    /// who knows its limit, sleeps again.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited {
        if word.load(Ordering::Acquire) != expected {
            return Waited::Changed;
        }
        if timeout == Some(Duration::ZERO) {
            return Waited::TimedOut;
        }
        // Beyond the clock's range is without a limit.
        let timeout_of_kernel = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match futex::wait(word, Flags::empty(), expected, timeout_of_kernel.as_ref()) {
            Err(Errno::INTR) => Waited::Woken,
            answer => verdict(answer, || deadline_of(timeout)),
        }
    }

    fn wait_any(&self, words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> Waited {
        wait_any(words, deadline_of(timeout))
    }

    fn wake(&self, word: &AtomicU32, n: u32) -> u32 {
        wake(word, n)
    }

    fn store_and_wake(&self, word: &AtomicU32, value: u32, n: u32) {
        store_and_wake(word, value, n);
    }

    fn add_and_wake(&self, word: &AtomicU32, addend: u32, n: u32) -> u32 {
        add_and_wake(word, addend, n)
    }

    fn set_and_wake(&self, word: &AtomicU32, bits: u32, n: u32) -> u32 {
        set_and_wake(word, bits, n)
    }
}

/// Sleeps while `word` holds `expected`, until `deadline`.
///
/// Blocks. A deadline that has passed is no sleep and no system call. May return [`Waited::Woken`] for no reason.
/// If the process that would have woken us dies, only the deadline ends the sleep.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Waited {
    if word.load(Ordering::Acquire) != expected {
        return Waited::Changed;
    }
    let Ok(until) = instant_of(deadline) else { return Waited::TimedOut };
    loop {
        match futex::wait_bitset(word, Flags::empty(), expected, until.as_ref(), ANY_WAKER) {
            Err(Errno::INTR) => continue,
            answer => return verdict(answer, || deadline),
        }
    }
}

/// Sleeps while every one of `words` holds its expected value, until `deadline`.
///
/// Blocks. May return [`Waited::Woken`] for no reason: look at all words. Where the kernel cannot sleep on many
/// words ([`Capability::Waitv`]), and for words beyond [`MAX_WORDS`], it sleeps on fewer of them and for at most a
/// [`TICK`], which then ends in [`Waited::Woken`].
///
/// # Panics
/// If `words` is empty: nothing could ever end such a sleep.
pub fn wait_any(words: &[(&AtomicU32, u32)], deadline: Deadline) -> Waited {
    let (first, rest) = words.split_first().expect("wait_any needs at least one word to sleep on");
    if words.iter().any(|(word, expected)| word.load(Ordering::Acquire) != *expected) {
        return Waited::Changed;
    }
    match rest.len() {
        0 => wait(first.0, first.1, deadline),
        _ if !caps::has(Capability::Waitv) => wait_a_tick(*first, deadline),
        1..4 => wait_on_all::<4>(words, deadline),
        4..8 => wait_on_all::<8>(words, deadline),
        8..MAX_WORDS => wait_on_all::<MAX_WORDS>(words, deadline),
        _ => cut_short(
            wait_on_all::<MAX_WORDS>(&words[..MAX_WORDS], deadline.min(Deadline::after(TICK))),
            deadline,
        ),
    }
}

/// Wakes up to `n` sleepers of `word`; says how many it woke. Does not wait and cannot fail.
pub fn wake(word: &AtomicU32, n: u32) -> u32 {
    match n {
        0 => 0, // the kernel would wake one
        _ => futex::wake(word, Flags::empty(), count(n)).map_or(0, |woken| woken as u32),
    }
}

/// Stores `value` in `word` and wakes up to `n` of its sleepers (now and then one more); says how many it woke.
///
/// For values where [`stores_in_one_step`] says so, both happen in one system call, so that a kill comes before
/// both or after both. For other values it is a store and then a wake: a kill between them leaves the sleepers to
/// their tick. Writes made before this call are seen by whoever reads `value`.
pub fn store_and_wake(word: &AtomicU32, value: u32, n: u32) -> u32 {
    in_one_step(word, operation(value), n).unwrap_or_else(|| {
        word.store(value, Ordering::Release);
        wake(word, n)
    })
}

/// Adds `addend` to `word`, wrapping, and wakes up to `n` of its sleepers (now and then one more); says how many it
/// woke.
///
/// One system call for addends below 2048, as [`store_and_wake`]; for others, and where the kernel refuses that call,
/// an addition and then a wake. Writes made before this call are seen by whoever reads the sum.
pub fn add_and_wake(word: &AtomicU32, addend: u32, n: u32) -> u32 {
    in_one_step(word, small(WakeOp::Add, addend), n).unwrap_or_else(|| {
        word.fetch_add(addend, Ordering::Release);
        wake(word, n)
    })
}

/// Sets `bits` in `word` and wakes up to `n` of its sleepers (now and then one more); says how many it woke.
///
/// One system call for bits below 2048, as [`store_and_wake`]; for others, and where the kernel refuses that call, a
/// store and then a wake. Writes made before this call are seen by whoever reads the bits.
pub fn set_and_wake(word: &AtomicU32, bits: u32, n: u32) -> u32 {
    in_one_step(word, small(WakeOp::Or, bits), n).unwrap_or_else(|| {
        word.fetch_or(bits, Ordering::Release);
        wake(word, n)
    })
}

/// Whether [`store_and_wake`] can store `value` and wake in one system call: small numbers (below 2048), the same
/// counted down from zero (`u32::MAX - 2047` and up), and powers of two.
///
/// ```
/// use procession_sys::futex::stores_in_one_step;
/// assert!(stores_in_one_step(0) && stores_in_one_step(1 << 31) && stores_in_one_step(u32::MAX));
/// assert!(!stores_in_one_step(12345));
/// ```
pub const fn stores_in_one_step(value: u32) -> bool {
    operation(value).is_some()
}

const ANY_WAKER: std::num::NonZeroU32 = std::num::NonZeroU32::MAX;

/// Compared with the old value of the word as -2048; a match would only wake one more than asked.
const NO_OLD_VALUE: u16 = 0x800;

/// How the kernel is told to store `value`: it has room for 12 bits and a sign, or for the number of one bit.
const fn operation(value: u32) -> Option<(WakeOp, u16)> {
    if value < 0x800 || value >= 0xffff_f800 {
        Some((WakeOp::Set, (value & 0xfff) as u16))
    } else if value.is_power_of_two() {
        Some((WakeOp::SetShift, value.trailing_zeros() as u16))
    } else {
        None
    }
}

/// As [`operation`], for one whose argument has no other form than a small number.
const fn small(op: WakeOp, argument: u32) -> Option<(WakeOp, u16)> {
    if argument < 0x800 { Some((op, argument as u16)) } else { None }
}

/// Changes the word and wakes in one system call; `None` if that cannot be had, and then nothing was done.
fn in_one_step(word: &AtomicU32, operation: Option<(WakeOp, u16)>, n: u32) -> Option<u32> {
    // Asked to wake nobody, the kernel would wake one.
    let (op, argument) = operation.filter(|_| n > 0)?;
    std::sync::atomic::fence(Ordering::Release);
    let n = count(n);
    // The call could wake a second set of sleepers if the word's old value compares; it practically never does.
    let woken = futex::wake_op(word, Flags::empty(), n, 0, word, op, WakeOpCmp::Eq, argument, NO_OLD_VALUE);
    woken.ok().map(|woken| woken as u32)
}

/// The kernel counts sleepers in a signed number.
fn count(n: u32) -> u32 {
    n.min(i32::MAX as u32)
}

fn wait_on_all<const N: usize>(words: &[(&AtomicU32, u32)], deadline: Deadline) -> Waited {
    let Ok(until) = instant_of(deadline) else { return Waited::TimedOut };
    let mut entries = [Wait::new(); N];
    for (entry, (word, expected)) in entries.iter_mut().zip(words) {
        entry.val = u64::from(*expected);
        entry.uaddr = WaitPtr::new(word.as_ptr().cast());
        entry.flags = WaitFlags::SIZE_U32;
    }
    loop {
        let answer =
            futex::waitv(&entries[..words.len()], WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic);
        match answer {
            Err(Errno::INTR) => continue,
            Err(Errno::NOSYS | Errno::PERM) => {
                // A sandbox closed after we had asked.
                caps::force_off(Capability::Waitv);
                return wait_a_tick(words[0], deadline);
            }
            answer => return verdict(answer.map(drop), || deadline),
        }
    }
}

/// Sleeps on one word in the place of several.
fn wait_a_tick((word, expected): (&AtomicU32, u32), deadline: Deadline) -> Waited {
    cut_short(wait(word, expected, deadline.min(Deadline::after(TICK))), deadline)
}

/// A sleep that ended with the tick and not with the caller's deadline is a reason to look again, not a timeout.
fn cut_short(waited: Waited, deadline: Deadline) -> Waited {
    if waited == Waited::TimedOut && !deadline.has_passed() { Waited::Woken } else { waited }
}

fn verdict(answer: Result<(), Errno>, deadline: impl FnOnce() -> Deadline) -> Waited {
    match answer {
        Ok(()) => Waited::Woken,
        Err(Errno::AGAIN) => Waited::Changed,
        Err(Errno::TIMEDOUT) => Waited::TimedOut,
        Err(_) => doze(deadline()),
    }
}

/// The kernel would not let us sleep on the word (it lacks memory for that): its callers become pollers, which is
/// slow and still right.
#[cold]
fn doze(deadline: Deadline) -> Waited {
    let until = instant_of(deadline.min(Deadline::after(TICK)));
    if let Ok(Some(until)) = until {
        let _ = rustix::thread::clock_nanosleep_absolute(ClockId::Monotonic, &until);
    }
    if deadline.has_passed() { Waited::TimedOut } else { Waited::Woken }
}

fn deadline_of(timeout: Option<Duration>) -> Deadline {
    timeout.map_or(Deadline::NEVER, Deadline::after)
}

struct Passed;

/// The deadline as the kernel wants it: `None` without a limit, an error once it has passed.
fn instant_of(deadline: Deadline) -> Result<Option<Timespec>, Passed> {
    let Some(left) = deadline.remaining() else { return Ok(None) };
    if left.is_zero() {
        return Err(Passed);
    }
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let now = Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32);
    // Beyond the clock's range is without a limit.
    Ok(now.checked_add(left).and_then(|until| Timespec::try_from(until).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_stored_as_given() {
        let around = |value: u32| value.saturating_sub(2)..=value.saturating_add(2);
        let values = [0, 0x7ff, 0x800, 0xfff, 0x1000, 1 << 20, 1 << 31, 0xffff_f800, u32::MAX].map(around);
        for value in values.into_iter().flatten() {
            for before in [0, 77, 0xffff_f800, u32::MAX] {
                let word = AtomicU32::new(before);
                store_and_wake(&word, value, 1);
                assert_eq!(word.into_inner(), value);
            }
        }
    }

    #[test]
    fn every_argument_is_added_and_set_as_given() {
        for argument in [0, 1, 2, 0x400, 0x7ff, 0x800, 0xfff, 1 << 31, 0xffff_f800, u32::MAX] {
            for before in [0, 77, 0x7ff, 1 << 31, 0xffff_f800, u32::MAX] {
                for n in [0, 1, u32::MAX] {
                    let (sum, union) = (AtomicU32::new(before), AtomicU32::new(before));
                    assert_eq!((add_and_wake(&sum, argument, n), set_and_wake(&union, argument, n)), (0, 0));
                    assert_eq!(sum.into_inner(), before.wrapping_add(argument));
                    assert_eq!(union.into_inner(), before | argument);
                }
            }
        }
    }

    #[test]
    fn the_kernel_adds_and_sets_in_its_one_step() {
        let word = AtomicU32::new(u32::MAX);
        for (op, argument, after) in [(WakeOp::Add, 0x7ff, 0x7fe), (WakeOp::Or, 0x401, 0x7ff)] {
            assert_eq!(in_one_step(&word, small(op, argument), 1), Some(0));
            assert_eq!(word.load(Ordering::Relaxed), after);
        }
        assert!(
            small(WakeOp::Add, 0x800).is_none() && in_one_step(&word, small(WakeOp::Add, 1), 0).is_none()
        );
        assert_eq!(word.into_inner(), 0x7ff, "a step that is not to be had does nothing");
    }

    #[test]
    fn sleepers_are_counted_in_a_signed_number() {
        assert_eq!([1, 3, 1 << 30].map(count), [1, 3, 1 << 30]);
        assert_eq!(count(u32::MAX), 0x7fff_ffff);
    }

    #[test]
    fn which_values_take_one_step() {
        assert!([0, 1, 2047, 2048, 1 << 31, 0xffff_f800, u32::MAX].into_iter().all(stores_in_one_step));
        assert!([2049, 0xffff_f7ff, 0x8000_0001].into_iter().all(|value| !stores_in_one_step(value)));
    }

    #[test]
    fn changed_and_timed_out_without_sleeping() {
        let (a, b) = (AtomicU32::new(5), AtomicU32::new(6));
        assert_eq!(wait(&a, 4, Deadline::NEVER), Waited::Changed);
        assert_eq!(wait(&a, 5, Deadline::now()), Waited::TimedOut);
        assert_eq!(wait_any(&[(&a, 5), (&b, 5)], Deadline::NEVER), Waited::Changed);
        assert_eq!(wait_any(&[(&a, 5), (&b, 6)], Deadline::now()), Waited::TimedOut);
        let soon = || Deadline::after(Duration::from_millis(2));
        assert_eq!(wait(&a, 5, soon()), Waited::TimedOut);
        assert_eq!(wait_any(&[(&a, 5), (&b, 6)], soon()), Waited::TimedOut);
        assert_eq!(SharedPark.wait(&a, 5, Some(Duration::ZERO)), Waited::TimedOut);
    }

    #[test]
    fn nobody_is_woken_where_nobody_sleeps() {
        let word = AtomicU32::new(0);
        assert_eq!((wake(&word, 0), wake(&word, 1), wake(&word, u32::MAX)), (0, 0, 0));
    }
}
