//! The calling thread's memberships: which id it has in which domain.
//!
//! Invariants: a thread has at most one slot in a domain, whatever number of handles of the domain there are; what
//! a forked child inherits from its parent's thread is forgotten before it is used; what a thread joined it leaves at
//! its end, after all that its thread locals drop, or when the last handle of the domain in this process is gone and the
//! thread joins another. What `LAST` says is in `MEMBERS`, too, which a member leaves with its end.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::{Arc, Weak};

use procession_raw::Id;
use procession_sys::fork::Lasting;
use procession_sys::life::{Membership, Registration};
use procession_sys::thread_end::AtEnd;

use super::table::Table;
use super::{DomainId, JoinError};

struct Member {
    domain: DomainId,
    table: Weak<Table>,
    id: Id,
    membership: Membership,
}

thread_local! {
    /// Without a destructor, like all of these: a guard in another thread local may be dropped after it.
    static MEMBERS: RefCell<ManuallyDrop<Vec<Member>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
    /// The member that was asked for last.
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };
    static HAS_LEFT: Cell<bool> = const { Cell::new(false) };
}

static LEAVE: AtEnd = AtEnd::new(leave);

/// Leaves all domains. Where it does not run, the thread leaves them by its end, and what they take is not freed.
fn leave() {
    HAS_LEFT.set(true);
    drop(MEMBERS.with(|members| std::mem::take(&mut **members.borrow_mut())));
}

#[derive(Clone, Copy)]
struct Last {
    table: *const Table,
    id: Id,
    epoch: Lasting,
}

impl Last {
    #[inline]
    fn is_of(&self, table: &Arc<Table>) -> bool {
        ptr::eq(self.table, Arc::as_ptr(table)) && self.epoch.lasts()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        LAST.set(None);
    }
}

/// The calling thread's id in the domain, if this is the domain it asked about last: a few loads.
#[inline]
pub(super) fn at_hand(table: &Arc<Table>) -> Option<Id> {
    LAST.get().filter(|last| last.is_of(table)).map(|last| last.id)
}

/// The calling thread's id in the domain; takes a slot if it has none.
#[inline]
pub(super) fn id(table: &Arc<Table>) -> Result<Id, JoinError> {
    at_hand(table).map_or_else(|| look_up(table), Ok)
}

/// Whether this is the calling thread's id in the domain. Not in a forked child, whose thread has another or none.
#[inline]
pub(super) fn is_own(table: &Arc<Table>, id: Id) -> bool {
    at_hand(table).map_or_else(|| look_closely(table, id), |own| own == id)
}

#[cold]
fn look_closely(table: &Arc<Table>, id: Id) -> bool {
    known(table, |member| member.id) == Some(id)
}

#[cold]
fn look_up(table: &Arc<Table>) -> Result<Id, JoinError> {
    let id = match known(table, |member| member.id) {
        Some(id) => id,
        None => slow(table)?,
    };
    LAST.set(Some(Last { table: Arc::as_ptr(table), id, epoch: Lasting::now() }));
    Ok(id)
}

/// Who will tell of the calling thread's death; `None` if it has not joined through this handle.
pub(super) fn registration(table: &Arc<Table>) -> Option<Registration> {
    known(table, |member| member.membership.registration())
}

fn known<R>(table: &Arc<Table>, what: impl FnOnce(&Member) -> R) -> Option<R> {
    // The address is that of no other table, as a weak handle keeps it.
    let is_it = |m: &&Member| ptr::eq(m.table.as_ptr(), Arc::as_ptr(table)) && m.membership.is_ours();
    MEMBERS.with(|members| members.borrow().iter().find(is_it).map(what))
}

fn slow(table: &Arc<Table>) -> Result<Id, JoinError> {
    match MEMBERS.with(|members| again(&mut members.borrow_mut(), table)) {
        Some(id) => Ok(id),
        None => join(table),
    }
}

/// All handles were gone and the domain was attached again: the slot is the same.
fn again(members: &mut [Member], table: &Arc<Table>) -> Option<Id> {
    let is_it = |m: &&mut Member| m.domain == table.header.id && m.membership.is_ours();
    let member = members.iter_mut().find(is_it)?;
    member.table = Arc::downgrade(table);
    Some(member.id)
}

fn join(table: &Arc<Table>) -> Result<Id, JoinError> {
    if HAS_LEFT.get() {
        return Err(JoinError::ThreadEnds);
    }
    forget_the_gone();
    // Where there is no room for that, its end will do.
    let _ = LEAVE.arm();
    let (id, membership) = table.join().ok_or(JoinError::Full { n_slots: table.header.n_slots })?;
    let member = Member { domain: table.header.id, table: Arc::downgrade(table), id, membership };
    MEMBERS.with(|members| members.borrow_mut().push(member));
    Ok(id)
}

/// Leaves the domains that this process has no handle of any more, and drops what a fork copied. Nothing of a domain
/// can be held without a handle of it.
fn forget_the_gone() {
    let stays = |m: &Member| m.membership.is_ours() && m.table.strong_count() > 0;
    let gone: Vec<_> = MEMBERS.with(|members| {
        let members = &mut **members.borrow_mut();
        let (stay, gone) = std::mem::take(members).into_iter().partition(stays);
        *members = stay;
        gone
    });
    drop(gone);
}
