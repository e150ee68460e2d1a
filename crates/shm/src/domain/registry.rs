//! The domains that this process has attached, by their ids, and the one of its tree.
//!
//! Invariants: a domain is mapped once in a process, however often its descriptor arrives; the domain of the tree, once
//! known, does not change. No lock is held while anything is joined.
//!
//! A process that is forked while another of its threads attaches a domain inherits a lock that nobody will give back,
//! as with every lock: fork from a process with one thread.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use procession_raw::Id;
use procession_sys::life::{self, SlotOwner};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::random;

use super::header::Header;
use super::table::Table;
use super::{DomainError, DomainId};

static KNOWN: Mutex<Vec<Weak<Table>>> = Mutex::new(Vec::new());
static CURRENT: OnceLock<Arc<Table>> = OnceLock::new();

/// The domain of the tree, if this process has it.
#[inline]
pub(super) fn current() -> Option<&'static Arc<Table>> {
    CURRENT.get()
}

/// Makes the domain of the tree, unless another thread was faster.
#[cold]
pub(super) fn make_current() -> Result<Arc<Table>, DomainError> {
    let mut known = lock();
    if let Some(table) = current() {
        return Ok(Arc::clone(table));
    }
    let table = make(&mut known, Id::SLOTS)?;
    Ok(Arc::clone(CURRENT.get_or_init(|| table)))
}

/// Makes this the domain of the tree.
pub(super) fn adopt(fd: OwnedFd) -> Result<Arc<Table>, DomainError> {
    let table = attach(fd)?;
    let current = CURRENT.get_or_init(|| Arc::clone(&table));
    if current.header.id == table.header.id { Ok(table) } else { Err(DomainError::AnotherIsCurrent) }
}

/// Makes a domain that nobody else has.
pub(super) fn create(n_slots: u32) -> Result<Arc<Table>, DomainError> {
    make(&mut lock(), n_slots)
}

/// The domain behind the descriptor.
pub(super) fn attach(fd: OwnedFd) -> Result<Arc<Table>, DomainError> {
    let memory = Memfd::adopt(fd)?;
    let mapping = Mapping::shared(&memory)?;
    let header = Header::read(&mapping, life::layout()?)?;
    let mut known = lock();
    if let Some(table) = find(&known, header.id) {
        return Ok(table);
    }
    let table = Arc::new(Table::new(memory, mapping, header));
    remember(&mut known, &table);
    Ok(table)
}

/// The domain with this id, if this process has it.
pub(super) fn known(id: DomainId) -> Option<Arc<Table>> {
    find(&lock(), id)
}

/// All domains of this process.
pub(super) fn attached() -> Vec<Arc<Table>> {
    lock().iter().filter_map(Weak::upgrade).collect()
}

fn make(known: &mut Vec<Weak<Table>>, n_slots: u32) -> Result<Arc<Table>, DomainError> {
    let header = Header {
        id: DomainId(random::number()?.max(1)),
        n_slots,
        namespace: SlotOwner::current().namespace,
        mutex: life::layout()?,
    };
    let memory = Memfd::sealed("procession-domain", Header::length_for(n_slots))?;
    let mapping = Mapping::shared(&memory)?;
    header.write(&mapping);
    let table = Arc::new(Table::new(memory, mapping, header));
    remember(known, &table);
    Ok(table)
}

fn find(known: &[Weak<Table>], id: DomainId) -> Option<Arc<Table>> {
    known.iter().filter_map(Weak::upgrade).find(|table| table.header.id == id)
}

fn remember(known: &mut Vec<Weak<Table>>, table: &Arc<Table>) {
    known.retain(|table| table.strong_count() > 0);
    known.push(Arc::downgrade(table));
}

fn lock() -> MutexGuard<'static, Vec<Weak<Table>>> {
    // The list is whole after every step.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
