//! What lies before the items of an array: its lock, the table of leases, and the news of a death.
//!
//! Invariants: everything is atomic, and zeros are an array that nobody holds; a number from here never leads out of the
//! memory, whatever a peer stores. The table's states are in `README.md`; its changes are in `lease.rs` and `news.rs`.
//!
//! # Safety
//! [`Head::of`] makes a reference to a head at the begin of an object that is long enough for one, aligned to 64 bytes
//! and mapped while the object is borrowed. All of its fields are atomics, of which all bytes are values.
#![allow(unsafe_code, reason = "a typed view of mapped memory")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use procession_raw::{Lock, Park, RwLock};
use procession_sys::futex::SharedPark;
use procession_sys::identity::ProcessIdentity;
use procession_sys::life::{self, SlotOwner};

use crate::domain::Participant;
use crate::object::Object;

/// How many leases an array can have at once.
pub(super) const N_LEASES: usize = 1024;

/// What lies before the items.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Head {
    /// Who reads or writes all of the array.
    pub(super) lock: RwLock,
    /// Who writes into records or news: held for a few stores.
    pub(super) table: Lock,
    /// How often a lease went, and whether somebody may sleep until one goes.
    freed: AtomicU32,
    /// No lease at this index or above is live. Raised by who gives leases, lowered to 0 by who holds `lock` and saw none.
    pub(super) top: AtomicU32,
    /// The news: see `news.rs`.
    pub(super) news: AtomicU32,
    pub(super) victims: [Owner; 2],
    /// See `lease.rs`.
    pub(super) states: [AtomicU64; N_LEASES],
    pub(super) records: [Record; N_LEASES],
}

/// What a lease is about, and in two copies who has it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Record {
    pub(super) first: AtomicU64,
    pub(super) len: AtomicU64,
    pub(super) owners: [Owner; 2],
}

/// A process or a thread by its full name, in words.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Owner {
    pid: AtomicU32,
    /// Of a process, the number of its first thread, which is the process's.
    tid: AtomicU32,
    started: AtomicU64,
    /// Inodes of namespaces have 32 bits.
    namespace: AtomicU32,
    time_namespace: AtomicU32,
}

const _: () = {
    assert!(size_of::<Owner>() == 24 && size_of::<Record>() == 64);
    assert!(size_of::<RwLock>().is_multiple_of(64));
    assert!(size_of::<Head>() == size_of::<RwLock>() + 64 + (8 + 64) * N_LEASES);
    assert!(align_of::<Head>() == crate::header::LEN);
};

const SLEEPERS: u32 = 1;

impl Head {
    /// The head of an array.
    ///
    /// # Panics
    /// If the object is shorter, or may only be read.
    #[inline]
    pub(super) fn of(object: &Object) -> &Self {
        assert!(object.len() >= size_of::<Self>(), "an array begins with its head");
        // SAFETY: the data begins at a multiple of 64, is as long as was just checked, and is mapped for writing while
        // the object is borrowed; the fields are atomics.
        unsafe { &*object.data().cast() }
    }

    /// The word to sleep on until a lease goes, and the value to sleep on. Look at the leases after this.
    pub(super) fn enroll(&self) -> (&AtomicU32, u32) {
        let record = self.freed.fetch_or(SLEEPERS, Ordering::Relaxed) | SLEEPERS;
        fence(Ordering::SeqCst);
        (&self.freed, record)
    }

    /// A lease went: wakes all who wait for that. Does not block.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.freed.load(Ordering::Relaxed) & SLEEPERS != 0 {
            // Lowers the flag and counts. Two at once leave it raised, which costs the next one a wake.
            SharedPark.add_and_wake(&self.freed, 1, u32::MAX);
        }
    }
}

/// A process or a thread by its full name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) pid: u32,
    tid: u32,
    started: u64,
    namespace: u32,
    time_namespace: u32,
}

impl Name {
    /// This process.
    pub(super) fn own() -> Self {
        let me = SlotOwner::current();
        Self {
            pid: me.pid,
            tid: me.pid,
            started: me.process_started,
            namespace: narrow(me.namespace),
            time_namespace: narrow(me.time_namespace),
        }
    }

    /// Whether all of the process's threads have certainly executed their last instruction. Some system calls.
    pub(super) fn has_ended(&self) -> bool {
        let me = SlotOwner::current();
        let known = ![self.pid.into(), self.started, self.namespace.into()].contains(&0);
        // Start times are shown by the clock of a time namespace.
        known && self.time_namespace == narrow(me.time_namespace) && life::process_has_ended(&self.identity())
    }

    pub(super) fn identity(&self) -> ProcessIdentity {
        ProcessIdentity { pid: self.pid, started: self.started, namespace: self.namespace.into() }
    }
}

impl From<Participant> for Name {
    fn from(Participant { pid, tid, namespace, started, .. }: Participant) -> Self {
        Self { pid, tid, started, namespace: narrow(namespace), time_namespace: 0 }
    }
}

impl From<Name> for Participant {
    fn from(Name { pid, tid, started, namespace, .. }: Name) -> Self {
        Self { pid, tid, namespace: namespace.into(), started }
    }
}

/// 0, which is "not known", for what no kernel of today gives.
fn narrow(inode: u64) -> u32 {
    u32::try_from(inode).unwrap_or(0)
}

impl Owner {
    /// A copy, which means something to who knows that nobody wrote meanwhile.
    pub(super) fn load(&self) -> Name {
        Name {
            pid: self.pid.load(Ordering::Acquire),
            tid: self.tid.load(Ordering::Acquire),
            started: self.started.load(Ordering::Acquire),
            namespace: self.namespace.load(Ordering::Acquire),
            time_namespace: self.time_namespace.load(Ordering::Acquire),
        }
    }

    /// For the holder of `table`.
    pub(super) fn store(&self, name: Name) {
        self.pid.store(name.pid, Ordering::Release);
        self.tid.store(name.tid, Ordering::Release);
        self.started.store(name.started, Ordering::Release);
        self.namespace.store(name.namespace, Ordering::Release);
        self.time_namespace.store(name.time_namespace, Ordering::Release);
    }
}
