//! Leases: which process may write which items, while nobody may read all of them.
//!
//! The state of a lease is one word:
//!
//! | state | the lease | who moves it, to what |
//! |---|---|---|
//! | `n`, not `LIVE` | free | who holds `lock` to write and `table`: to `n + 1`, `LIVE` |
//! | `n`, `LIVE` | is that of the process in owner copy `n % 2`, or in a message of it | that process, releasing: to `n + 1`, free; having sent: adds `TRANSIT`; a receiver, with `table`: to `n + 1`, `LIVE`; who has proof of that process's death, and finds no claim, with `table`: to `n + 1`, free |
//! | `n`, `LIVE + TRANSIT` | is in a message, whose descriptor claims the byte with the lease's index | a receiver, with `table`: to `n + 1`, `LIVE`; who finds no claim, with `table`: to `n + 1`, free |
//!
//! Invariants: the number `n` only grows, so a state that was seen is that of the same owner as long as it stands; an
//! owner copy is written only while the state leads to the other one, and by the holder of `table` only. Held by
//! `tests/array_steps.rs` and `tests/array_leases.rs`.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use procession_raw::{Held, LockError, Protected};
use procession_sys::Deadline;
use procession_sys::claim;
use procession_sys::futex::SharedPark;

use super::head::{Head, N_LEASES, Name};
use crate::wait::{Party, Wait};

pub(super) const LIVE: u64 = 1;
pub(super) const TRANSIT: u64 = 2;
const NEXT: u64 = 4;

/// How long a receiver waits for `table`.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lease as it was given or taken over: good for as long as its state stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) index: usize,
    /// Without `TRANSIT`.
    pub(super) state: u64,
}

/// The lease that came is no longer what it was when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenBack;

/// The number of the change after that to `state`.
const fn next(state: u64) -> u64 {
    (state & !(LIVE | TRANSIT)).wrapping_add(NEXT)
}

/// Which owner copy a state leads to.
const fn copy(state: u64) -> usize {
    (state / NEXT % 2) as usize
}

/// Which processes have ended: each is asked about once.
#[derive(Default)]
struct Proofs(Vec<(Name, bool)>);

impl Proofs {
    fn has_ended(&mut self, name: Name) -> bool {
        if let Some((_, ended)) = self.0.iter().find(|(known, _)| *known == name) {
            return *ended;
        }
        let ended = name.has_ended();
        self.0.push((name, ended));
        ended
    }
}

impl Head {
    /// Does something as the holder of `table`. The holder before may have died: whatever it did is done or undone by
    /// the one store that it made or did not make.
    pub(super) fn with_table<R>(
        &self,
        party: &Party<'_>,
        wait: Wait,
        what: impl FnOnce() -> R,
    ) -> Result<R, LockError> {
        let Held { me, state } = self.table.lock(&SharedPark, party, &wait)?;
        let answer = what();
        if state != Protected::Consistent {
            let _ = self.table.mark_consistent(me);
        }
        // It fails only if somebody has stored over the word.
        let _ = self.table.unlock(&SharedPark, me);
        if let Protected::OwnerDied(id) = state {
            // Others may wait for something that this thread was going to do.
            party.domain().note_death(id);
        }
        Ok(answer)
    }

    /// The live leases, with their states.
    pub(super) fn live(&self) -> impl Iterator<Item = (usize, u64)> {
        let top = (self.top.load(Ordering::Acquire) as usize).min(N_LEASES);
        let states = self.states[..top].iter().map(|state| state.load(Ordering::Acquire));
        states.enumerate().filter(|(_, state)| state & LIVE != 0)
    }

    /// Who has a lease; `None` if it has moved on since it was in that state.
    pub(super) fn owner(&self, index: usize, state: u64) -> Option<Name> {
        let name = self.records[index].owners[copy(state)].load();
        (self.states[index].load(Ordering::Acquire) == state).then_some(name)
    }

    /// Gives leases of items that begin at each of `starts` and end before the next, the last at `end`, to this process.
    /// For who holds `lock` to write, and `table`, when no lease is live.
    ///
    /// Killed in it, some of the leases are live, of a process that is dead.
    pub(super) fn give(&self, starts: &[usize], end: usize) -> Vec<Lease> {
        let own = Name::own();
        self.top.store(starts.len() as u32, Ordering::Release);
        let ends = starts[1..].iter().copied().chain([end]);
        let give = |(index, (&first, end)): (usize, (&usize, usize))| {
            let record = &self.records[index];
            record.first.store(first as u64, Ordering::Relaxed);
            record.len.store((end - first) as u64, Ordering::Relaxed);
            let state = next(self.states[index].load(Ordering::Relaxed)) | LIVE;
            record.owners[copy(state)].store(own);
            self.states[index].store(state, Ordering::Release);
            Lease { index, state }
        };
        starts.iter().zip(ends).enumerate().map(give).collect()
    }

    /// Gives a lease back and wakes who waits for that. For its owner; does nothing if it is no longer that.
    pub(super) fn release(&self, lease: Lease) {
        if self.change(lease.index, lease.state, next(lease.state)) {
            self.notify();
        }
    }

    /// Says that a lease is in a message that holds its claim. For its owner, who has sent it.
    pub(super) fn depart(&self, lease: Lease) {
        self.change(lease.index, lease.state, lease.state | TRANSIT);
    }

    /// Makes a lease that came in a message that of this process. `first` and `len` are what the message says.
    ///
    /// Killed in it, the lease is what it was, or is that of this process. Waits some seconds at most, for somebody who
    /// was stopped in the middle of a few stores; a part that then does not arrive goes back to the array.
    pub(super) fn arrive(
        &self,
        party: &Party<'_>,
        lease: Lease,
        (first, len): (u64, u64),
    ) -> Result<Result<Lease, TakenBack>, LockError> {
        let own = Name::own();
        let record = &self.records[lease.index];
        let sent = |state: u64| state & !TRANSIT == lease.state && state & LIVE != 0;
        self.with_table(party, Wait(Deadline::after(PATIENCE)), || {
            let now = self.states[lease.index].load(Ordering::Acquire);
            let about = (record.first.load(Ordering::Relaxed), record.len.load(Ordering::Relaxed));
            if !sent(now) || about != (first, len) {
                return Err(TakenBack);
            }
            let state = next(now) | LIVE;
            record.owners[copy(state)].store(own);
            // The sender may say meanwhile that it has sent.
            let taken =
                self.change(lease.index, now, state) || self.change(lease.index, now | TRANSIT, state);
            if taken { Ok(Lease { index: lease.index, state }) } else { Err(TakenBack) }
        })
    }

    /// Frees the leases that nobody has any more, and tells if an owner died. The proofs take some system calls for
    /// each owner, and one for each lease.
    pub(super) fn reclaim(
        &self,
        party: &Party<'_>,
        file: BorrowedFd<'_>,
        wait: Wait,
    ) -> Result<(), LockError> {
        let (mut proofs, mut any, mut buried) = (Proofs::default(), false, Vec::new());
        let mut failed = Ok(());
        for (index, state) in self.live() {
            let Some(owner) = self.owner(index, state) else { continue };
            let in_transit = state & TRANSIT != 0;
            let claimed = claim::is_taken(file, index as u32).ok();
            // Of what is in a message, no claim is proof; else it takes a death and no message.
            let lost = if in_transit {
                claimed == Some(false)
            } else {
                claimed != Some(true) && proofs.has_ended(owner)
            };
            if !lost {
                continue;
            }
            let taken = self.with_table(party, wait, || {
                let stands = self.states[index].load(Ordering::Acquire) == state;
                // The news first: who finds the lease gone finds them. What was lost on its way had no writer.
                if stands && !in_transit {
                    self.tell(owner);
                }
                stands && self.change(index, state, next(state))
            });
            let taken = match taken {
                Ok(taken) => taken,
                // What was freed so far is news all the same.
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            };
            any |= taken;
            if taken && !in_transit && !buried.contains(&owner) {
                buried.push(owner);
            }
        }
        if any {
            self.notify();
        }
        // Others may wait for something that these were going to do.
        buried.iter().for_each(|owner| party.domain().note_process_death(&owner.identity()));
        failed
    }

    fn change(&self, index: usize, from: u64, to: u64) -> bool {
        self.states[index].compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
