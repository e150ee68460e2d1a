//! Sending and receiving without a thread that waits: futures for any runtime.
//!
//! Invariants: a future takes nothing before it can give it to its task, so a receiver that is dropped loses nothing; a
//! sender that is dropped in the middle of a long message tells the other end that it is void, and until then nobody else
//! sends. Held by the async tests of the umbrella.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use procession_codec::handles::Outgoing as Handles;
use procession_sys::message::{HEADROOM, Outgoing, Progress};
use procession_sys::poll::Interest;
use procession_sys::reactor::Descriptor;

use crate::error::{RecvError, SendError};
use crate::link::{Link, Side};
use crate::turn::{Kept, Ticket};

/// Tries `attempt`, which does not wait, whenever there is something to receive.
pub(crate) fn receiving<'a, T>(
    link: &'a Link,
    mut attempt: impl FnMut() -> Result<T, RecvError> + Send + 'a,
) -> impl Future<Output = Result<T, RecvError>> + Send {
    let mut watch: Option<Descriptor> = None;
    poll_fn(move |cx| {
        match attempt() {
            Err(RecvError::TimedOut | RecvError::Empty) => {}
            answer => {
                watch = None;
                return Poll::Ready(answer);
            }
        }
        let watch = match &mut watch {
            Some(watch) => watch,
            None => match link.socket() {
                Some(socket) => watch.insert(Descriptor::new(socket, Interest::Readable)),
                None => return Poll::Ready(Err(RecvError::Moved)),
            },
        };
        match watch.arm(cx.waker()) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(RecvError::Os(error))),
        }
    })
}

/// A message on its way out, as a future: see `send_async` of the end that made it.
///
/// It was encoded when this was made, and nothing of it is sent before this is awaited. Dropping it leaves nothing half sent:
/// if only a part had gone out, the other end is told to forget that, and handles in the value are ours again.
#[must_use = "nothing is sent unless it is awaited"]
pub struct Sending<'a> {
    /// Until it is sent, or failed.
    message: Option<Result<Encoded, SendError>>,
    link: &'a Link,
    progress: Progress,
    /// From the beginning of a message that needs several packets.
    kept: Option<Kept<'a, Side<Outgoing>>>,
    ticket: Option<Ticket<'a, Side<Outgoing>>>,
    watch: Option<Descriptor>,
}

/// What is to be sent, behind room for its header.
pub(crate) type Encoded = (Vec<u8>, Handles);

impl<'a> Sending<'a> {
    pub(crate) fn new(link: &'a Link, message: Result<Encoded, SendError>) -> Self {
        Self {
            message: Some(message),
            link,
            progress: Progress::default(),
            kept: None,
            ticket: None,
            watch: None,
        }
    }

    fn poll_send(
        &mut self,
        (framed, handles): &Encoded,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let mut taken = None;
        let mut kept = self.kept.as_ref().map(Kept::value);
        let side = match &mut kept {
            Some(side) => &mut **side,
            None => match self.link.outgoing.take_or_wake(&mut self.ticket, cx.waker()) {
                Some(turn) => &mut **taken.insert(turn),
                None => return Poll::Pending,
            },
        };
        let Side { socket: Some(socket), state } = side else { return Poll::Ready(Err(SendError::Moved)) };
        let descriptors: Vec<_> = handles.descriptors().collect();
        match state.advance(&**socket, &framed[HEADROOM..], &descriptors, &mut self.progress) {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
            Err(error) => {
                state.give_up(&**socket);
                self.progress = Progress::default();
                return Poll::Ready(Err(error.into()));
            }
        }
        let watch = self.watch.get_or_insert_with(|| Descriptor::new(socket.clone(), Interest::Writable));
        if let Err(error) = watch.arm(cx.waker()) {
            state.give_up(&**socket);
            self.progress = Progress::default();
            return Poll::Ready(Err(SendError::Os(error)));
        }
        if let Some(turn) = taken
            && self.progress.has_begun()
        {
            self.kept = Some(turn.keep());
        }
        Poll::Pending
    }

    /// Nobody else waits for this any more.
    fn end(&mut self) {
        self.watch = None;
        self.ticket = None;
        self.kept = None;
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), SendError>;

    /// # Panics
    /// If it has answered before.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let message = this.message.take().expect("a future that has answered is not asked again");
        let message = match message {
            Ok(message) => message,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let Poll::Ready(answer) = this.poll_send(&message, cx) else {
            this.message = Some(Ok(message));
            return Poll::Pending;
        };
        this.end();
        if answer.is_ok() {
            message.1.commit();
        }
        Poll::Ready(answer)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            let mut side = kept.value();
            let Side { socket, state } = &mut *side;
            if let Some(socket) = socket {
                state.give_up(&**socket);
            }
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("progress", &self.progress).finish_non_exhaustive()
    }
}
