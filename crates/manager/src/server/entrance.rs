//! The entrance, where the processes come in that did not start the server.

use std::error::Error;
use std::thread;
use std::time::Duration;

use procession_pipe::{AcceptError, Duplex, Listener};

use crate::server::client;
use crate::server::table::Table;
use crate::wire::{Answer, Ask, Reply, Request, SERVER, ServerId, VERSION};

/// How long one that was let in may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the entrance waits when no descriptor is left for one more.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts the thread.
pub(super) fn open(id: ServerId, table: &Table) -> Result<(), Box<dyn Error>> {
    let listener = Listener::builder().key(id.key()).bind(id.address())?;
    let table = table.clone();
    let thread = thread::Builder::new().name("procession-entry".into());
    thread.spawn(move || {
        loop {
            match listener.accept() {
                Ok(connection) => welcome(connection.into_duplex(), table.clone()),
                Err(AcceptError::Closed) => return,
                Err(_) => thread::sleep(PAUSE),
            }
        }
    })?;
    Ok(())
}

/// Serves a new client in a thread of its own; without one it hears that the server is gone.
fn welcome(end: Duplex<Reply, Request>, table: Table) {
    let thread = thread::Builder::new().name("procession-client".into());
    let _ = thread.spawn(move || {
        if is_known(&end) {
            client::serve(end, &table, false);
        }
    });
}

/// Whether it speaks as we do. Anything else than a greeting is the end.
fn is_known(end: &Duplex<Reply, Request>) -> bool {
    let Ok(Request { id, object: SERVER, ask: Ask::Hello(version) }) = end.recv_timeout(PATIENCE) else {
        return false;
    };
    let answer = match version {
        VERSION => Answer::Done,
        other => Answer::Refused(format!("the server speaks version {VERSION}, and not {other}")),
    };
    end.send_timeout(&Reply { id, answer }, PATIENCE).is_ok() && version == VERSION
}
