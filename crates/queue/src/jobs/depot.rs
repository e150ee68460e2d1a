//! The handles of jobs that somebody has received: where they stay until the job is done.
//!
//! A pair of sockets that every user of the queue has both ends of. What is sent into one end waits at the other, so there are
//! two rows of packets, one at each end. A packet moves from the first of a row to the last of the other: a copy is sent,
//! then it is taken away. That is how those behind it are reached, and how those of no job go.
//!
//! | a packet | what is true | who moves it, to what |
//! |---|---|---|
//! | of a job that is leased, left, or buried | its cell has the number | the end of the job, to "of no job" |
//! | of no job | no cell will ever have its number again, or that job is queued: somebody was about to lease it, and died | whoever meets it takes it away: who ends a job with handles, looks for others, or finds nothing to receive |
//!
//! Invariants: all of it is done under the consumers' lock. A packet is there before its job is leased, and while it moves it
//! is there once or twice; so who is killed here loses nothing, and leaves a second copy at most. New packets go to the first
//! row, while the second is empty: all packets fit into one row, so that there is always room to move them. Unless the user
//! has as many descriptors on their way as the system allows: then nothing moves, and a packet behind another stays with it.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use procession_codec::handles::{self, Carried};
use procession_shm::ShmError;
use procession_sys::{OsError, socket};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::packet::{First, PATIENCE, Packet};

/// Both ends.
#[derive(Clone, Debug)]
pub(super) struct Depot {
    ends: [Arc<End>; 2],
}

#[derive(Debug)]
struct End(OwnedFd);

/// What becomes of a packet that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Wanted,
    Stays,
    Goes,
}

impl Depot {
    pub(super) fn create() -> Result<Self, ShmError> {
        let (a, b) = socket::pair()?;
        Ok(Self { ends: [Arc::new(End(a)), Arc::new(End(b))] })
    }

    /// Keeps a copy of a packet.
    ///
    /// # Errors
    /// As many as there is room for are here, of jobs that are not done.
    pub(super) fn add(
        &self,
        number: u64,
        packet: &Packet,
        is_live: impl Fn(u64) -> bool + Copy,
    ) -> Result<(), OsError> {
        let stays = |found| stays_if(is_live(found));
        // It fails if a row is full, which a peer can do that keeps to nothing; then so will what follows, or there is room.
        if self.walk(1, stays).is_ok() && packet.send_copy(number, self.end_before(0))? {
            return Ok(());
        }
        let _ = self.sweep(is_live);
        self.walk(1, stays)?;
        if packet.send_copy(number, self.end_before(0))? {
            return Ok(());
        }
        Err(OsError::new(
            "receiving a job with handles: too many of those are not done",
            ErrorKind::QuotaExceeded,
        ))
    }

    /// A copy of the packet with this number, if it is here; those of no job that are met go.
    pub(super) fn find(&self, number: u64, is_live: impl Fn(u64) -> bool) -> Result<Option<Packet>, OsError> {
        let fate = |found| if found == number { Fate::Wanted } else { stays_if(is_live(found)) };
        for row in [0, 1] {
            if let Some((first, n, _)) = self.walk(row, fate)? {
                return first.copy(n).map(Some);
            }
        }
        Ok(None)
    }

    /// Takes away the packet of a job that has ended.
    pub(super) fn retire(&self, number: u64, is_live: impl Fn(u64) -> bool) -> Result<(), OsError> {
        let fate = |found| if found == number { Fate::Wanted } else { stays_if(is_live(found)) };
        for row in [0, 1] {
            if let Some((first, _, end)) = self.walk(row, fate)? {
                return first.discard(end);
            }
        }
        Ok(())
    }

    /// Takes away all that belong to no job.
    pub(super) fn sweep(&self, is_live: impl Fn(u64) -> bool) -> Result<(), OsError> {
        let swept = [0, 1].map(|row| self.walk(row, |found| stays_if(is_live(found))).map(drop));
        swept.into_iter().collect()
    }

    /// Goes through a row up to the packet that is wanted, which is the first of it then; those that stay move to the other
    /// row. Also how many descriptors it has, and the end where it waits.
    fn walk(
        &self,
        row: usize,
        fate: impl Fn(u64) -> Fate,
    ) -> Result<Option<(First, usize, BorrowedFd<'_>)>, OsError> {
        // What is sent from where a row waits arrives in the other.
        let end = self.ends[row].0.as_fd();
        for _ in 0..PATIENCE {
            let Some(first) = First::peek(end) else { return Ok(None) };
            let Some((number, n)) = first.label else {
                first.discard(end)?;
                continue;
            };
            match fate(number) {
                Fate::Wanted => return Ok(Some((first, n, end))),
                Fate::Goes => first.discard(end)?,
                Fate::Stays => {
                    if !first.copy(n)?.send_copy(number, end)? {
                        return Err(OsError::new("moving the handles of a job", ErrorKind::QuotaExceeded));
                    }
                    socket::discard_packet(end)?;
                }
            }
        }
        Ok(None)
    }

    fn end_before(&self, row: usize) -> BorrowedFd<'_> {
        self.ends[1 - row].0.as_fd()
    }
}

fn stays_if(is_live: bool) -> Fate {
    if is_live { Fate::Stays } else { Fate::Goes }
}

impl Carried for End {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Depot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let put = |end: &Arc<End>| handles::put(Arc::clone(end) as _).map_err(ser::Error::custom);
        (put(&self.ends[0])?, put(&self.ends[1])?).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Depot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b) = Deserialize::deserialize(deserializer)?;
        let take = |index| -> Result<_, D::Error> {
            let end = handles::take(index).map_err(de::Error::custom)?;
            socket::check(end.as_fd()).map_err(de::Error::custom)?;
            Ok(Arc::new(End(end)))
        };
        Ok(Self { ends: [take(a)?, take(b)?] })
    }
}
