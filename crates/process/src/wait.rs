//! A process as a thing that is waited for together with others.
//!
//! Invariant: as in [`wait`](Process::wait), a child that does not report within its start timeout is killed. Its death is
//! told by the call that asks how it ended. Held by the contract `wait` of the umbrella, with and without pidfds.

use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::poll::Interest;
use procession_sys::wait::{Source, Waitable, Watch};

use crate::{Process, ScopedProcess};

/// How long to pause between looks where the kernel has no event that tells of a death.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Ready when it has ended. For `procession_pipe::wait`.
impl<R> Waitable for Process<R> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        // What cannot be asked for is said by the call that follows.
        if !matches!(self.shared().wait(Deadline::now()), Ok(None)) {
            return true;
        }
        match self.shared().child().pidfd() {
            Some(pidfd) => watch.descriptor(Source::Borrowed(pidfd), Interest::Readable),
            None => watch.look_again(LOOK_AGAIN),
        }
        if let Some(left) = self.shared().late_at().remaining() {
            watch.look_again(left);
        }
        false
    }
}

impl<R> Waitable for ScopedProcess<'_, R> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        (**self).look(watch)
    }
}
