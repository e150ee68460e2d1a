//! A piece of sealed memory with a header, mapped: what every shared handle of this crate is made of.
//!
//! Invariants: the memory cannot shrink, and all of it was reserved when it was made or arrived, so touching the mapping
//! raises no signal; the header was written by us or checked on arrival; `len` bytes of data follow it in the mapping,
//! for as long as the object lives.
//!
//! Who may write may punch holes: a peer that does costs the others a page at their next touch of each, until the memory
//! is closed to writers.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use procession_codec::handles::{self, Carried};
use procession_sys::memory::{self, Mapping, Memfd};
use procession_sys::named::{self, FileId};
use serde::{Deserialize, Deserializer, Serializer, de, ser};

use crate::domain::{Domain, DomainId};
use crate::error::{Refusal, ShmError};
use crate::fingerprint::Fingerprint;
use crate::header::{self, Header};

/// Memory, its mapping, and how much of it is data.
#[derive(Debug)]
pub(crate) struct Object {
    memory: Memfd,
    mapping: Mapping,
    access: Access,
    len: usize,
    fingerprint: Fingerprint,
    /// Of those who use it, where it matters who lives.
    domain: Option<Domain>,
    /// Once somebody has asked.
    file: OnceLock<FileId>,
}

/// What a handle may do with its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    /// Nor may any further receiver write: the kernel sees to it.
    Read,
}

impl Object {
    /// New memory with `len` zero bytes of data.
    pub(crate) fn create(label: &str, fingerprint: Fingerprint, len: usize) -> Result<Arc<Self>, ShmError> {
        Self::create_in(None, label, fingerprint, len)
    }

    /// The same, for users whose deaths matter.
    pub(crate) fn create_in(
        domain: Option<Domain>,
        label: &str,
        fingerprint: Fingerprint,
        len: usize,
    ) -> Result<Arc<Self>, ShmError> {
        // A sum beyond any memory is refused like one just below it.
        let whole = (len as u64).saturating_add(header::LEN as u64);
        Self::made(Memfd::sealable(label, whole)?, domain, fingerprint, len)
    }

    /// The same, of which only the first `reserved` bytes are reserved.
    pub(crate) fn create_sparse(
        domain: Domain,
        label: &str,
        fingerprint: Fingerprint,
        len: usize,
        reserved: usize,
    ) -> Result<Arc<Self>, ShmError> {
        let whole = |len: usize| (len as u64).saturating_add(header::LEN as u64);
        let memory = Memfd::sparse(label, whole(len))?;
        memory.reserve_range(0, whole(reserved))?;
        Self::made(memory, Some(domain), fingerprint, len)
    }

    fn made(
        memory: Memfd,
        domain: Option<Domain>,
        fingerprint: Fingerprint,
        len: usize,
    ) -> Result<Arc<Self>, ShmError> {
        let mapping = Mapping::shared(&memory)?;
        let id = domain.as_ref().map(|domain| domain.id().to_words());
        mapping.write(0, &Header { fingerprint, len: len as u64, domain: id }.encode());
        Ok(Arc::new(Self {
            memory,
            mapping,
            access: Access::Write,
            len,
            fingerprint,
            domain,
            file: OnceLock::new(),
        }))
    }

    /// New memory with these bytes, which nobody can ever change.
    pub(crate) fn frozen(label: &str, fingerprint: Fingerprint, bytes: &[u8]) -> Result<Arc<Self>, ShmError> {
        let header = Header { fingerprint, len: bytes.len() as u64, domain: None }.encode();
        let memory = Memfd::from_parts(label, &[&header, bytes])?;
        let mapping = Mapping::read_only(&memory)?;
        Ok(Arc::new(Self {
            memory,
            mapping,
            access: Access::Read,
            len: bytes.len(),
            fingerprint,
            domain: None,
            file: OnceLock::new(),
        }))
    }

    /// Memory that came from elsewhere, after all checks.
    pub(crate) fn adopt(
        fd: OwnedFd,
        fingerprint: Fingerprint,
        access: Access,
    ) -> Result<Arc<Self>, ShmError> {
        Self::adopt_in(None, fd, Some(fingerprint), access)
    }

    /// The same with the domain that came with it. Without a fingerprint it may hold anything: the caller knows what
    /// to expect where in it.
    pub(crate) fn adopt_in(
        domain: Option<Domain>,
        fd: OwnedFd,
        fingerprint: Option<Fingerprint>,
        access: Access,
    ) -> Result<Arc<Self>, ShmError> {
        Self::adopted(domain, Memfd::adopt(fd)?, fingerprint, access)
    }

    /// What [`create_sparse`](Self::create_sparse) made elsewhere.
    pub(crate) fn adopt_sparse(
        domain: Domain,
        fd: OwnedFd,
        fingerprint: Fingerprint,
    ) -> Result<Arc<Self>, ShmError> {
        Self::adopted(Some(domain), Memfd::adopt_sparse(fd)?, Some(fingerprint), Access::Write)
    }

    fn adopted(
        domain: Option<Domain>,
        memory: Memfd,
        fingerprint: Option<Fingerprint>,
        access: Access,
    ) -> Result<Arc<Self>, ShmError> {
        let mapping = match access {
            // The kernel says in the same call whether we may.
            Access::Write => Mapping::shared(&memory).map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => ShmError::ReadOnly,
                _ => error.into(),
            })?,
            // As it came: who closes it only now may have punched holes since.
            Access::Read if !memory.came_closed_to_writers() => return Err(Refusal::MayBeWritten.into()),
            Access::Read => Mapping::read_only(&memory)?,
        };
        let (header, len) = check(&mapping, fingerprint)?;
        let domain = domain_of(header, domain)?;
        Ok(Arc::new(Self {
            memory,
            mapping,
            access,
            len,
            fingerprint: header.fingerprint,
            domain,
            file: OnceLock::new(),
        }))
    }

    /// The same memory for readers only, after closing it to further writers.
    pub(crate) fn close_to_writers(&self) -> Result<Arc<Self>, ShmError> {
        self.memory.close_to_writers()?;
        let memory = self.memory.try_clone()?;
        let mapping = Mapping::read_only(&memory)?;
        Ok(Arc::new(Self {
            memory,
            mapping,
            access: Access::Read,
            len: self.len,
            fingerprint: self.fingerprint,
            domain: None,
            file: OnceLock::new(),
        }))
    }

    /// The domain of its users.
    #[inline]
    pub(crate) fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// Device and inode: what tells this memory from all other.
    pub(crate) fn file(&self) -> Result<FileId, ShmError> {
        match self.file.get() {
            Some(file) => Ok(*file),
            None => {
                let file = named::id(self.memory.as_fd())?;
                Ok(*self.file.get_or_init(|| file))
            }
        }
    }

    /// What it holds as a whole.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// How many bytes of data there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), ShmError> {
        self.mapping.read(self.at(offset, bytes.len())?, bytes);
        Ok(())
    }

    pub(crate) fn read_vec(&self, offset: usize, len: usize) -> Result<Vec<u8>, ShmError> {
        let at = self.at(offset, len)?;
        let mut bytes = Vec::new();
        memory::grow(&mut bytes, len)?;
        bytes.resize(len, 0);
        self.mapping.read(at, &mut bytes);
        Ok(bytes)
    }

    /// Only for objects that may be written.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), ShmError> {
        self.mapping.write(self.at(offset, bytes.len())?, bytes);
        Ok(())
    }

    /// Reserves memory for these bytes.
    pub(crate) fn reserve(&self, offset: usize, len: usize) -> Result<(), ShmError> {
        Ok(self.memory.reserve_range(self.at(offset, len)? as u64, len as u64)?)
    }

    /// Gives the memory of these bytes back.
    pub(crate) fn release(&self, offset: usize, len: usize) -> Result<(), ShmError> {
        Ok(self.memory.release_range(self.at(offset, len)? as u64, len as u64)?)
    }

    /// The data, where nobody can ever change it.
    pub(crate) fn as_slice(&self) -> Option<&[u8]> {
        self.mapping.as_slice().map(|all| &all[header::LEN..][..self.len])
    }

    /// The address of the data, mapped for writing while `self` lives, and aligned to [`header::LEN`].
    ///
    /// # Panics
    /// If the memory may only be read.
    pub(crate) fn data(&self) -> *mut u8 {
        assert!(self.access == Access::Write, "this memory may only be read");
        self.mapping.as_ptr().wrapping_add(header::LEN)
    }

    /// Puts the object into the message that is being encoded.
    pub(crate) fn serialize<S: Serializer>(self: &Arc<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        self.must_be_open().map_err(ser::Error::custom)?;
        let index = handles::put(Arc::clone(self) as _).map_err(ser::Error::custom)?;
        serializer.serialize_u32(index)
    }

    /// A handle that writes is of no use to a receiver who cannot.
    pub(crate) fn must_be_open(&self) -> Result<(), ShmError> {
        match self.access {
            Access::Write if !self.memory.is_open_to_writers()? => Err(ShmError::ReadOnly),
            _ => Ok(()),
        }
    }

    /// Takes an object out of the message that is being decoded.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        fingerprint: Fingerprint,
        access: Access,
    ) -> Result<Arc<Self>, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let object = handles::take(index).map_err(ShmError::Handle);
        object.and_then(|fd| Self::adopt(fd, fingerprint, access)).map_err(de::Error::custom)
    }

    /// Where in the data these bytes lie, if they do.
    pub(crate) fn inside(&self, offset: usize, len: usize) -> Result<usize, ShmError> {
        self.at(offset, len).map(|at| at - header::LEN)
    }

    /// Where in the mapping data lies.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Result<usize, ShmError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(header::LEN + offset),
            _ => Err(ShmError::OutOfBounds { offset, len, size: self.len }),
        }
    }
}

/// Checks everything that a header says against what is there, and answers the length of the data.
fn check(mapping: &Mapping, expected: Option<Fingerprint>) -> Result<(Header, usize), Refusal> {
    if mapping.len() < header::LEN {
        return Err(Refusal::Foreign);
    }
    let mut bytes = [0; header::LEN];
    mapping.read(0, &mut bytes);
    let header = Header::decode(&bytes)?;
    if let Some(expected) = expected.filter(|expected| *expected != header.fingerprint) {
        return Err(Refusal::Type { found: header.fingerprint, expected });
    }
    let len = mapping.len() - header::LEN;
    if header.len != len as u64 {
        return Err(Refusal::Length { found: len as u64, expected: header.len });
    }
    Ok((header, len))
}

/// The domain that the header names: the one that came, or one that this process knows.
fn domain_of(header: Header, came: Option<Domain>) -> Result<Option<Domain>, Refusal> {
    let Some(id) = header.domain.map(DomainId::from_words) else { return Ok(None) };
    let is_it = |domain: &Domain| domain.id() == id;
    came.filter(is_it).or_else(|| Domain::known(id)).map(Some).ok_or(Refusal::Domain)
}

impl Carried for Object {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl AsFd for Object {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}
