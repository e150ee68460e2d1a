//! Domains: who takes part in shared memory, and the proof that one of them has died.
//!
//! Held by `tests/domain*.rs`: each invariant of the page below, and a kill at every instruction of its tables.
#![doc = ""]
#![doc = include_str!("domain/README.md")]

pub(crate) mod deadlock;
mod error;
mod handle;
mod header;
mod member;
pub(crate) mod options;
mod owners;
mod registry;
mod report;
mod table;
pub(crate) mod waits;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_raw::{Id, Owners};
use procession_sys::futex;
use procession_sys::identity::ProcessIdentity;
use procession_sys::life::{Registration, SlotOwner};

pub use deadlock::{DEADLOCK, DeadlockReport, report_deadlocks};
pub use error::{DomainError, JoinError};
pub use options::{OBITUARY, TICK};
pub use report::{Diagnostics, Occupancy, Participant};
pub use waits::Waiter;

use table::Table;

/// The name of a domain: a random number of 128 bits, never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DomainId(u128);

impl DomainId {
    /// As two words, to be stored in an object's header.
    pub const fn to_words(self) -> [u64; 2] {
        [self.0 as u64, (self.0 >> 64) as u64]
    }

    /// From what [`to_words`](Self::to_words) gave. Any words make an id, though seldom that of a domain.
    pub const fn from_words([low, high]: [u64; 2]) -> Self {
        Self((high as u128) << 64 | low as u128)
    }
}

impl fmt::Debug for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Threads of several processes that share memory, and the proof of each one's death.
///
/// A handle: `Clone`, `Send` and `Sync`; all handles of one domain in a process are one mapping. *Shared*: sending it
/// in a message duplicates its descriptor. Dropping the last handle unmaps the domain when no thread of this process is
/// in it any more.
///
/// A thread takes part from its first [`join`](Self::join), or [`Owners::me`], until it ends. It never leaves earlier,
/// except a domain of which its process has dropped every handle.
///
/// # If a peer dies
/// Its slot says so from then on, to everybody, and is given to somebody else some time later. Nothing of the domain
/// is ever locked, so no death can block the others.
///
/// # Examples
/// ```
/// use procession_raw::Owners;
/// use procession_shm::domain::Domain;
///
/// let domain = Domain::create()?;
/// let me = domain.join()?;
/// assert!(!domain.is_dead(me));
/// let they = std::thread::scope(|scope| scope.spawn(|| domain.join()).join()).expect("it does not panic")?;
/// while !domain.is_dead(they) {} // a scope may end a moment before its threads
/// assert_eq!(domain.dead_owner(they).map(|dead| dead.pid), Some(std::process::id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Domain(Arc<Table>);

impl Domain {
    /// The domain of this process's tree; makes it, if this process neither made nor was given one yet.
    ///
    /// Does not join it. A forked child has its parent's.
    ///
    /// # Errors
    /// Memory (half a mebibyte), descriptors or address space have run out.
    #[inline]
    pub fn current() -> Result<Self, DomainError> {
        match registry::current() {
            Some(table) => Ok(Self(Arc::clone(table))),
            None => registry::make_current().map(Self),
        }
    }

    /// Makes the domain behind `descriptor` that of this process's tree: for a process that is given it at its start.
    ///
    /// # Errors
    /// [`DomainError::AnotherIsCurrent`] if this process has another one already; as [`attach`](Self::attach).
    pub fn adopt(descriptor: OwnedFd) -> Result<Self, DomainError> {
        registry::adopt(descriptor).map(Self)
    }

    /// The domain behind `descriptor`, such as that of another tree, which came with an object of it. Maps it, unless
    /// this process knows it already; then the descriptor is closed.
    ///
    /// # Errors
    /// What is behind it is no domain, or not one that this process can take part in; descriptors or address space
    /// have run out.
    pub fn attach(descriptor: OwnedFd) -> Result<Self, DomainError> {
        registry::attach(descriptor).map(Self)
    }

    /// Makes a domain of its own, for threads that want no part in the tree's.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn create() -> Result<Self, DomainError> {
        registry::create(Id::SLOTS).map(Self)
    }

    /// [`create`](Self::create) with few slots, for tests of a full table.
    ///
    /// # Panics
    /// If there are none, or more than [`Id::SLOTS`].
    #[doc(hidden)]
    pub fn with_slots(n_slots: u32) -> Result<Self, DomainError> {
        assert!((1..=Id::SLOTS).contains(&n_slots), "a domain of {n_slots} slots");
        registry::create(n_slots).map(Self)
    }

    /// The domain with this id, if this process has it attached.
    pub fn known(id: DomainId) -> Option<Self> {
        registry::known(id).map(Self)
    }

    /// All domains that this process has now: its tree's, and others that it made or attached and still has handles of.
    /// For who tells a death to each of them. Does not wait.
    pub fn attached() -> Vec<Self> {
        registry::attached().into_iter().map(Self).collect()
    }

    /// Its name, for the headers of the objects in it.
    pub fn id(&self) -> DomainId {
        self.0.header.id
    }

    /// How many threads can be in it at once.
    pub fn n_slots(&self) -> u32 {
        self.0.header.n_slots
    }

    /// The calling thread's id; takes a slot the first time. Does not wait; the first time reads a file in `/proc`, and
    /// takes longer if the table is nearly full.
    ///
    /// In a forked child the thread gets an id of its own; its parent's stays its parent's.
    ///
    /// # Errors
    /// The table is full, or the thread is ending.
    #[inline]
    pub fn join(&self) -> Result<Id, JoinError> {
        member::id(&self.0)
    }

    /// The calling thread's id, if that can be told without looking for it: then it is in this domain, and asked about
    /// this domain last.
    #[inline]
    pub(crate) fn id_at_hand(&self) -> Option<Id> {
        member::at_hand(&self.0)
    }

    /// Whether this is the calling thread's id. A forked child's thread does not have that of its parent's.
    #[inline]
    pub fn is_own(&self, id: Id) -> bool {
        member::is_own(&self.0, id)
    }

    /// Who will tell of the calling thread's death; `None` if it has not joined.
    pub fn registration(&self) -> Option<Registration> {
        member::registration(&self.0)
    }

    /// Who has the id, dead or alive, or had it if its slot was not given to somebody else yet.
    pub fn participant(&self, id: Id) -> Option<Participant> {
        self.0.participant(id)
    }

    /// Who had the id, if that thread is dead and its slot not given to somebody else yet.
    pub fn dead_owner(&self, id: Id) -> Option<Participant> {
        self.0.dead_owner(id)
    }

    /// The obituary: changes with every death that somebody tells, and wakes who sleeps on it. A wait that cannot name
    /// the thread whose death would matter (a condition, a barrier) sleeps on this word too.
    ///
    /// Not every death is told; the [tick](Self::tick) is for those.
    #[inline]
    pub fn obituary(&self) -> &AtomicU32 {
        header::obituary(&self.0.mapping)
    }

    /// Tells that a thread has died: for who learned it in whatever way. If the kernel did not mark its slot, asks for
    /// proof and marks it; changes the obituary; wakes who watches the thread or sleeps on the obituary.
    ///
    /// Does not wait; a few system calls. Tells nothing if the thread lives, or if the environment variable
    /// [`OBITUARY`] is `off`.
    pub fn note_death(&self, id: Id) {
        if !options::obituary() {
            return;
        }
        if self.0.is_dead(id) || (id.slot() < self.n_slots() && self.0.prove(id.slot()) && self.0.is_dead(id))
        {
            self.ring();
            self.pass_on(id);
        }
    }

    /// Tells that a process has died, such as a child whose pidfd said so: as [`note_death`](Self::note_death) for each
    /// of its threads. Looks at all slots in use: some microseconds, and some more for each thread of the process.
    pub fn note_process_death(&self, process: &ProcessIdentity) {
        self.tell_of(|owner| {
            (owner.pid, owner.process_started, owner.namespace)
                == (process.pid, process.started, process.namespace)
        });
    }

    /// As [`note_process_death`](Self::note_process_death), for who has just taken a child out of the process table, and
    /// knows its number only. Of somebody else who has the number by now nothing is told while he lives.
    ///
    /// Some microseconds less than that at the child's start: when it started need not be asked.
    pub fn note_child_death(&self, pid: u32) {
        self.tell_of(|owner| owner.pid == pid && owner.namespace == SlotOwner::current().namespace);
    }

    /// Tells the deaths of those owners that are meant and proved dead.
    fn tell_of(&self, is_meant: impl Fn(&SlotOwner) -> bool) {
        if !options::obituary() {
            return;
        }
        let mut found = false;
        for number in self.0.numbers() {
            let slot = self.0.slot(number);
            if is_meant(&slot.owner()) && self.0.prove(number) {
                found = true;
                futex::wake(self.0.word(slot), u32::MAX);
            }
        }
        if found {
            self.ring();
        }
    }

    /// How long a wait on something in this domain sleeps at most before it looks again: 50 milliseconds, or what the
    /// environment variable [`TICK`] says.
    pub fn tick(&self) -> Duration {
        options::tick()
    }

    /// How full it is. Looks at all slots in use.
    pub fn occupancy(&self) -> Occupancy {
        self.0.occupancy()
    }

    /// Looks at everything that decides how deaths are told here. Reads a handful of small files; does not wait.
    ///
    /// # Examples
    /// ```
    /// let domain = procession_shm::domain::Domain::current()?;
    /// println!("{}", domain.diagnostics());
    /// # Ok::<(), procession_shm::domain::DomainError>(())
    /// ```
    pub fn diagnostics(&self) -> Diagnostics {
        let mixed = header::mixed(&self.0.mapping).load(Ordering::Relaxed) != 0;
        Diagnostics::new(options::tick(), options::obituary(), self.occupancy(), mixed)
    }

    /// A change and a wake: whoever is killed between them leaves the sleepers to their tick.
    fn ring(&self) {
        self.obituary().fetch_add(1, Ordering::SeqCst);
        futex::wake(self.obituary(), u32::MAX);
    }
}

impl AsFd for Domain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.memory.as_fd()
    }
}

/// The same domain, though perhaps not the same handle.
impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Domain {}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("id", &self.id()).field("n_slots", &self.n_slots()).finish()
    }
}
