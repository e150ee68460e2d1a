//! The end of a process as a future, for any runtime.
//!
//! Invariant: a look takes a value only to answer with it at once, so a future that is dropped leaves it. Held by the async
//! tests of the umbrella.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::poll::Interest;
use procession_sys::reactor::{Descriptor, Thing};
use procession_sys::wait::At;
use procession_sys::{Deadline, OsError};

use crate::{Exit, JoinError, Process};

/// How long to pause between looks where no descriptor tells of a death.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What wakes a task that waits for a process.
#[derive(Debug, Default)]
struct Watches {
    pidfd: Option<Descriptor>,
    time: Thing,
}

impl<R> Process<R> {
    /// [`wait`](Self::wait) as a future, for any runtime; limits are the runtime's. The value stays to be taken.
    ///
    /// # Errors
    /// The system failed us.
    pub fn wait_async(&self) -> impl Future<Output = Result<Exit, OsError>> + Send + '_ {
        let mut watches = Watches::default();
        poll_fn(move |cx| match self.shared().wait(Deadline::now()) {
            Ok(Some(exit)) => Poll::Ready(Ok(exit)),
            Ok(None) => watches.arm(self, cx).map(Err),
            Err(error) => Poll::Ready(Err(error)),
        })
    }
}

impl<R: Message> Process<R> {
    /// [`join`](Self::join) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it loses nothing, and does nothing to the child: the handle is still there.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_async(&self) -> impl Future<Output = Result<R, JoinError>> + Send + '_ {
        let mut watches = Watches::default();
        poll_fn(move |cx| match self.try_join() {
            Ok(Some(value)) => Poll::Ready(Ok(value)),
            Ok(None) => watches.arm(self, cx).map(|error| Err(JoinError::Os(error))),
            Err(error) => Poll::Ready(Err(error)),
        })
    }
}

impl Watches {
    fn arm<R>(&mut self, process: &Process<R>, cx: &Context<'_>) -> Poll<OsError> {
        match self.try_arm(process, cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    fn try_arm<R>(&mut self, process: &Process<R>, cx: &Context<'_>) -> Result<(), OsError> {
        let late = process.shared().late_at().instant();
        let again = match (&mut self.pidfd, process.shared().child().pidfd()) {
            (Some(watch), _) => watch.arm(cx.waker()).map(|()| late)?,
            (None, Some(pidfd)) => {
                let copied = pidfd.try_clone_to_owned();
                let copied = copied.map_err(|error| OsError::new("copying a pidfd", error))?;
                let watch = Descriptor::new(Arc::new(copied), Interest::Readable);
                self.pidfd.insert(watch).arm(cx.waker()).map(|()| late)?
            }
            (None, None) => Some(Instant::now() + LOOK_AGAIN),
        };
        match again {
            Some(at) => self.time.arm(cx.waker(), || At(at)),
            None => Ok(()),
        }
    }
}
