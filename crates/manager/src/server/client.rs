//! One client: its connection, and the loop that serves it.
//!
//! Invariant: who does not read its answers costs others at most [`PATIENCE`], once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use procession_pipe::{Connection, Duplex, Peer, SendError};

use crate::server::object::Caller;
use crate::server::table::Table;
use crate::wire::{Answer, Reply, Request};

/// How long a client may leave an answer unread before it is cut off.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many requests of one client may be without an answer.
const MOST_OPEN: usize = 4096;

#[derive(Debug)]
pub(super) struct Client {
    number: u64,
    /// Its process, as the kernel says; 0 if it is not known here.
    pid: u32,
    end: Duplex<Reply, Request>,
    /// Whether it started the server, so that functions are taken from it.
    is_starter: bool,
    /// Requests without an answer.
    n_open: AtomicUsize,
    is_cut_off: AtomicBool,
}

impl Client {
    fn new(end: Duplex<Reply, Request>, is_starter: bool) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::from(end);
        let pid = match connection.peer() {
            Some(Peer::Local { pid, .. }) => pid,
            _ => 0,
        };
        let (end, n_open) = (connection.into_duplex(), AtomicUsize::new(0));
        Arc::new(Self { number, pid, end, is_starter, n_open, is_cut_off: AtomicBool::new(false) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Never the same twice in a server.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_starter(&self) -> bool {
        self.is_starter
    }

    /// Sends an answer.
    pub(super) fn reply(&self, reply: Reply) {
        self.n_open.fetch_sub(1, Ordering::Relaxed);
        if self.is_cut_off.load(Ordering::Relaxed) {
            return;
        }
        let id = reply.id;
        let refused = match self.end.send_timeout(&reply, PATIENCE) {
            Ok(()) => return,
            Err(SendError::TooLarge { len, limit }) => {
                format!("the answer has {len} bytes, and a message at most {limit}")
            }
            Err(SendError::Encode(e)) => format!("the answer does not encode: {e}"),
            Err(SendError::Os(e)) => format!("the answer was not sent: {e}"),
            Err(_) => return self.cut_off(),
        };
        let refused = Reply { id, answer: Answer::Refused(refused) };
        if self.end.send_timeout(&refused, PATIENCE).is_err() {
            self.cut_off();
        }
    }

    /// Says nothing more to it. Its thread hears of it with its next request, or its end.
    fn cut_off(&self) {
        self.is_cut_off.store(true, Ordering::Relaxed);
    }
}

/// Serves a client to its end.
pub(super) fn serve(end: Duplex<Reply, Request>, table: &Table, is_starter: bool) {
    let client = Client::new(end, is_starter);
    table.enter();
    // Anything else than a request is the end: who sends that is no client of ours.
    while let Ok(Request { id, object, ask }) = client.end.recv() {
        if client.is_cut_off.load(Ordering::Relaxed) {
            break;
        }
        let caller = Caller { client: Arc::clone(&client), id };
        if id != 0 && client.n_open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN {
            caller.answer(Answer::Refused(format!("{MOST_OPEN} requests of this process wait already")));
            continue;
        }
        if !table.handle(caller, object, ask) {
            break;
        }
    }
    table.leave(client.number);
}
