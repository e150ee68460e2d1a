//! Word protocols as pure algorithms: what a lock, a semaphore or a ring *does*, without the place it lives in.
//!
//! Nothing here knows an operating system, allocates, or holds `unsafe`. An algorithm takes its way of waiting
//! ([`Park`]) as an argument, so that the same code runs over futexes in shared memory, under a model checker,
//! and in a test that scripts a death.
//!
//! * [`Lock`]: a word that says who holds it, so that a dead holder is followed by somebody who knows of the death;
//! * [`RLock`]: the same with a depth, for a holder that takes it again;
//! * [`RwLock`]: many who read or one who writes;
//! * [`Once`]: what one thread does while the others wait, and the next one if it dies;
//! * [`Event`]: a flag to wait for, which a quick set and clear lets nobody miss;
//! * [`Condvar`]: waiting for a change under a lock; [`Obituary`]: the news that somebody died meanwhile;
//! * [`Semaphore`]: permits that know their holders, so that those of the dead come back; [`Tokens`]: a counter whose
//!   tokens belong to nobody;
//! * [`Extent`]: whose a piece of memory is that messages are put into; [`Job`]: the same for messages that are finished;
//! * [`Barrier`]: a meeting of parties that the death of one breaks;
//! * [`Ring`]: slots that producers fill and consumers empty, and no kill leaves one between.
//!
//! [`Words`] are the types of these that live in shared memory, [`Exclusive`] those that one thread holds at a time.
//!
//! The words are borrowed and lie wherever the caller put them, usually in memory that many processes map. Each is
//! `repr(C)` or transparent, and all zero is its idle state. A call that may block takes a [`Limit`], because there is
//! no clock here, and proves deaths through [`Owners`]. What a kill at each step leaves behind is a table for each
//! protocol in the README beside the manifest; tests kill at each step to hold it.
#![cfg_attr(not(any(loom, test)), no_std)]
#![forbid(unsafe_code)]

mod atomic;
mod barrier;
mod condvar;
mod event;
mod event_count;
mod extent;
mod job;
mod limit;
mod lock;
mod obituary;
mod once;
mod owners;
mod park;
mod ring;
mod rlock;
mod rwlock;
mod semaphore;
mod tokens;
mod words;
#[cfg(all(test, not(loom)))]
mod world;

pub use barrier::{AttachError, Attached, Barrier, Meeting, Place, Unmet};
pub use condvar::{Condvar, Enrolled, Signal};
pub use event::{Event, Watched};
pub use event_count::EventCount;
pub use extent::{Extent, Use};
pub use job::{Job, Stage};
pub use limit::{Forever, Limit};
pub use lock::{Held, Lock, LockError, NotHeld, Protected};
pub use obituary::Obituary;
pub use once::{Begin, Once};
pub use owners::{Id, NoSlot, Owners};
pub use park::{Park, Waited};
pub use ring::{Corrupt, MAIL, Ring, Side, Step, Turn};
pub use rlock::RLock;
pub use rwlock::RwLock;
pub use semaphore::{AcquireError, Acquired, Permit, Semaphore};
pub use tokens::{Tokens, TooMany};
pub use words::{Both, Exclusive, SharedExclusive, Unguarded, Words};
