//! What the guards of locks are made of, and why there is none.
//!
//! Invariant: what was lent goes back once, or with the process. Held by `tests/locks.rs`.

use std::error::Error;
use std::fmt;
use std::time::Instant;

use procession_codec::Message;

use crate::error::CallError;
use crate::raw::{Raw, unexpected};
use crate::wire::{Answer, Ask, Item, LeaseAsk, Load, ObjectId, Share};

/// Why a lock was not got as it should be.
#[non_exhaustive]
pub enum Failed<G> {
    /// The lock was got, and who had it before died with it. The value is as it was before that one got it, which may not fit
    /// what else it did.
    OwnerDied {
        /// The lock.
        guard: G,
        /// The process that died, by its number in the server's namespace; 0 if it has none there.
        pid: u32,
    },
    /// It was not got.
    Call(CallError),
}

/// A lease of a lock, with a copy of what that guards; goes back when it is dropped.
pub(crate) struct Lent<T: Message> {
    raw: Raw,
    /// `Some` until it is given back.
    lease: Option<u64>,
    value: T,
    is_changed: bool,
}

impl<T: Message> Lent<T> {
    /// So much of a lock. It is in an error if the last owner died: the process, and the lock.
    pub(crate) fn take(
        raw: &Raw,
        share: Share,
        waits: bool,
        until: Option<Instant>,
    ) -> Result<Self, Failed<Self>> {
        let answer = raw.ask_with(Ask::Lease(LeaseAsk::Take(share, waits)), Load::default(), until)?;
        let Answer::Lent { lease, item: Some(item), died, .. } = answer else {
            return Err(unexpected(&answer).into());
        };
        let value = match item.unpack() {
            Ok(value) => value,
            Err(error) => {
                raw.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
                return Err(CallError::Decode(error).into());
            }
        };
        let guard = Self { raw: raw.clone(), lease: Some(lease), value, is_changed: false };
        match died {
            Some(pid) => Err(Failed::OwnerDied { guard, pid }),
            None => Ok(guard),
        }
    }

    pub(crate) fn value(&self) -> &T {
        &self.value
    }

    pub(crate) fn value_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }

    /// Gives it back, when the server has done so.
    pub(crate) fn commit(mut self) -> Result<(), CallError> {
        let Some(lease) = self.lease else { return Ok(()) };
        let mut load = Load::default();
        let item = load.pack(&self.value)?;
        self.lease = None;
        let given = self.raw.done(Ask::Lease(LeaseAsk::Give(lease, Some(item))), load);
        if let Err(CallError::NotSent(_) | CallError::Encode(_)) = given {
            self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
        }
        given
    }

    /// Puts the value back, and keeps one share. What fails leaves it as it was.
    pub(crate) fn downgrade(&mut self) -> Result<(), CallError> {
        let Some(lease) = self.lease else { return Ok(()) };
        let mut load = Load::default();
        let item = self.is_changed.then(|| load.pack(&self.value)).transpose()?;
        self.raw.done(Ask::Lease(LeaseAsk::Downgrade(lease, item)), load)?;
        self.is_changed = false;
        Ok(())
    }

    /// Gives it back by an ask of `other`, which is made of the lock, the number of the lease and the value.
    pub(crate) fn aside(
        mut self,
        other: &Raw,
        ask: impl FnOnce(ObjectId, u64, Option<Item>) -> Ask,
        until: Option<Instant>,
    ) -> (Raw, Result<Answer, CallError>) {
        let raw = self.raw.clone();
        let Some(lease) = self.lease else { unreachable!("until it is given back") };
        let Some(lock) = raw.beside(other) else {
            // Dropping it gives the lock back.
            return (raw, Err(CallError::Refused("both must be in one server".into())));
        };
        let mut load = Load::default();
        let item = match self.is_changed.then(|| load.pack(&self.value)).transpose() {
            Ok(item) => item,
            Err(error) => return (raw, Err(error.into())),
        };
        self.lease = None;
        let again = item.clone();
        let asked = other.ask_with(ask(lock, lease, item), load, until);
        if let Err(CallError::NotSent(_) | CallError::Encode(_) | CallError::TimedOut) = asked {
            // If it was not sent. The server knows whether it is back.
            raw.tell(Ask::Lease(LeaseAsk::Give(lease, again)), Load::default());
        }
        (raw, asked)
    }
}

impl<T: Message> Drop for Lent<T> {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let mut load = Load::default();
        // Encoding runs code of the user, which may panic; so not while one is on its way.
        let is_new = self.is_changed && !std::thread::panicking();
        let item = if is_new { load.pack(&self.value).ok() } else { None };
        if !self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, item)), load) {
            self.raw.tell(Ask::Lease(LeaseAsk::Give(lease, None)), Load::default());
        }
    }
}

impl<T: Message> fmt::Debug for Lent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

impl<G> Failed<G> {
    /// The same, with another guard made of this one.
    pub(crate) fn map<H>(self, guard_of: impl FnOnce(G) -> H) -> Failed<H> {
        match self {
            Self::OwnerDied { guard, pid } => Failed::OwnerDied { guard: guard_of(guard), pid },
            Self::Call(error) => Failed::Call(error),
        }
    }
}

impl<G> From<CallError> for Failed<G> {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl<G> fmt::Debug for Failed<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied { pid, .. } => {
                f.debug_struct("OwnerDied").field("pid", pid).finish_non_exhaustive()
            }
            Self::Call(error) => f.debug_tuple("Call").field(error).finish(),
        }
    }
}

impl<G> fmt::Display for Failed<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerDied { pid, .. } => {
                write!(f, "getting a lock of a manager: process {pid}, which had it before, died with it")
            }
            Self::Call(e) => e.fmt(f),
        }
    }
}

impl<G> Error for Failed<G> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Call(e) => e.source(),
            Self::OwnerDied { .. } => None,
        }
    }
}
