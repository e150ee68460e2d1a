//! The server: what runs in the process of a manager.
//!
//! | thread | does |
//! |---|---|
//! | the task's | serves the process that started it; its end is the server's |
//! | one for each other client | takes a request, carries it out, answers it, and so on |
//! | one at the entrance | lets clients in |
//! | one for each call of an object of a trait | runs the method |
//! | one at the doors | drops objects whose last ticket is gone |
//!
//! A request that has to wait is parked in its object, not its thread: the next request of that client is taken meanwhile.
//! Whoever makes it possible answers it.
//!
//! Invariants: a request gets one answer; an object changes under its lock only; answers are sent when no lock is held; no
//! client can keep another one waiting, but by its use of an object. Held by `tests/dict.rs` and `tests/handles.rs`.

mod barrier;
mod client;
mod condvar;
mod crew;
mod dict;
mod doors;
mod entrance;
mod event;
mod frozen;
mod jobs;
mod leases;
mod list;
mod object;
mod queue;
mod served;
mod table;
mod value;

use procession_pipe::Duplex;
use serde::{Deserialize, Serialize};

use crate::wire::{Reply, Request, ServerId};
use table::Table;

/// What a server is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Desk {
    pub(crate) id: ServerId,
    /// To the process that starts it.
    pub(crate) end: Duplex<Reply, Request>,
}

/// Runs in the server until it is told to end, or whoever started it is gone.
pub(crate) fn run(desk: Desk) {
    let opened = Table::new().and_then(|table| entrance::open(desk.id, &table).map(|()| table));
    match opened {
        Ok(table) => client::serve(desk.end, &table, true),
        // Whoever started it sees it end with its first request not answered.
        Err(_) => std::process::exit(FAILED),
    }
}

/// Exit code of a server without threads or descriptors.
const FAILED: i32 = 1;
