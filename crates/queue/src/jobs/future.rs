//! Jobs without a thread that waits: futures for any runtime.
//!
//! Invariant: as of `../future.rs`: each look is a `try_` form and answers its task at once, so a future that is dropped has
//! neither sent a job nor leased one. Held by the async tests of the umbrella.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use procession_raw::{Limit, Side};
use procession_shm::Wait;
use procession_sys::Deadline;
use procession_sys::reactor::Thing;
use procession_sys::wait::{Waitable, Watch};

use super::job::Job;
use super::join::JobsError;
use super::memory::Memory;
use super::receiver::JobReceiver;
use super::sender::JobSender;
use crate::error::{RecvError, SendError};
use crate::future::{receiving, sending};
use crate::link::{Link, Place};
use crate::wire::Wire;

/// A receiver that has something to do.
struct Ready(Arc<Link<Memory>>);

impl Waitable for Ready {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.0.look_for_a_job(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.0.leave(watch);
    }
}

/// A sender whose consumers have moved since; or, if it `lacks` a cell, that can have one.
struct Moved {
    link: Arc<Link<Memory>>,
    seen: u32,
    lacks: bool,
}

impl Moved {
    fn has_moved(&self) -> bool {
        let ring = self.link.memory().ring();
        let has_cell = self.lacks && self.link.has_room();
        has_cell || ring.counter(Side::Consumers) != self.seen || ring.is_closed()
    }
}

impl Waitable for Moved {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        // Room for what comes without a move of the counter: a tick asks the task to try again.
        let is_late = watch.n_naps() > 0;
        self.link.look_for(watch, || is_late || self.has_moved())
            || self.lacks && self.link.awaits_a_cell(watch) && self.has_moved()
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.link.leave(watch);
    }
}

/// Jobs that may all be done; or somebody's end was told of since, which the task has to look after.
struct Ended(Arc<Link<Memory>>, u64);

impl Waitable for Ended {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        let (link, news) = (&self.0, self.1);
        let watched = link.watch();
        if link.news() != news || watch.n_naps() > 0 {
            return true;
        }
        loop {
            let Some((job, stage)) = link.memory().last_unfinished() else { return true };
            if watch.lies_down() {
                let Some((word, value)) = job.await_end(stage) else { continue };
                watch.word(word, value);
                watch.look_again(Wait(Deadline::NEVER).tick(0));
            }
            watched.into_iter().for_each(|(word, value)| watch.word(word, value));
            return false;
        }
    }
}

impl<T, W: Wire<T>> JobReceiver<T, W> {
    /// [`recv`](Self::recv) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it loses nothing: a job is leased when the task is given it, and what a task has and drops is finished, as
    /// every [`Job`]. Never answers [`RecvError::Empty`], `TimedOut` or `Contended`. A look may block for some 50 µs, while
    /// others are in the middle. A side that was waited for like this loses its last user a moment after that was dropped.
    ///
    /// # Errors
    /// [`RecvError`].
    ///
    /// # If a peer dies
    /// The jobs that it had and had not finished come to who waits, as by [`recv`](Self::recv).
    ///
    /// # Examples
    /// ```
    /// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    ///
    /// let (tx, rx) = procession_queue::jobs::<u32>(10)?;
    /// let (mut recv, mut context) = (pin!(rx.recv_async()), Context::from_waker(Waker::noop()));
    /// assert!(recv.as_mut().poll(&mut context).is_pending());
    /// tx.send(7)?;
    /// let Poll::Ready(Ok(job)) = recv.poll(&mut context) else { panic!("there is one") };
    /// assert_eq!((*job, tx.unfinished()), (7, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_async(&self) -> impl Future<Output = Result<Job<T>, RecvError>> + Send + '_ {
        receiving(|| self.try_recv(), || Ready(Arc::clone(&self.link)))
    }
}

impl<T, W: Wire<T>> JobSender<T, W> {
    /// [`send`](Self::send) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it before it has answered sends nothing, and drops the value, which is encoded anew at each look. Never
    /// answers [`SendFault::Full`](crate::SendFault::Full), `TimedOut` or `Contended`. Else as
    /// [`recv_async`](JobReceiver::recv_async).
    ///
    /// # Errors
    /// [`SendError`], with the value.
    ///
    /// # If a peer dies
    /// When the last receiver is gone, also while this is awaited, it is an error.
    ///
    /// # Examples
    /// ```
    /// use std::{future::Future, pin::pin, task::{Context, Waker}};
    ///
    /// let (tx, rx) = procession_queue::jobs::<u32>(1)?;
    /// tx.send(1)?;
    /// let (mut send, mut context) = (pin!(tx.send_async(2)), Context::from_waker(Waker::noop()));
    /// assert!(send.as_mut().poll(&mut context).is_pending());
    /// rx.recv()?.done();
    /// assert!(send.poll(&mut context).is_ready());
    /// assert_eq!(*rx.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + '_ {
        let link = &self.link;
        sending(value, move |value| {
            let lacks_a_cell = || !link.memory().has_cell(&link.party());
            let (seen, lacked) = (link.memory().ring().counter(Side::Consumers), lacks_a_cell());
            self.try_send(value).map_err(|error| {
                // One that was not to be had in between only, a tick will show.
                let lacks = lacked || lacks_a_cell();
                (error, Some(Moved { link: Arc::clone(link), seen, lacks }))
            })
        })
    }
}

impl<T, W> JobSender<T, W> {
    /// [`join`](Self::join) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it changes nothing. Never answers [`JobsError::Unfinished`] or `TimedOut`. A look takes some nanoseconds for
    /// each piece of memory that jobs ever lay in; there is one when all may be done, and for each death.
    ///
    /// # Errors
    /// [`JobsError`].
    ///
    /// # If a peer dies
    /// As [`join`](Self::join).
    ///
    /// # Examples
    /// ```
    /// use std::{future::Future, pin::pin, task::{Context, Waker}};
    ///
    /// let (tx, rx) = procession_queue::jobs::<u32>(10)?;
    /// tx.send(1)?;
    /// let (mut join, mut context) = (pin!(tx.join_async()), Context::from_waker(Waker::noop()));
    /// assert!(join.as_mut().poll(&mut context).is_pending());
    /// rx.recv()?.done();
    /// assert!(join.poll(&mut context).is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_async(&self) -> impl Future<Output = Result<(), JobsError>> + Send + '_ {
        let mut watch = Thing::new();
        poll_fn(move |cx| {
            let news = self.link.news();
            match self.try_join() {
                Err(JobsError::Unfinished { .. }) => {}
                answer => return Poll::Ready(answer),
            }
            match watch.arm(cx.waker(), || Ended(Arc::clone(&self.link), news)) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(JobsError::Memory(error.into()))),
            }
        })
    }
}
