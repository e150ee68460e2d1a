//! Holding a life word: taken once by a thread, kept until the thread ends or leaves.
//!
//! Invariants: a membership never leaves its thread; it keeps the mapping of its slot; in a forked child, which holds
//! nothing of its parent's, dropping it touches no shared memory.
//!
//! | killed | life word | the slot |
//! |---|---|---|
//! | before the lock | as it was | free |
//! | in libc's lock | as it was, or marked by the kernel (it is told of a lock that is about to be taken) | free |
//! | after it | marked | free; id and fields are those of the owner before |
//! | with the owner half written | marked | free; the fields are a mixture, and the id is 0: nothing leads to them |
//! | leaving, before the unlock | marked | free |
//! | leaving, after it | 0 | free; who slept on the word is woken by libc, by the kernel or by the tick |

use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::proof;
use super::robust::{self, Locked, thread_number};
use super::{MutexLayout, OWNER_DIED, Place, SlotOwner, UNREGISTERED, WAITERS, is_alive};
use crate::caps::{self, Capability};
use crate::fork::{Epoch, epoch};
use crate::identity::ProcessIdentity;

/// The calling thread's hold of a life word.
///
/// Neither Send nor Sync: the kernel marks the word when *this* thread ends. Dropping it leaves: the word becomes 0,
/// whoever sleeps on it is woken, and the slot is free. A thread that ends without dropping it leaves by dying.
#[derive(Debug)]
pub struct Membership {
    place: Place,
    layout: MutexLayout,
    registration: Registration,
    epoch: Epoch,
    /// The thread.
    _bound: PhantomData<*const ()>,
}

/// Who will say that the owner of a life word is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registration {
    /// The kernel, at once.
    Kernel,
    /// Whoever asks for a [proof](super::has_ended): the kernel's list could not be had.
    Nobody,
}

impl Membership {
    /// Takes a slot for the calling thread, if no living thread has it, and writes down who owns it now. `None` if
    /// somebody has it. Does not wait.
    ///
    /// The slot's `id` is 0 then and its `generation` as it was. They are the caller's to change, in this order:
    /// generation, then id.
    pub fn take(place: Place, layout: &MutexLayout) -> Option<Self> {
        let slot = place.slot();
        // A look before the try: trying a lock that a living thread of another pid namespace holds, who might have our
        // thread number, and being killed in it, would mark that thread dead.
        if is_alive(slot.word(layout).load(Ordering::Acquire)) {
            return None;
        }
        let registration = hold(&place, layout)?;
        slot.set_owner(&this_thread());
        Some(Self { place, layout: *layout, registration, epoch: epoch(), _bound: PhantomData })
    }

    /// The slot.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it was taken in this process, and not by the parent that this process was forked from.
    #[inline]
    pub fn is_ours(&self) -> bool {
        self.epoch == epoch()
    }

    /// Who will say that this thread is dead.
    pub fn registration(&self) -> Registration {
        self.registration
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let slot = self.place.slot();
        let word = slot.word(&self.layout);
        match self.registration {
            Registration::Kernel => robust::unlock(slot),
            Registration::Nobody => word.store(0, Ordering::Release),
        }
        // libc wakes one at most.
        crate::futex::wake(word, u32::MAX);
    }
}

fn hold(place: &Place, layout: &MutexLayout) -> Option<Registration> {
    if caps::has(Capability::RobustList) {
        match robust::try_lock(place.slot(), layout) {
            Locked::Registered => return Some(Registration::Kernel),
            Locked::Busy => return None,
            Locked::Unknown => robust::unlock(place.slot()),
        }
    }
    let claim = |value: u32| {
        (!is_alive(value)).then(|| value & WAITERS & spread(value) | UNREGISTERED | thread_number())
    };
    let word = place.slot().word(layout);
    word.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).ok()?;
    Some(Registration::Nobody)
}

/// The waiters bit is kept from a dead owner's word only: see [`LifeSlot::watch`](super::LifeSlot::watch).
const fn spread(value: u32) -> u32 {
    if value & OWNER_DIED == 0 { 0 } else { u32::MAX }
}

/// Who the calling thread is. What cannot be known is 0, and cannot be proved later.
pub(super) fn this_thread() -> SlotOwner {
    thread_local! {
        static KNOWN: Cell<Option<(Epoch, SlotOwner)>> = const { Cell::new(None) };
    }
    // Behind the end of its thread locals a thread asks the system again.
    if let Ok(Some((asked, owner))) = KNOWN.try_with(Cell::get)
        && asked == epoch()
    {
        return owner;
    }
    let owner = ask();
    let _ = KNOWN.try_with(|known| known.set(Some((epoch(), owner))));
    owner
}

/// What is known of the process, and the start time of the thread.
fn ask() -> SlotOwner {
    let process = process();
    let tid = thread_number();
    // The entry of a thread is reached through that of its process, so a `/proc` that speaks of others is noticed above.
    let started = if process.namespace == 0 {
        None
    } else {
        proof::start_time(&format!("/proc/{}/task/{tid}/stat", process.pid))
    };
    SlotOwner { tid, thread_started: started.unwrap_or(0), ..process }
}

/// This process, without a thread. Asked once; where the answer is being written or was cut off by a fork, again.
fn process() -> SlotOwner {
    static KNOWN: Mutex<Option<(Epoch, SlotOwner)>> = Mutex::new(None);
    let mut known = KNOWN.try_lock().ok();
    if let Some((asked, process)) = known.as_deref().copied().flatten()
        && asked == epoch()
    {
        return process;
    }
    let process = ask_about_process();
    if let Some(known) = known.as_deref_mut() {
        *known = Some((epoch(), process));
    }
    process
}

fn ask_about_process() -> SlotOwner {
    let pid = std::process::id();
    let time_namespace = rustix::fs::stat("/proc/thread-self/ns/time").map_or(0, |stat| stat.st_ino);
    let unknown =
        SlotOwner { pid, tid: 0, process_started: 0, thread_started: 0, namespace: 0, time_namespace };
    // A `/proc` that was mounted for another pid namespace speaks of others under our numbers.
    let is_ours = std::fs::read_link("/proc/self").is_ok_and(|own| own == Path::new(&pid.to_string()));
    match ProcessIdentity::current() {
        Ok(me) if is_ours => SlotOwner { process_started: me.started, namespace: me.namespace, ..unknown },
        _ => unknown,
    }
}
