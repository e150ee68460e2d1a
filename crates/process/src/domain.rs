//! The domain of the tree of processes: given to a child at its start, told of the child's death at its end.
//!
//! A domain is the table of the threads that share memory (`procession_shm::domain`). All processes of a tree have
//! one, so that the objects of one are known to all others, and a death is told in one place.
//!
//! - The first child of a process that has none makes it: half a mebibyte, once for the whole tree. Had the parent none
//!   to give, its children would make one each.
//! - It comes with the task, and is the child's before the argument is decoded: a handle in there finds it known.
//! - Having it is not joining it: a slot is taken by the first thread that needs one. A child that shares nothing
//!   costs the table nothing.
//! - A death is told before it is reported: who has the outcome of a child in hand may rely on the sleepers being on
//!   their way.
//!
//! | where | what happens |
//! |---|---|
//! | descriptors or memory have run out when the first child is to be started | an error, and no child; the next attempt may succeed |
//! | no domain can be made here at all (a limit of file sizes, a libc without robust mutexes) | children are started without |
//! | what the child was given is no domain, of another version, damaged | `JoinError::NotRun` says which |
//! | the child made one before it was given one (a constructor of its program, `init()` late in `main`) | it keeps its own; objects of either are attached when met |
//! | the child is killed before, in, or after adopting it | nothing: the adoption writes nothing that others read |
//! | we are killed before we tell | the kernel has marked the life words; who sleeps on the obituary alone looks at its tick |
//!
//! Invariants: each child's death is told at most once, by whoever sees it first, and all others wait for that; a death
//! is told only to a table that has proof of it. Held by `tests/domain.rs` and the contract suite.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use procession_shm::domain::{Domain, DomainError};
use procession_sys::OsError;

/// What a child shall be given; `None` where no domain can be made, now or later.
///
/// Errors: descriptors or memory have run out, and more may be there at another time.
pub(crate) fn to_give() -> Result<Option<Domain>, OsError> {
    match Domain::current() {
        Ok(domain) => Ok(Some(domain)),
        Err(DomainError::Os(e)) if !is_impossible(e.kind()) => Err(e),
        Err(_) => Ok(None),
    }
}

/// A limit of file sizes, a sandbox, a libc that lacks what it takes.
fn is_impossible(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::FileTooLarge | ErrorKind::PermissionDenied | ErrorKind::Unsupported)
}

/// Makes what this child was given its domain.
///
/// Errors: it is no domain that this process can take part in.
pub(crate) fn inherit(given: OwnedFd) -> Result<(), DomainError> {
    match Domain::adopt(given) {
        Ok(_) | Err(DomainError::AnotherIsCurrent) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The death of one child, still to be told.
#[derive(Debug, Default)]
pub(crate) struct Obituary(OnceLock<()>);

impl Obituary {
    /// Tells in every domain that this process has, unless that was done, that the child with the number `pid` has
    /// ended. For who has learned of it.
    ///
    /// Somebody else may have the number by now. That tells nobody a lie: a table wants proof of a death. A child in
    /// another pid namespace than ours is not told of: it has another number there.
    ///
    /// Does not wait, but for another thread that does this now; less than a microsecond where few have joined.
    pub(crate) fn tell(&self, pid: u32) {
        self.0.get_or_init(|| {
            for domain in Domain::attached() {
                domain.note_child_death(pid);
            }
        });
    }
}
