//! A child that has been started and has nothing to do yet gets another niceness, other processors, other limits.
//!
//! They are set on its first thread, and its later threads and children have them from there. Set from outside, so that a
//! refusal is known before the child is given anything to do. Invariant: as with signals, a child that has been waited
//! for is left alone, so never a stranger with the same number. Held by the contract suite of `procession-process`.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, prlimit, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::child::Child;
use crate::limits::{Limit, Resource};
use crate::poll::{self, Interest};
use crate::{Deadline, OsError, Result};

impl Child {
    /// Sets its niceness: from -20, the most favoured, to 19. `false` if the child has ended, which is not an error.
    ///
    /// # Errors
    /// It is outside of that range; it is less than it was, and this process may not do that.
    pub fn set_niceness(&self, niceness: i32) -> Result<bool> {
        let doing = || format!("setting the niceness of process {} to {niceness}", self.pid());
        if !(-20..=19).contains(&niceness) {
            return Err(refused(doing(), "it goes from -20 to 19"));
        }
        self.adjust(doing, |pid| setpriority_process(Some(pid), niceness))
    }

    /// Sets the processors it may run on, by their numbers. `false` if the child has ended, which is not an error.
    ///
    /// # Errors
    /// The list is empty; a processor is not there, or not allowed to this process.
    pub fn set_affinity(&self, processors: &[usize]) -> Result<bool> {
        let doing = || format!("binding process {} to the processors {processors:?}", self.pid());
        let mut wanted = CpuSet::new();
        for processor in processors {
            if *processor >= CpuSet::MAX_CPU {
                return Err(refused(doing(), "there are not so many"));
            }
            wanted.set(*processor);
        }
        let mut bound = CpuSet::new();
        let alive = self.adjust(doing, |pid| {
            sched_setaffinity(Some(pid), &wanted)?;
            sched_getaffinity(Some(pid)).map(|set| bound = set)
        })?;
        // The kernel leaves out those that it cannot give, without a word.
        if alive && bound != wanted {
            return Err(refused(doing(), "some of them are not there or not allowed"));
        }
        Ok(alive)
    }

    /// Sets one of its limits. `false` if the child has ended, which is not an error.
    ///
    /// # Errors
    /// What binds is more than its maximum; the maximum is raised, and this process may not do that.
    pub fn set_limit(&self, resource: Resource, limit: Limit) -> Result<bool> {
        let doing = || format!("setting the limit {resource} of process {} to {limit}", self.pid());
        self.adjust(doing, |pid| prlimit(Some(pid), resource.to_raw(), limit.to_raw()).map(drop))
    }

    fn adjust(
        &self,
        doing: impl FnOnce() -> String,
        set: impl FnOnce(Pid) -> rustix::io::Result<()>,
    ) -> Result<bool> {
        let exit = self.exit();
        // Once it has ended, somebody else may wait for it, and its number be another's.
        let ended = |pidfd| poll::one(pidfd, Interest::Readable, Deadline::now()).unwrap_or(false);
        if exit.is_some() || self.pidfd().is_some_and(ended) {
            return Ok(false);
        }
        match set(self.pid) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(e) => Err(OsError::new(doing(), e)),
        }
    }
}

fn refused(doing: String, why: &str) -> OsError {
    OsError::new(doing, io::Error::new(io::ErrorKind::InvalidInput, why))
}
