//! Ways to the items: waiting for the lock, and for the leases to go.
//!
//! Invariant: who holds the lock and saw no live lease has all items: leases are given under the lock only. Held by
//! `tests/array.rs` and `tests/array_leases.rs`.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use procession_raw::{Held, Limit, LockError, Owners, Park, Protected, Waited};
use procession_sys::Deadline;
use procession_sys::futex::SharedPark;

use super::guard::{ArrayRead, ArrayWrite};
use super::head::N_LEASES;
use super::part::Parts;
use super::{Array, ArrayError};
use crate::Plain;
use crate::wait::{Party, Wait};

#[derive(Clone, Copy)]
enum How {
    Read,
    Write,
}

/// The forms of one way to the items.
macro_rules! forms {
    (
        $plain:ident $try:ident $timeout:ident $until:ident = $by:ident($($name:ident: $type:ty),*) -> $answer:ty,
        $(#[$doc:meta])+
    ) => {
        $(#[$doc])+
        #[track_caller]
        pub fn $plain(&self $(, $name: $type)*) -> $answer {
            match self.$by($($name,)* Wait(Deadline::NEVER)) {
                Ok(answer) => answer,
                Err(error) => panic!("{error}"),
            }
        }

        #[doc = concat!("[`", stringify!($plain), "`](Self::", stringify!($plain), ") if that can be done at once. Looks \
            for the dead among those who are in the way; does not sleep.\n\n# Errors\n[`ArrayError`].")]
        pub fn $try(&self $(, $name: $type)*) -> Result<$answer, ArrayError> {
            self.$by($($name,)* Wait(Deadline::now()))
        }

        #[doc = concat!("[`", stringify!($plain), "`](Self::", stringify!($plain), "), waiting for at most `timeout`.\n\n\
            # Errors\n[`ArrayError`].")]
        pub fn $timeout(&self $(, $name: $type)*, timeout: Duration) -> Result<$answer, ArrayError> {
            self.$by($($name,)* Wait(Deadline::after(timeout)))
        }

        #[doc = concat!("[`", stringify!($plain), "`](Self::", stringify!($plain), "), waiting until `instant`.\n\n\
            # Errors\n[`ArrayError`].")]
        pub fn $until(&self $(, $name: $type)*, instant: Instant) -> Result<$answer, ArrayError> {
            self.$by($($name,)* Wait(Deadline::at(instant)))
        }
    };
}

impl<T: Plain> Array<T> {
    forms! { read try_read read_timeout read_until = read_by() -> ArrayRead<'_, T>,
        /// The items to read, beside others who read.
        ///
        /// Blocks while somebody else writes, and while there are parts: those of this very process too, so a thread
        /// that keeps a part and reads waits for itself. A thread that reads may read again.
        ///
        /// # Panics
        /// If the calling thread has them to write, and if it has no place in the domain, since 4096 threads have one.
        ///
        /// # If a peer dies
        /// Who writes or has a part: the guard [says so](ArrayRead::is_consistent).
    }

    forms! { write try_write write_timeout write_until = write_by() -> ArrayWrite<'_, T>,
        /// The items to write, alone.
        ///
        /// Blocks while somebody reads or writes, and while there are parts, also those of this very process.
        ///
        /// # Panics
        /// If the calling thread reads or writes the array already, and if it has no place in the domain, since 4096
        /// threads have one.
        ///
        /// # If a peer dies
        /// Who writes or has a part: the guard [says so](ArrayWrite::is_consistent).
    }

    forms! { split try_split split_timeout split_until = split_by(n: usize) -> Parts<T>,
        /// Up to `n` parts, together all items, nearly equal in length: as many as there are items, if these are fewer,
        /// and 1024 at most.
        ///
        /// Blocks while somebody reads or writes, and while there are other parts, also those of this very process.
        ///
        /// # Panics
        /// If `n` is 0, if the calling thread reads or writes the array, and if it has no place in the domain, since 4096
        /// threads have one.
        ///
        /// # If a peer dies
        /// Who writes or has a part: [`is_consistent`](Self::is_consistent) says so.
    }

    forms! { chunks try_chunks chunks_timeout chunks_until = chunks_by(len: usize) -> Parts<T>,
        /// Parts of `len` items, together all items; the last part may be shorter. Else as [`split`](Self::split).
        ///
        /// # Panics
        /// If `len` is 0, or if there would be more than 1024 parts; as [`split`](Self::split).
    }

    fn read_by(&self, wait: Wait) -> Result<ArrayRead<'_, T>, ArrayError> {
        self.hold(How::Read, wait).map(|held| ArrayRead::new(self, held.me))
    }

    fn write_by(&self, wait: Wait) -> Result<ArrayWrite<'_, T>, ArrayError> {
        self.hold(How::Write, wait).map(|held| ArrayWrite::new(self, held.me))
    }

    fn split_by(&self, n: usize, wait: Wait) -> Result<Parts<T>, ArrayError> {
        assert!(n > 0, "no parts are no whole");
        let n = n.min(self.len).min(N_LEASES);
        // The first parts have the items that are left over.
        let starts = (0..n).map(|at| at * (self.len / n) + at.min(self.len % n)).collect();
        self.part_at(starts, wait)
    }

    fn chunks_by(&self, len: usize, wait: Wait) -> Result<Parts<T>, ArrayError> {
        assert!(len > 0, "parts without items");
        let n = self.len.div_ceil(len);
        assert!(n <= N_LEASES, "{n} parts, of {N_LEASES} that an array can have");
        self.part_at((0..n).map(|at| at * len).collect(), wait)
    }

    fn part_at(&self, starts: Vec<usize>, wait: Wait) -> Result<Parts<T>, ArrayError> {
        if starts.is_empty() {
            return Ok(Parts::new(self, &starts, &[]));
        }
        // A guard, so that nothing stays locked whatever happens.
        let whole = self.write_by(wait)?;
        let head = self.head();
        let leases = head.with_table(&Party::new(&self.space), wait, || head.give(&starts, self.len));
        drop(whole);
        let leases = leases.map_err(|error| self.error(error))?;
        Ok(Parts::new(self, &starts, &leases))
    }

    /// Takes the lock when there are no leases, and hears what those before left.
    fn hold(&self, how: How, wait: Wait) -> Result<Held, ArrayError> {
        let (head, park, party) = (self.head(), &SharedPark, Party::new(&self.space));
        let mut naps = Naps { quiet: 0, proves: true };
        loop {
            let held = match how {
                How::Read => head.lock.read(park, &party, &wait),
                How::Write => head.lock.write(park, &party, &wait),
            };
            let held = held.map_err(|error| self.give_up(error))?;
            self.hear(held.state, &party, wait);
            if head.live().next().is_none() {
                if head.top.load(Ordering::Relaxed) != 0 {
                    head.top.store(0, Ordering::Relaxed);
                }
                return Ok(held);
            }
            // It fails only if somebody has stored over the word.
            let _ = match how {
                How::Read => head.lock.unlock_read(park, held.me),
                How::Write => head.lock.unlock_write(park, held.me),
            };
            self.wait_for_leases(&party, &mut naps, wait)?;
        }
    }

    /// Sleeps once, unless the leases go meanwhile.
    #[cold]
    fn wait_for_leases(&self, party: &Party<'_>, naps: &mut Naps, wait: Wait) -> Result<(), ArrayError> {
        let (head, obituary) = (self.head(), self.domain().obituary());
        let told = obituary.load(Ordering::Acquire);
        let (freed, record) = head.enroll();
        if naps.proves {
            head.reclaim(party, self.as_fd(), wait).map_err(|error| self.error(error))?;
        }
        let Some((index, state)) = head.live().next() else { return Ok(()) };
        let tick = wait.tick(naps.quiet);
        // One that has just moved on has a new owner, and the record of the old.
        let owner = head.owner(index, state).unwrap_or_else(|| head.records[index].owners[0].load());
        let nap = match wait.left() {
            Some(Duration::ZERO) => return Err(ArrayError::Leased { by: owner.into() }),
            Some(left) => left.min(tick),
            None => tick,
        };
        party.say_process(owner.into());
        let waited = SharedPark.wait_any(&[(freed, record), (obituary, told)], Some(nap));
        naps.quiet = if waited == Waited::TimedOut { naps.quiet.saturating_add(1) } else { 0 };
        naps.proves = waited == Waited::TimedOut || obituary.load(Ordering::Acquire) != told;
        Ok(())
    }

    /// Notes what the lock says of its holders before.
    fn hear(&self, state: Protected, party: &Party<'_>, wait: Wait) {
        let head = self.head();
        match state {
            Protected::Consistent => {}
            Protected::OwnerDied(id) => {
                let told = self
                    .domain()
                    .participant(id)
                    .map(|who| head.with_table(party, wait, || head.tell(who.into())).is_ok());
                if told != Some(true) {
                    head.tell_broken();
                }
                // Others may wait for something that this thread was going to do.
                self.domain().note_death(id);
            }
            Protected::Poisoned if head.is_consistent() => head.tell_broken(),
            Protected::Poisoned => {}
        }
    }

    /// Who gave up because of a reader may have found a writer dead before it, whose name the lock keeps for the next one.
    #[cold]
    fn give_up(&self, error: LockError) -> ArrayError {
        let (domain, holder) = (self.domain(), self.head().lock.writer());
        if let Some(holder) = holder.filter(|&id| error != LockError::TimedOut(id) && domain.is_dead(id)) {
            domain.note_death(holder);
        }
        self.error(error)
    }

    fn error(&self, error: LockError) -> ArrayError {
        match error {
            LockError::Deadlock => ArrayError::Deadlock,
            LockError::TimedOut(id) => ArrayError::TimedOut { by: self.domain().participant(id) },
            _ => ArrayError::NoSlot,
        }
    }
}

/// The sleeps of one call.
struct Naps {
    /// Ticks since something happened.
    quiet: u32,
    /// Whether it is time to ask for proof of deaths: at first, after a tick, and when somebody told one.
    proves: bool,
}
