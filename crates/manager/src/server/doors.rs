//! The doors of all objects, and the thread that looks after them.
//!
//! Each look is at all doors at once, so an object that comes or goes costs the more the more objects there are; calls cost
//! nothing here.
//!
//! Invariant: an object is dropped when, and only when, nobody holds a ticket to it. Held by `tests/handles.rs`.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use procession_pipe::{Connection, Receiver, RecvError, Sender, Waitable, channel, wait};

use crate::server::table::Table;
use crate::wire::ObjectId;

type Door = (ObjectId, Connection);

/// Where doors of new objects go.
#[derive(Debug)]
pub(super) struct Doors {
    new: Arc<Mutex<Vec<Door>>>,
    wake: Sender<()>,
}

/// Where they come from.
#[derive(Debug)]
pub(super) struct Entrance {
    new: Arc<Mutex<Vec<Door>>>,
    woken: Receiver<()>,
}

impl Doors {
    pub(super) fn new() -> Result<(Self, Entrance), Box<dyn Error>> {
        let (wake, woken) = channel()?;
        let new = Arc::new(Mutex::default());
        Ok((Self { new: Arc::clone(&new), wake }, Entrance { new, woken }))
    }

    /// A new object has this door.
    pub(super) fn add(&self, id: ObjectId, door: Connection) {
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push((id, door));
        // If it is full, it wakes already.
        let _ = self.wake.try_send(&());
    }
}

impl Entrance {
    /// Starts the thread.
    pub(super) fn open(self, table: Table) -> Result<(), Box<dyn Error>> {
        let thread = thread::Builder::new().name("procession-doors".into());
        thread.spawn(move || self.attend(&table))?;
        Ok(())
    }

    fn attend(self, table: &Table) {
        let mut doors: Vec<Door> = Vec::new();
        loop {
            let mut things: Vec<&dyn Waitable> = vec![&self.woken];
            things.extend(doors.iter().map(|(_, door)| door as &dyn Waitable));
            // Memory has run out: to go on looking would be all that could be done.
            let Ok(ready) = wait(&things, None) else { std::process::exit(super::FAILED) };
            let mut closed: Vec<usize> = Vec::new();
            for at in ready {
                match at.checked_sub(1) {
                    None => while self.woken.try_recv().is_ok() {},
                    Some(at) if is_closed(&doors[at].1) => closed.push(at),
                    Some(_) => {}
                }
            }
            for at in closed.into_iter().rev() {
                let (id, door) = doors.swap_remove(at);
                drop(door);
                table.remove(id);
            }
            doors.append(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Whether nobody holds the other end any more. Nothing is said here: who does it all the same is not heard.
fn is_closed(door: &Connection) -> bool {
    match door.try_recv_bytes() {
        Ok(_) | Err(RecvError::Empty | RecvError::TooLarge { .. } | RecvError::DescriptorsLost) => false,
        Err(_) => true,
    }
}
