//! Saying something on standard error where nothing may wait, such as on the way to a sleep for a lock.
//!
//! Invariant: no error of the descriptor is anybody's but ours, and no reader who is slow is waited for. Held by the tests
//! below, and by `tests/waits.rs` of `procession-shm`.

use std::os::fd::{AsFd, BorrowedFd};

use crate::Deadline;
use crate::poll::{self, Interest};

/// A pipe that is ready takes so much at once.
const AT_ONCE: usize = 4096;

/// Writes to standard error as much of the text as is taken at once. Past the lock of [`std::io::stderr`], whose holder
/// may be waiting for a reader.
///
/// Does not wait, unless somebody else fills a pipe in the very moment between its being ready and the writing.
///
/// # Examples
/// ```
/// procession_sys::stderr::tell("still waiting\n");
/// ```
pub fn tell(text: &str) {
    write(std::io::stderr().as_fd(), text.as_bytes());
}

fn write(fd: BorrowedFd<'_>, mut text: &[u8]) {
    while !text.is_empty() && poll::one(fd, Interest::Writable, Deadline::now()).unwrap_or(false) {
        match rustix::io::write(fd, &text[..text.len().min(AT_ONCE)]) {
            Ok(n) if n > 0 => text = &text[n..],
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_not_taken_at_once_is_left_out() {
        procession_testkit::guarded(|| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let text = [b'x'; 1 << 20];
            write(writer.as_fd(), &text);
            write(writer.as_fd(), b"more");
            drop(writer);
            let mut taken = Vec::new();
            reader.read_to_end(&mut taken).unwrap();
            assert!(taken.len() >= AT_ONCE && text.starts_with(&taken));
        });
    }

    #[test]
    fn nobody_who_reads_is_no_error() {
        procession_testkit::guarded(|| {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            write(writer.as_fd(), b"hello");
        });
    }
}
