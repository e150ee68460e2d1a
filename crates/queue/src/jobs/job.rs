//! A job in the hands of a worker.
//!
//! Invariants: as long as a `Job` is there, its lease is its process's, unless a peer stores over the words; each ends its
//! lease once at most. A forked child's copy ends nothing.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use procession_raw::Stage;
use procession_sys::fork::Lasting;

use super::leases::Lease;
use super::memory::Memory;
use crate::link::Link;

/// A job that this process has received and not finished. Dropping it finishes it, also while unwinding.
///
/// *Unique*: not `Clone`; it does not travel to other processes. `Send` and `Sync` as its value is: any thread of this
/// process may finish it. It counts as a receiver as long as it lives.
///
/// # If a peer dies
/// If this process dies, the job goes to another worker, or to the dead letters, as
/// [`JobOptions`](crate::JobOptions) say. A job that is finished is never delivered again. A job that is forgotten
/// (`std::mem::forget`) stays unfinished until this process ends.
///
/// The handles in it are there each time it is delivered: this process's are closed with the value, and those that are kept
/// for the next worker when the job is done; if another process is receiving at that moment, by the next one that receives.
///
/// # Examples
/// ```
/// let (tx, rx) = procession_queue::jobs::<String>(10)?;
/// tx.send("one".into())?;
/// let job = rx.recv()?;
/// assert_eq!((job.as_str(), job.deliveries(), tx.unfinished()), ("one", 1, 1));
/// job.put_back();
/// let job = rx.recv()?;
/// assert!(job.is_redelivered() && job.deliveries() == 2);
/// job.done();
/// assert_eq!(tx.unfinished(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a job that is dropped is finished"]
pub struct Job<T> {
    link: Arc<Link<Memory>>,
    lease: Lease,
    lasting: Lasting,
    /// `None` once it is finished in another way than by being dropped.
    value: Option<T>,
}

impl<T> Job<T> {
    pub(super) fn new(link: Arc<Link<Memory>>, lease: Lease, value: T) -> Self {
        Self { link, lease, lasting: Lasting::now(), value: Some(value) }
    }

    /// How often it was delivered so far, with this time.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        match self.lease.stage {
            Stage::Leased { n, .. } => n,
            _ => 0,
        }
    }

    /// Whether somebody had it before, and died or put it back: it may be half done.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.deliveries() > 1
    }

    /// Finishes it: as dropping it, and says so. Does not block.
    ///
    /// # If a peer dies
    /// Who is killed in here has finished it, and then it is never delivered again; or has not, and then it is.
    #[doc(alias = "task_done")]
    pub fn done(self) {}

    /// Finishes it, and keeps the value.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        let value = self.value.take().expect("until it is finished");
        self.finish();
        value
    }

    /// Gives it back: the next who receives gets it, before all others, which may be this process. If it was delivered as
    /// often as it may be, it becomes a dead letter. Does not block; what was changed in the value is forgotten.
    pub fn put_back(mut self) {
        // Its code may fail: first it is back.
        let value = self.value.take();
        if self.lasting.lasts() {
            self.link.memory().put_back(self.lease);
        }
        drop(value);
    }

    /// The same job, with its value.
    pub(super) fn with<U>(mut self, value: U) -> Job<U> {
        self.value = None;
        Job { link: Arc::clone(&self.link), lease: self.lease, lasting: self.lasting, value: Some(value) }
    }

    /// Makes a dead letter of it.
    pub(super) fn give_up(mut self) {
        self.value = None;
        let Lease { cell, stage, .. } = self.lease;
        self.link.memory().give_up(cell, stage, Some(Memory::this_worker()));
    }

    fn finish(&self) {
        if self.lasting.lasts() {
            self.link.memory().finish(self.lease.cell, self.lease.stage);
            if let Some(number) = self.lease.luggage {
                self.link.retire(number);
            }
        }
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        if self.value.is_some() {
            self.finish();
        }
    }
}

impl<T> Deref for Job<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("until it is finished")
    }
}

impl<T> DerefMut for Job<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("until it is finished")
    }
}

impl<T: fmt::Debug> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("value", &self.value).field("deliveries", &self.deliveries()).finish()
    }
}
