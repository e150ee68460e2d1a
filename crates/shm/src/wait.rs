//! How long a call waits, and who waits, as the algorithms of `procession_raw` want to know it.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use procession_raw::{Id, Limit, NoSlot, Obituary, Owners};
use procession_sys::Deadline;

use crate::cell;
use crate::domain::{Domain, options};
use crate::space::Space;

/// A deadline with the tick of this process: 50 ms, doubling to a second; or what `PROCESSION_TICK` says, if it says more.
#[derive(Clone, Copy, Debug)]
pub struct Wait(pub Deadline);

impl Limit for Wait {
    fn left(&self) -> Option<Duration> {
        self.0.remaining()
    }

    fn tick(&self, n: u32) -> Duration {
        let first = options::tick();
        first.saturating_mul(1 << n.min(5)).min(first.max(Duration::from_secs(1)))
    }
}

/// The calling thread as it waits for something: the participants of its domain.
#[derive(Debug)]
pub struct Party<'a> {
    domain: &'a Domain,
}

impl<'a> Party<'a> {
    /// To wait for what lives in this space.
    ///
    /// # Panics
    /// If the space has no domain.
    #[must_use]
    pub fn new(space: &'a Space) -> Self {
        Self { domain: space.domain().expect("who waits has a domain") }
    }

    /// The news of deaths in the domain, for waits that cannot name the thread whose death would matter.
    #[must_use]
    pub fn obituary(&self) -> &'a Obituary {
        cell::obituary(self.domain.obituary())
    }
}

impl Owners for Party<'_> {
    #[inline]
    fn me(&self) -> Result<Id, NoSlot> {
        self.domain.me()
    }

    #[inline]
    fn is_dead(&self, id: Id) -> bool {
        self.domain.is_dead(id)
    }

    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)> {
        self.domain.watch(id)
    }

    fn pass_on(&self, id: Id) {
        self.domain.pass_on(id);
    }
}
