//! Any file descriptor as a message.
//!
//! Invariant: a descriptor that came out of the handle table is owned, and nothing else owns it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::handles;

/// A file descriptor that can be sent: a file, a socket, a pipe end, a device.
///
/// *Shared*: it is `Clone` (all clones in a process are one descriptor), and sending it duplicates, so both
/// processes have it, referring to one open file with one position. What was sent stays valid when the
/// sender exits. Carriers without descriptors refuse it with
/// [`HandleError::NotCarried`](crate::HandleError::NotCarried).
///
/// # If a peer dies
///
/// Its duplicate is closed by the kernel; ours is not touched.
///
/// # Examples
///
/// ```
/// use procession_codec::{Codec, Descriptor, Postcard, handles};
/// use std::{fs::File, io::Write, os::fd::OwnedFd};
///
/// let (reader, writer) = std::io::pipe()?;
/// let mut bytes = Vec::new();
/// let descriptor = Descriptor::from(OwnedFd::from(writer));
/// let ((), outgoing) = handles::collect(|| Postcard::encode_into(&descriptor, &mut bytes))?;
///
/// // What a carrier does: duplicate the descriptors into the other process. Here, into this one.
/// let arrived = outgoing.descriptors().map(|fd| fd.try_clone_to_owned()).collect::<Result<_, _>>()?;
/// outgoing.commit();
/// let received: Descriptor = handles::supply(arrived, || Postcard::decode(&bytes))?;
///
/// File::from(received.into_owned()?).write_all(b"hello")?;
/// drop(descriptor);
/// assert_eq!(std::io::read_to_string(reader)?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Descriptor(Arc<OwnedFd>);

impl Descriptor {
    /// The descriptor as an owned one, duplicated (close-on-exec) if this `Descriptor` has clones.
    ///
    /// # Errors
    ///
    /// The operating system's, if it cannot duplicate: most often that the process has no descriptor left.
    pub fn into_owned(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Arc::new(descriptor))
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = handles::put(Arc::clone(&self.0) as _).map_err(ser::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        handles::take(index).map(Self::from).map_err(de::Error::custom)
    }
}
