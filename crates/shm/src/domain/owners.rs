//! A domain as the algorithms of `procession_raw` see it.
//!
//! Invariant: nothing here waits. Proof by identity, which takes system calls, is asked for only about owners whom the
//! kernel does not know, and about others once somebody has slept a tick on them.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use procession_raw::{Id, NoSlot, Owners};
use procession_sys::{futex, life};

use super::{Domain, DomainId, options};

impl Owners for Domain {
    #[inline]
    fn me(&self) -> Result<Id, NoSlot> {
        self.join().map_err(|_| NoSlot)
    }

    #[inline]
    fn is_dead(&self, id: Id) -> bool {
        match self.0.life(id) {
            None => true,
            Some((_, value)) if value & life::UNREGISTERED != 0 => self.look_again(id),
            Some(_) => false,
        }
    }

    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        let (word, value) = self.0.watch(id)?;
        let unseen = value & life::UNREGISTERED != 0 || slept_on(self.id(), id);
        if unseen && self.0.prove(id.slot()) { None } else { Some((word, value)) }
    }

    fn pass_on(&self, id: Id) {
        if let Some(word) = self.0.word_of(id) {
            futex::wake(word, u32::MAX);
        }
    }
}

thread_local! {
    /// Whom the thread watched last, and since when.
    static WATCHED: Cell<Option<(DomainId, Id, Instant)>> = const { Cell::new(None) };
    /// The owners unknown to the kernel whom the thread asked about last, each since when, in turns.
    static LOOKED: Cell<[Option<(DomainId, Id, Instant)>; N_LOOKED]> = const { Cell::new([None; N_LOOKED]) };
}

/// Who asks about more owners in turns asks for proof more often than at ticks.
const N_LOOKED: usize = 8;

/// Whether the calling thread has watched the owner for a tick, and should take a second look. A kernel that failed to
/// mark a death is rare; a sleeper that never wakes would not be worth its speed.
fn slept_on(domain: DomainId, id: Id) -> bool {
    let now = Instant::now();
    let since = WATCHED.try_with(|watched| match watched.get() {
        Some((d, i, since)) if d == domain && i == id => since,
        _ => {
            watched.set(Some((domain, id, now)));
            now
        }
    });
    let slept = since.is_ok_and(|since| now.duration_since(since) >= options::tick());
    if slept {
        let _ = WATCHED.try_with(|watched| watched.set(Some((domain, id, now))));
    }
    slept
}

impl Domain {
    /// Whether an owner whom the kernel does not know is dead: proof is asked for at most once a tick by each thread, so
    /// that one that polls does not live in system calls; of each owner, so that nobody's life hides another's death.
    #[cold]
    fn look_again(&self, id: Id) -> bool {
        let now = Instant::now();
        let due = LOOKED.try_with(|looked| {
            let mut all = looked.get();
            let is_recent = |entry: &Option<_>| {
                entry.is_some_and(|(domain, owner, at)| {
                    (domain, owner) == (self.id(), id) && now.duration_since(at) < options::tick()
                })
            };
            let due = !all.iter().any(is_recent);
            if due {
                // The oldest makes room.
                all.rotate_right(1);
                all[0] = Some((self.id(), id, now));
                looked.set(all);
            }
            due
        });
        due.unwrap_or(true) && self.0.prove(id.slot()) && self.0.is_dead(id)
    }
}
