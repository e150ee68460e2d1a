//! A pipe of the kernel, shared by any number of writers and readers: numbers of eight bytes, which it never tears.

use std::os::fd::OwnedFd;

/// Both ends.
#[derive(Debug)]
pub struct Pipe {
    reads: OwnedFd,
    writes: OwnedFd,
}

impl Pipe {
    /// A new one. To be made before the fork.
    ///
    /// # Panics
    /// If there are no descriptors to be had.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it may fail")]
    pub fn new() -> Self {
        let (reads, writes) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("two descriptors");
        Self { reads, writes }
    }

    /// Writes a number; waits for room.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn send(&self, number: u64) {
        assert_eq!(rustix::io::write(&self.writes, &number.to_ne_bytes()), Ok(8));
    }

    /// Reads a number; waits for one.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn recv(&self) -> u64 {
        let mut bytes = [0; 8];
        assert_eq!(rustix::io::read(&self.reads, &mut bytes), Ok(8));
        u64::from_ne_bytes(bytes)
    }
}
