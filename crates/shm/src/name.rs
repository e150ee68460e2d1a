//! Names by which strangers find a segment: published whole, owned by one, stale when the owner is dead.
//!
//! The name is a small file in `/dev/shm` that says where the memory is: in which process, under which descriptor. The
//! memory itself stays what it is for every other handle, a sealed file without a name. So it cannot shrink under a
//! reader, as a file with a name could; it does not count against the size of `/dev/shm`; and what a name leads to is
//! checked like everything that arrives.
//!
//! | what happens | what others see |
//! |---|---|
//! | the owner is killed before it published | nothing: the file had no name |
//! | while it published | nothing, or a name that works |
//! | afterwards | the name, until the next `create_named`, `publish`, `open_named` of it or `sweep` removes it |
//! | whoever removes it is killed | the same |
//! | the owner drops its handle while another opens | `NotFound`, or the memory, whole |
//!
//! Invariants: the owner holds the file, so only the file of a dead owner can be claimed; a name is removed only by its
//! owner or by whoever has claimed its file, and only while the name is that file's. A file that is not ours is never
//! removed. Nothing is concluded from a process id alone: process, descriptor and file must all be those of the record,
//! and the name must be there still when the memory was opened. Held by `tests/named.rs`.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::thread;

use procession_sys::OsError;
use procession_sys::identity::ProcessIdentity;
use procession_sys::named::{self, FileId, NamedFile};

use crate::error::{NameError, Refusal};
use crate::record::{self, Record};

/// Goes before the user's name, so that nobody else's files are in question.
const PREFIX: &str = "procession.";
/// How long the user's part of a name may be.
const LONGEST: usize = 200;
/// How often to look again at a name that others are changing.
const LOOKS: u32 = 200;

/// A name that this process owns; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Name {
    /// As the user says it.
    name: String,
    file: NamedFile,
    /// A forked child has a copy of this, and owns nothing.
    owner: u32,
}

impl Name {
    /// Gives this memory a name, and with it the domain of its users. Their descriptors must stay open as long as the
    /// answer lives.
    pub(crate) fn publish(
        name: &str,
        memory: BorrowedFd<'_>,
        domain: Option<BorrowedFd<'_>>,
    ) -> Result<Self, NameError> {
        let path = path(name)?;
        let domain = match domain {
            Some(domain) => (domain.as_raw_fd().cast_unsigned(), named::id(domain)?.inode),
            None => (0, 0),
        };
        let record = Record {
            descriptor: memory.as_raw_fd().cast_unsigned(),
            owner: ProcessIdentity::current()?,
            file: named::id(memory)?,
            domain,
        };
        let file = NamedFile::draft(record::LEN as u64)?;
        file.write_at(0, &record.encode())?;
        file.hold()?;
        for _ in 0..LOOKS {
            match file.publish(&path) {
                Ok(()) => return Ok(Self { name: name.to_owned(), file, owner: std::process::id() }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            if !reclaim(&path)?.is_free() {
                break;
            }
        }
        Err(NameError::AlreadyExists { name: name.to_owned() })
    }

    pub(crate) fn get(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // If that fails, the name is stale from the next line on, and is swept like any other.
            let _ = self.file.remove_name(&format!("{PREFIX}{}", self.name));
        }
    }
}

/// Memory, and the domain of its users if it has one.
pub(crate) type Found = (OwnedFd, Option<OwnedFd>);

/// The memory that has this name.
pub(crate) fn find(name: &str) -> Result<Found, NameError> {
    let path = path(name)?;
    for _ in 0..LOOKS {
        let file = match NamedFile::open(&path) {
            Ok(file) => file,
            Err(error) => match error.kind() {
                ErrorKind::NotFound => break,
                ErrorKind::PermissionDenied => {
                    return Err(NameError::Unreachable { name: name.to_owned(), error });
                }
                ErrorKind::InvalidInput => return Err(NameError::Refused(Refusal::Foreign)),
                _ => return Err(error.into()),
            },
        };
        if let Some(found) = follow(name, &path, &file)? {
            return Ok(found);
        }
        // The owner is dead, or has just removed its name.
        if !reclaim(&path)?.is_free() {
            thread::yield_now();
        }
    }
    Err(NameError::NotFound { name: name.to_owned() })
}

/// Removes the names with this prefix whose owners are dead, and returns them.
pub(crate) fn sweep(prefix: &str) -> Result<Vec<String>, NameError> {
    let mut swept = Vec::new();
    for path in named::names(&format!("{PREFIX}{prefix}"))? {
        if matches!(reclaim(&path), Ok(Reclaimed::Removed)) {
            swept.push(path[PREFIX.len()..].to_owned());
        }
    }
    Ok(swept)
}

/// The memory to which this file leads; `None` if it does not lead there any more.
fn follow(name: &str, path: &str, file: &NamedFile) -> Result<Option<Found>, NameError> {
    let record = read(file)?;
    let unreachable = |error| NameError::Unreachable { name: name.to_owned(), error };
    if !record.owner.exists().map_err(unreachable)? {
        return Ok(None);
    }
    let take = |number, file| match named::descriptor_of(record.owner.pid, number, file) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreachable(error)),
    };
    let Some(fd) = take(record.descriptor, record.file)? else { return Ok(None) };
    let domain = match record.domain {
        (_, 0) => None,
        (number, inode) => match take(number, FileId { inode, ..record.file })? {
            Some(domain) => Some(domain),
            None => return Ok(None),
        },
    };
    // The owner removes its name before it closes the descriptor. So if both are still there, `fd` is what it meant.
    let is_there = record.owner.exists().map_err(unreachable)? && file.has_name(path)?;
    Ok(is_there.then_some((fd, domain)))
}

fn read(file: &NamedFile) -> Result<Record, NameError> {
    let mut bytes = [0; record::LEN];
    // Longer is as wrong as shorter, unless it is another layout.
    let read = file.read_at(0, &mut bytes)?;
    let is_whole = read == record::LEN && file.len()? == record::LEN as u64;
    match Record::decode(&bytes) {
        Ok(_) | Err(Refusal::Damaged) if !is_whole => Err(NameError::Refused(Refusal::Foreign)),
        answer => answer.map_err(NameError::Refused),
    }
}

/// What became of a name that was in the way.
#[derive(Debug, PartialEq, Eq)]
enum Reclaimed {
    /// It was stale and was removed here.
    Removed,
    /// It is gone, or another's by now.
    Gone,
    /// Somebody may be using it, or it is not ours.
    InUse,
}

impl Reclaimed {
    fn is_free(&self) -> bool {
        *self != Self::InUse
    }
}

/// Removes the name if its owner is dead.
fn reclaim(path: &str) -> Result<Reclaimed, NameError> {
    let file = match NamedFile::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Reclaimed::Gone),
        Err(_) => return Ok(Reclaimed::InUse),
    };
    let Ok(record) = read(&file) else { return Ok(Reclaimed::InUse) };
    if !file.try_claim()? {
        // Another may be about to remove it; it was not in use if its owner is dead.
        return Ok(match record.owner.exists() {
            Ok(false) => {
                thread::yield_now();
                Reclaimed::Gone
            }
            _ => Reclaimed::InUse,
        });
    }
    Ok(if file.remove_name(path)? { Reclaimed::Removed } else { Reclaimed::Gone })
}

/// The name of the file.
fn path(name: &str) -> Result<String, NameError> {
    let is_good = (1..=LONGEST).contains(&name.len()) && !name.contains(['/', '\0']);
    if is_good { Ok(format!("{PREFIX}{name}")) } else { Err(NameError::Invalid { name: name.to_owned() }) }
}

impl From<OsError> for NameError {
    fn from(error: OsError) -> Self {
        Self::Memory(error.into())
    }
}
