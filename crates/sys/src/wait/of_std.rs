//! Descriptors of others, and instants, as things to wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use super::{Source, Waitable, Watch};
use crate::event::Event;
use crate::poll::Interest;

/// Ready when its descriptor can be read from: something is there, or the end, or a client that wants to be accepted. For
/// anything that has a descriptor and is not a [`Waitable`] itself.
///
/// # Examples
/// ```
/// use std::io::{Write, pipe};
/// use procession_sys::{Deadline, wait::{self, Readable}};
///
/// let (reader, mut writer) = pipe()?;
/// assert!(wait::any(&[&Readable(&reader)], Deadline::now())?.is_empty());
/// writer.write_all(b"x")?;
/// assert_eq!(wait::any(&[&Readable(&reader)], Deadline::NEVER)?, [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Readable<F>(pub F);

/// Ready when its descriptor can be written to, or nobody reads any more.
#[derive(Clone, Copy, Debug)]
pub struct Writable<F>(pub F);

/// Ready at an instant of the monotonic clock and from then on: a limit among the things.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Instant);

impl Waitable for At {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        let left = self.0.saturating_duration_since(Instant::now());
        watch.look_again(left);
        left.is_zero()
    }
}

impl<F: AsFd> Waitable for Readable<F> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        watch.descriptor(Source::Borrowed(self.0.as_fd()), Interest::Readable);
        false
    }
}

impl<F: AsFd> Waitable for Writable<F> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        watch.descriptor(Source::Borrowed(self.0.as_fd()), Interest::Writable);
        false
    }
}

macro_rules! readable {
    ($($type:ty)*) => {
        $(
            /// Ready when it can be read from, or a client can be accepted, or at its end.
            impl Waitable for $type {
                fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
                    watch.descriptor(Source::Borrowed(self.as_fd()), Interest::Readable);
                    false
                }
            }
        )*
    };
}

readable! {
    OwnedFd
    BorrowedFd<'_>
    Event
    std::fs::File
    std::io::PipeReader
    std::io::Stdin
    std::net::TcpListener
    std::net::TcpStream
    std::net::UdpSocket
    std::os::unix::net::UnixDatagram
    std::os::unix::net::UnixListener
    std::os::unix::net::UnixStream
    std::process::ChildStderr
    std::process::ChildStdout
}
