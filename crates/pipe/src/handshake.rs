//! What a listener and a client say to each other before the first message: fixed lengths, a deadline, nothing decoded.
//!
//! | step | from | what | goes wrong |
//! |---|---|---|---|
//! | 1 | client | hello | not our protocol, another version, another kind of address, one has a key and one has not |
//! | 2 | listener | hello; the end where there is no key | the same; refused because of another user |
//! | 3 | client | its proof | it does not hold: the listener says so, and closes |
//! | 4 | listener | its verdict: welcome, and its proof | it does not hold: the client closes |
//!
//! The client proves first: who listens is met by anybody, and tells strangers nothing that depends on the key.
//!
//! Invariants: nobody takes more bytes out of a socket than the step has, so the first message begins where the handshake
//! ends; nothing that is received decides how much memory is used. Held by `tests/handshake.rs`.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use procession_sys::socket::{self, Peer, RecvFailed, SendFailed};
use procession_sys::{Deadline, OsError};

use crate::auth::{AuthKey, PROOF};
use crate::hello::{HELLO, Hello, MAGIC, Role, Strange, VERDICT, status};
use crate::link::Transport;
use crate::meeting::{ConnectFault, Refusal};

/// What is demanded of the other side, and by which kind of address.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) key: Option<AuthKey>,
    pub(crate) kind: u8,
    pub(crate) transport: Transport,
}

/// A client that has connected and is not let in yet.
#[derive(Debug)]
pub(crate) struct Pending {
    socket: OwnedFd,
    pub(crate) peer: Peer,
    pub(crate) deadline: Deadline,
    heard: Heard<HELLO>,
    /// Both hellos, once they were said.
    hellos: Option<[[u8; HELLO]; 2]>,
}

/// How far a client has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More has to come from it.
    Waiting,
    /// It is let in.
    Done,
    Refused(Refusal),
}

impl Pending {
    pub(crate) fn new(socket: OwnedFd, peer: Peer, deadline: Deadline) -> Self {
        Self { socket, peer, deadline, heard: Heard::new(), hellos: None }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Goes as far as it goes without waiting.
    pub(crate) fn advance(&mut self, terms: &Terms) -> Progress {
        loop {
            let (wanted, prefix) = if self.hellos.is_none() { (HELLO, &MAGIC[..]) } else { (PROOF, &[][..]) };
            let heard =
                self.heard.listen(self.socket.as_fd(), terms.transport, wanted, prefix, Deadline::now());
            let step = match heard {
                Ok(()) if self.hellos.is_none() => self.greet(terms),
                Ok(()) => self.judge(terms),
                Err(NotHeard::TimedOut) if self.deadline.has_passed() => Err(Refusal::TimedOut),
                Err(NotHeard::TimedOut) => return Progress::Waiting,
                Err(NotHeard::Closed) => Err(Refusal::Gone),
                Err(NotHeard::Foreign) => Err(Refusal::Foreign),
                Err(NotHeard::Os(error)) => Err(Refusal::Os(error)),
            };
            match step {
                Ok(true) => return Progress::Done,
                Ok(false) => self.heard = Heard::new(),
                Err(why) => return Progress::Refused(why),
            }
        }
    }

    /// Answers a hello; whether that was all.
    fn greet(&mut self, terms: &Terms) -> Result<bool, Refusal> {
        let theirs = self.heard.bytes;
        let hello = Hello::hear(&theirs, Role::Client);
        let (status, refusal) = match (hello, &terms.key) {
            (Err(Strange::Foreign), _) => return Err(Refusal::Foreign),
            // A client of another version learns from the answer which one is spoken here.
            (Err(Strange::OtherVersion(theirs)), _) => {
                (status::WELCOME, Some(Refusal::OtherVersion { theirs }))
            }
            // The client finds the same in the answer.
            (Ok(hello), _) if hello.kind != terms.kind => (status::WELCOME, Some(Refusal::Relayed)),
            (Ok(Hello { keyed: false, .. }), Some(_)) => (status::KEY_NEEDED, Some(Refusal::NoKey)),
            (Ok(Hello { keyed: true, .. }), None) => (status::NO_KEY_HERE, Some(Refusal::KeyNotShared)),
            (Ok(_), _) => (status::WELCOME, None),
        };
        let ours = say_hello(&self.socket, terms, status).map_err(|_| Refusal::Gone)?;
        match refusal {
            Some(refusal) => Err(refusal),
            None => {
                self.hellos = Some([theirs, ours]);
                Ok(terms.key.is_none())
            }
        }
    }

    /// Answers a proof.
    fn judge(&mut self, terms: &Terms) -> Result<bool, Refusal> {
        let (Some([client, listener]), Some(key)) = (&self.hellos, &terms.key) else {
            unreachable!("a proof follows the hellos, where there is a key");
        };
        let mut verdict = [0; VERDICT];
        let holds = key.verify(&self.heard.bytes[..PROOF], Role::Client, client, listener);
        if holds {
            verdict[0] = status::WELCOME;
            verdict[1..].copy_from_slice(&key.prove(Role::Listener, client, listener));
        } else {
            verdict[0] = status::WRONG_KEY;
        }
        let said = say(self.socket.as_fd(), &verdict, Deadline::now());
        match said {
            _ if !holds => Err(Refusal::WrongKey),
            Err(_) => Err(Refusal::Gone),
            Ok(()) => Ok(true),
        }
    }
}

/// Tells a client that it need not try, if that goes at once.
pub(crate) fn dismiss(socket: &OwnedFd, terms: &Terms, status: u8) {
    let _ = say_hello(socket, terms, status);
}

fn say_hello(socket: &OwnedFd, terms: &Terms, status: u8) -> Result<[u8; HELLO], SendFailed> {
    let hello = Hello { keyed: terms.key.is_some(), kind: terms.kind, status };
    let bytes = hello.say(Role::Listener).map_err(|error| SendFailed::Os(error.0))?;
    say(socket.as_fd(), &bytes, Deadline::now()).map(|()| bytes)
}

/// The client's part, on a socket that is connected.
pub(crate) fn introduce(socket: &OwnedFd, terms: &Terms, deadline: Deadline) -> Result<(), ConnectFault> {
    let ours = Hello { keyed: terms.key.is_some(), kind: terms.kind, status: status::WELCOME };
    let client = ours.say(Role::Client).map_err(|error| ConnectFault::Os(error.0))?;
    say_if_heard(socket, &client, deadline)?;
    let listener = hear::<HELLO>(socket, terms, &MAGIC, deadline)?;
    match Hello::hear(&listener, Role::Listener) {
        Err(Strange::Foreign) => return Err(ConnectFault::Foreign),
        Err(Strange::OtherVersion(theirs)) => return Err(ConnectFault::OtherVersion { theirs }),
        Ok(hello) if hello.status != status::WELCOME => return Err(refused(hello.status)),
        Ok(hello) if hello.kind != terms.kind => return Err(ConnectFault::Relayed),
        // What the listener should have refused itself.
        Ok(hello) if hello.keyed != terms.key.is_some() => {
            return Err(if hello.keyed { ConnectFault::KeyNeeded } else { ConnectFault::KeyNotShared });
        }
        Ok(_) => {}
    }
    let Some(key) = &terms.key else { return Ok(()) };
    say_if_heard(socket, &key.prove(Role::Client, &client, &listener), deadline)?;
    let verdict = hear::<VERDICT>(socket, terms, &[], deadline)?;
    match verdict.split_first() {
        Some((&status::WELCOME, proof)) if key.verify(proof, Role::Listener, &client, &listener) => Ok(()),
        Some((&status::WELCOME, _)) | None => Err(ConnectFault::WrongKey),
        Some((&status, _)) => Err(refused(status)),
    }
}

fn refused(status: u8) -> ConnectFault {
    match status {
        status::OTHER_USER => ConnectFault::WeAreOtherUser,
        status::KEY_NEEDED => ConnectFault::KeyNeeded,
        status::NO_KEY_HERE => ConnectFault::KeyNotShared,
        status::WRONG_KEY => ConnectFault::WrongKey,
        _ => ConnectFault::Foreign,
    }
}

/// Says it; a listener that has closed may still have said why.
fn say_if_heard(socket: &OwnedFd, bytes: &[u8], deadline: Deadline) -> Result<(), ConnectFault> {
    match say(socket.as_fd(), bytes, deadline) {
        Ok(()) | Err(SendFailed::Closed) => Ok(()),
        Err(SendFailed::Os(error)) => Err(ConnectFault::Os(error)),
        Err(_) => Err(ConnectFault::TimedOut),
    }
}

fn hear<const N: usize>(
    socket: &OwnedFd,
    terms: &Terms,
    prefix: &[u8],
    deadline: Deadline,
) -> Result<[u8; N], ConnectFault> {
    let mut heard = Heard::new();
    match heard.listen(socket.as_fd(), terms.transport, N, prefix, deadline) {
        Ok(()) => Ok(heard.bytes),
        Err(NotHeard::TimedOut) => Err(ConnectFault::TimedOut),
        Err(NotHeard::Closed) => Err(ConnectFault::Closed),
        Err(NotHeard::Foreign) => Err(ConnectFault::Foreign),
        Err(NotHeard::Os(error)) => Err(ConnectFault::Os(error)),
    }
}

/// Sends all of `bytes`; over packets they are one.
fn say(socket: BorrowedFd<'_>, mut bytes: &[u8], deadline: Deadline) -> Result<(), SendFailed> {
    while !bytes.is_empty() {
        let n = socket::send_some(socket, &[IoSlice::new(bytes)], deadline)?;
        bytes = &bytes[n..];
    }
    Ok(())
}

/// What has come of a step.
#[derive(Debug)]
struct Heard<const N: usize> {
    bytes: [u8; N],
    n: usize,
}

#[derive(Debug)]
enum NotHeard {
    TimedOut,
    Closed,
    /// A packet of another length, or what begins otherwise.
    Foreign,
    Os(OsError),
}

impl<const N: usize> Heard<N> {
    fn new() -> Self {
        Self { bytes: [0; N], n: 0 }
    }

    /// Receives until there are `wanted` bytes, at most `N`, that begin with `prefix`.
    fn listen(
        &mut self,
        socket: BorrowedFd<'_>,
        transport: Transport,
        wanted: usize,
        prefix: &[u8],
        deadline: Deadline,
    ) -> Result<(), NotHeard> {
        while self.n < wanted {
            let rest = &mut self.bytes[self.n..wanted];
            self.n += match transport {
                Transport::Stream => socket::recv_some(socket, rest, deadline)?,
                Transport::Packets => match socket::recv_bytes(socket, rest, deadline)? {
                    n if n == wanted => n,
                    _ => return Err(NotHeard::Foreign),
                },
            };
            let n = self.n.min(prefix.len());
            if self.bytes[..n] != prefix[..n] {
                return Err(NotHeard::Foreign);
            }
        }
        Ok(())
    }
}

impl From<RecvFailed> for NotHeard {
    fn from(failed: RecvFailed) -> Self {
        match failed {
            RecvFailed::TimedOut => Self::TimedOut,
            RecvFailed::Closed => Self::Closed,
            RecvFailed::Os(error) => Self::Os(error),
            // Longer than the step.
            _ => Self::Foreign,
        }
    }
}
