//! The loop in which clients are accepted: all handshakes side by side, by whoever has the turn.
//!
//! Invariant: no step of it waits for one client. It sleeps in one place, until the listener, any pending client or the
//! bell of `close` is ready, or the first deadline passes.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use procession_sys::poll::{self, Interest};
use procession_sys::socket::{self, FileName, Peer};
use procession_sys::wait::{Source, Waitable, Watch};
use procession_sys::{Deadline, OsError};

use super::Listener;
use crate::Connection;
use crate::handshake::{self, Pending, Progress};
use crate::hello::status;
use crate::meeting::{AcceptError, Refusal, Refused};

/// The socket that listens.
#[derive(Debug)]
pub(super) enum Bound {
    Socket(OwnedFd),
    File(FileName),
}

impl Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            Self::File(file) => file.as_fd(),
        }
    }
}

/// What belongs to whoever accepts.
#[derive(Debug)]
pub(super) struct Accepting {
    /// `None` once it is closed.
    bound: Option<Bound>,
    /// In the order in which they came.
    pending: VecDeque<Pending>,
    /// Let in, and not fetched yet.
    ready: VecDeque<OwnedFd>,
}

/// How long who waits leaves clients to who accepts.
const MOMENT: Duration = Duration::from_millis(10);
/// How long who waits sleeps on the clients of one look, where others may accept, too.
const WHILE: Duration = Duration::from_millis(100);
/// So many new clients are looked at before those that are known have their turn again.
const NEW_AT_A_TIME: usize = 16;

impl Accepting {
    pub(super) fn at(bound: Bound) -> Self {
        Self { bound: Some(bound), pending: VecDeque::new(), ready: VecDeque::new() }
    }

    pub(super) fn close(&mut self) {
        self.bound = None;
        self.pending.clear();
        self.ready.clear();
    }
}

/// Ready when a client can be accepted, or the listener is closed. Handshakes go on while it is waited for.
impl Waitable for Listener {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        // What goes wrong here, `accept` will say.
        self.look_closely(watch).unwrap_or(true)
    }
}

impl Listener {
    pub(super) fn accept_by(&self, deadline: Deadline) -> Result<Connection, AcceptError> {
        let mut accepting = self.accepting.take(deadline).ok_or(AcceptError::TimedOut)?;
        loop {
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(AcceptError::Closed);
            }
            if let Some(socket) = accepting.ready.pop_front() {
                return Ok(Connection::on(socket, self.terms.transport).with_limit(self.rules.limit));
            }
            let had_passed = deadline.has_passed();
            let failed = self.go_on(&mut accepting, deadline).err();
            match failed {
                _ if !accepting.ready.is_empty() => {}
                Some(error) => return Err(AcceptError::Os(error)),
                None if had_passed => return Err(AcceptError::TimedOut),
                None => {}
            }
        }
    }

    /// Does what can be done, and says whether a client can be accepted; else what would change that.
    fn look_closely(&self, watch: &mut Watch<'_>) -> Result<bool, OsError> {
        let Some(mut accepting) = self.accepting.take(Deadline::now()) else {
            // Somebody accepts, whose clients these are.
            watch.look_again(MOMENT);
            return Ok(self.is_closed.load(Ordering::SeqCst));
        };
        // Who is let in already comes first: else those who only wait would let in more and more.
        let is_over =
            |accepting: &Accepting| self.is_closed.load(Ordering::SeqCst) || !accepting.ready.is_empty();
        if is_over(&accepting) {
            return Ok(true);
        }
        self.go_on(&mut accepting, Deadline::now())?;
        if is_over(&accepting) {
            return Ok(true);
        }
        let Accepting { bound: Some(bound), pending, .. } = &*accepting else { return Ok(true) };
        let first = pending.iter().filter_map(|client| client.deadline.remaining()).min();
        match poll::set(&self.watched(bound, pending)) {
            Ok(set) => {
                watch.stirred_by(Source::Kept(Arc::new(set)), Interest::Readable);
                // A client that another thread has seen meanwhile is not among these.
                watch.look_again(first.unwrap_or(WHILE).min(WHILE));
            }
            // No descriptors are left.
            Err(_) => watch.look_again(MOMENT),
        }
        Ok(false)
    }

    /// What says that something can be done.
    fn watched<'a>(
        &'a self,
        bound: &'a Bound,
        pending: &'a VecDeque<Pending>,
    ) -> Vec<(BorrowedFd<'a>, Interest)> {
        let ours = [self.woken.as_fd(), bound.as_fd()];
        let theirs = pending.iter().map(|client| client.socket().as_fd());
        ours.into_iter().chain(theirs).map(|fd| (fd, Interest::Readable)).collect()
    }

    /// Waits until something can be done, and does it.
    fn go_on(&self, accepting: &mut Accepting, deadline: Deadline) -> Result<(), OsError> {
        let Accepting { bound: Some(bound), pending, ready } = accepting else { return Ok(()) };
        let watched = self.watched(bound, pending);
        let first = pending.iter().fold(deadline, |first, client| first.min(client.deadline));
        let is_ready = poll::ready(&watched, first)?;
        let known = std::mem::take(pending);
        for (client, &is_ready) in known.into_iter().zip(&is_ready[2..]) {
            if is_ready || client.deadline.has_passed() {
                self.advance(client, pending, ready);
            } else {
                pending.push_back(client);
            }
        }
        if is_ready[1] { self.welcome(bound, pending, ready) } else { Ok(()) }
    }

    /// Looks at new clients.
    fn welcome(
        &self,
        bound: &Bound,
        pending: &mut VecDeque<Pending>,
        ready: &mut VecDeque<OwnedFd>,
    ) -> Result<(), OsError> {
        for _ in 0..NEW_AT_A_TIME {
            let Some(socket) = socket::accept(bound.as_fd())? else { break };
            // A client of TCP that is gone again has no address any more, and nothing to say.
            let Ok(peer) = socket::connected_to(&socket) else { continue };
            if self.is_of_other_user(peer) {
                handshake::dismiss(&socket, &self.terms, status::OTHER_USER);
                self.refuse(Refused { peer, why: Refusal::OtherUser });
                continue;
            }
            if pending.len() >= self.rules.max_handshakes
                && let Some(oldest) = pending.pop_front()
            {
                self.refuse(Refused { peer: oldest.peer, why: Refusal::Crowded });
            }
            let client = Pending::new(socket, peer, Deadline::after(self.rules.handshake));
            self.advance(client, pending, ready);
        }
        Ok(())
    }

    fn is_of_other_user(&self, peer: Peer) -> bool {
        match peer {
            Peer::Local { uid, .. } => !self.rules.other_users && uid != socket::our_user(),
            Peer::Tcp(_) => false,
        }
    }

    fn advance(&self, mut client: Pending, pending: &mut VecDeque<Pending>, ready: &mut VecDeque<OwnedFd>) {
        match client.advance(&self.terms) {
            Progress::Waiting => pending.push_back(client),
            Progress::Done => ready.push_back(client.into_socket()),
            Progress::Refused(why) => self.refuse(Refused { peer: client.peer, why }),
        }
    }
}
