//! How long a call waits, and who waits, as the algorithms of `procession_raw` want to know it.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use procession_raw::{Id, Limit, NoSlot, Obituary, Owners};
use procession_sys::Deadline;
use procession_sys::clock::uptime;

use crate::cell;
use crate::domain::waits::Awaited;
use crate::domain::{Domain, Participant, deadlock, options};
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

/// The calling thread as it takes something from others: the participants of its domain. For one call.
///
/// Before it sleeps it says for whom ([`Domain::waiters`]); when that takes too long, it reports
/// ([`report_deadlocks`](crate::domain::report_deadlocks)).
#[derive(Debug)]
pub struct Party<'a> {
    domain: &'a Domain,
    space: &'a Space,
    watched: Watched,
    asleep: Cell<Option<Asleep>>,
}

/// For whom a thread waits, as it says to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Who holds what it waits for.
    Holder(Id),
    /// This one or another, each of whom can let it go on.
    OneOfSeveral(Id),
    /// A process, any thread of which can let it go on: named by its first.
    Process(Participant),
    /// Nobody who holds something.
    Others,
}

/// What those are to the thread whom it watches while it sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// The one who holds what it waits for.
    Holder,
    /// One of several, each of whom can let it go on.
    OneOfSeveral,
    /// Nobody who holds something.
    Others,
}

/// What was said before the first sleep.
#[derive(Clone, Copy, Debug)]
struct Asleep {
    me: Id,
    whom: Whom,
    awaited: Awaited,
    since: Duration,
    is_told: bool,
}

impl<'a> Party<'a> {
    /// To wait for what lives in this space.
    ///
    /// # Panics
    /// If the space has no domain.
    #[inline]
    #[must_use]
    pub fn new(space: &'a Space) -> Self {
        let domain = space.domain().expect("who waits has a domain");
        Self { domain, space, watched: Watched::Holder, asleep: Cell::new(None) }
    }

    /// Any one of several can let it go on: who is named as the holder is one of them, and no link of a deadlock.
    #[inline]
    #[must_use]
    pub fn for_any(mut self) -> Self {
        self.watched = Watched::OneOfSeveral;
        self
    }

    /// Nobody holds what it waits for: nobody is named.
    #[inline]
    #[must_use]
    pub fn for_nobody(mut self) -> Self {
        self.watched = Watched::Others;
        self
    }

    #[inline]
    pub(crate) fn domain(&self) -> &'a Domain {
        self.domain
    }

    /// The news of deaths in the domain, for waits that cannot name the thread whose death would matter.
    #[must_use]
    pub fn obituary(&self) -> &'a Obituary {
        cell::obituary(self.domain.obituary())
    }

    /// Says that this thread is about to sleep until a process lets go, whichever of its threads does that: no link of a
    /// deadlock.
    pub(crate) fn say_process(&self, process: Participant) {
        self.say(Whom::Process(process));
    }

    /// Says that this thread is about to sleep until `whom` lets go.
    #[cold]
    fn say(&self, whom: Whom) {
        let asleep = match self.asleep.get() {
            Some(before) if before.whom == whom || self.watched != Watched::Holder => before,
            before => {
                let Some(asleep) = self.begin(before, whom) else { return };
                let Asleep { me, awaited, since, .. } = asleep;
                self.domain.publish_wait(me, whom, awaited, self.space.name(), since);
                asleep
            }
        };
        self.asleep.set(Some(asleep));
        if let (false, Some(limit)) = (asleep.is_told, deadlock::limit()) {
            let waited = uptime().saturating_sub(asleep.since);
            if waited >= limit {
                self.asleep.set(Some(Asleep { is_told: true, ..asleep }));
                deadlock::tell(self.domain, waited);
            }
        }
    }

    fn begin(&self, before: Option<Asleep>, whom: Whom) -> Option<Asleep> {
        if let Some(before) = before {
            return Some(Asleep { whom, ..before });
        }
        let inode = self.space.file().map_or(0, |file| file.inode);
        let awaited = Awaited { inode, offset: self.space.offset() as u64 };
        Some(Asleep { me: self.domain.join().ok()?, whom, awaited, since: uptime(), is_told: false })
    }
}

impl Drop for Party<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(Asleep { me, .. }) = self.asleep.get() {
            self.domain.withdraw_wait(me);
        }
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
        let word = self.domain.watch(id)?;
        self.say(match self.watched {
            Watched::Holder => Whom::Holder(id),
            Watched::OneOfSeveral => Whom::OneOfSeveral(id),
            Watched::Others => Whom::Others,
        });
        Some(word)
    }

    fn pass_on(&self, id: Id) {
        self.domain.pass_on(id);
    }
}
