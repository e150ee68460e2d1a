//! A message of which some packets have come: what it has, and what is still missing.
//!
//! Invariant: it never has more than was announced, of bytes and of descriptors.

use std::os::fd::OwnedFd;

use super::Fault;

/// A message of which something is still to come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) len: u64,
    pub(super) got: u64,
    pub(super) n_descriptors: u32,
    pub(super) n_got: u32,
    pub(super) descriptors: Vec<OwnedFd>,
    /// It was refused: only counted, to stay in step.
    pub(super) refused: bool,
}

impl Partial {
    pub(super) fn new(len: u64, n_descriptors: u32) -> Self {
        Self { len, got: 0, n_descriptors, n_got: 0, descriptors: Vec::new(), refused: false }
    }

    /// Counts what a packet brought.
    pub(super) fn add(
        &mut self,
        bytes: u64,
        n_descriptors: u32,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Fault> {
        if bytes > self.len - self.got {
            return Err(Fault::Overlong);
        }
        if n_descriptors > self.n_descriptors - self.n_got {
            return Err(Fault::Descriptors);
        }
        self.got += bytes;
        self.n_got += n_descriptors;
        if self.descriptors.is_empty() {
            self.descriptors = descriptors;
        } else {
            self.descriptors.extend(descriptors);
        }
        if self.refused {
            self.descriptors.clear();
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self) {
        self.refused = true;
        self.descriptors.clear();
    }

    pub(super) fn is_done(&self) -> bool {
        self.got == self.len && self.n_got == self.n_descriptors
    }
}
