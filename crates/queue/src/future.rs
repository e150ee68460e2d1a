//! Sending and receiving without a thread that waits: futures for any runtime.
//!
//! Invariant: each look is a `try_` form, which sends or takes a message whole or not at all, and answers its task at once;
//! so a future that is dropped has neither sent nor taken anything. Held by the async tests of the umbrella.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use procession_raw::Side;
use procession_sys::OsError;
use procession_sys::reactor::Thing;
use procession_sys::wait::{At, Waitable, Watch};

use crate::error::{RecvError, SendError, SendFault};
use crate::link::Link;
use crate::wire::Wire;
use crate::{Queue, Receiver, Sender};

/// The pause while another is in the middle for long, as a rule because it is stopped.
const PAUSE: Duration = Duration::from_millis(1);

/// A side that has something to do.
struct Ready(Arc<Link>);

impl Waitable for Ready {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        self.0.look(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.0.leave(watch);
    }
}

/// A side whose other side has moved since: there may be room in items, and still not enough in bytes.
struct Moved(Arc<Link>, u32);

impl Waitable for Moved {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        let ring = self.0.memory().ring();
        // Room for handles comes without a move of the counter: a tick asks the task to try again.
        let is_late = watch.n_naps() > 0;
        let moved = || ring.counter(self.0.side().other()) != self.1 || ring.is_closed() || is_late;
        self.0.look_for(watch, moved)
    }

    fn leave(&self, watch: &Watch<'_>) {
        self.0.leave(watch);
    }
}

impl<T, W: Wire<T>> Receiver<T, W> {
    /// [`recv`](Self::recv) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it loses nothing: a message is taken when the task is given it. Never answers [`RecvError::Empty`],
    /// `TimedOut` or `Contended`. A look may block for some 50 µs, while others are in the middle. A side that was waited
    /// for like this loses its last user a moment after that was dropped.
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_async(&self) -> impl Future<Output = Result<T, RecvError>> + Send + '_ {
        receiving(|| self.try_recv(), || Ready(Arc::clone(self.shared_link())))
    }
}

impl<T, W: Wire<T>> Sender<T, W> {
    /// [`send`](Self::send) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it before it has answered sends nothing, and drops the value, which is encoded anew at each look. Never
    /// answers [`SendFault::TimedOut`] or `Contended`, and `Full` only for an [`unbounded`](crate::unbounded) queue. Else
    /// as [`recv_async`](Receiver::recv_async).
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + '_ {
        let link = self.shared_link();
        sending(value, move |value| {
            let seen = link.memory().ring().counter(Side::Consumers);
            let waits = link.memory().layout().never_waits == 0;
            self.try_send(value).map_err(|error| (error, waits.then(|| Moved(Arc::clone(link), seen))))
        })
    }
}

impl<T, W: Wire<T>> Queue<T, W> {
    /// As [`Sender::send_async`].
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn send_async(&self, value: T) -> impl Future<Output = Result<(), SendError<T>>> + '_ {
        self.sender().send_async(value)
    }

    /// As [`Receiver::recv_async`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub fn recv_async(&self) -> impl Future<Output = Result<T, RecvError>> + Send + '_ {
        self.receiver().recv_async()
    }
}

/// A `try_` form, again and again when `ready` says; that it was in vain is no answer.
pub(crate) fn receiving<R, T: Waitable + Send + Sync + 'static>(
    mut try_recv: impl FnMut() -> Result<R, RecvError>,
    ready: impl Fn() -> T,
) -> impl Future<Output = Result<R, RecvError>> {
    let mut watch = Thing::new();
    poll_fn(move |cx| {
        let armed = match try_recv() {
            Err(RecvError::Empty | RecvError::TimedOut) => watch.arm(cx.waker(), &ready),
            Err(RecvError::Contended { .. }) => pause(&mut watch, cx),
            answer => return Poll::Ready(answer),
        };
        pending(armed).map(|error| Err(RecvError::Memory(error.into())))
    })
}

/// A `try_` form, again and again when what it names beside its error says; nothing is named if "full" is an answer.
pub(crate) fn sending<V, T: Waitable + Send + Sync + 'static>(
    value: V,
    mut try_send: impl FnMut(V) -> Result<(), (SendError<V>, Option<T>)>,
) -> impl Future<Output = Result<(), SendError<V>>> {
    let (mut watch, mut value) = (Thing::new(), Some(value));
    poll_fn(move |cx| {
        let unsent = value.take().expect("a future that has answered is not asked again");
        let Err((error, moved)) = try_send(unsent) else { return Poll::Ready(Ok(())) };
        let armed = match (error.fault(), moved) {
            (SendFault::Full | SendFault::TimedOut, Some(moved)) => watch.arm(cx.waker(), || moved),
            (SendFault::Contended { .. }, _) => pause(&mut watch, cx),
            _ => return Poll::Ready(Err(error)),
        };
        let unsent = error.into_value();
        match pending(armed) {
            Poll::Ready(error) => Poll::Ready(Err(SendError::new(unsent, SendFault::Memory(error.into())))),
            Poll::Pending => {
                value = Some(unsent);
                Poll::Pending
            }
        }
    })
}

fn pause(watch: &mut Thing, cx: &Context<'_>) -> Result<(), OsError> {
    watch.arm(cx.waker(), || At(Instant::now() + PAUSE))
}

fn pending(armed: Result<(), OsError>) -> Poll<OsError> {
    match armed {
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(error),
    }
}
