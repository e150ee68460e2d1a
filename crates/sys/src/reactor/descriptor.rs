//! Watches of descriptors: one `epoll` for all, armed for one event at a time.
//!
//! Invariants: no waker is dropped while the table is locked; who has a watch keeps its descriptor open, so a number in the table is that of an open descriptor, and
//! the table and the `epoll` agree while the table is not locked.

use std::collections::HashMap;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::fork::{Epoch, epoch};
use crate::per_process::PerProcess;
use crate::poll::Interest;
use crate::{OsError, Result};

/// A watch of a descriptor, which it keeps open.
#[derive(Debug)]
pub struct Descriptor {
    fd: Arc<OwnedFd>,
    interest: Interest,
    id: u64,
    epoch: Epoch,
    is_listed: bool,
}

impl Descriptor {
    /// A watch that is not armed yet.
    pub fn new(fd: Arc<OwnedFd>, interest: Interest) -> Self {
        Self { fd, interest, id: 0, epoch: epoch(), is_listed: false }
    }

    /// Wakes `waker` once when the descriptor is ready, at once if it is so already. A later call takes the place of an
    /// earlier one.
    ///
    /// # Errors
    /// Descriptors, memory or threads have run out.
    pub fn arm(&mut self, waker: &Waker) -> Result<()> {
        let reactor = reactor()?;
        if self.epoch != epoch() {
            // It was listed in the parent.
            (self.is_listed, self.epoch) = (false, epoch());
        }
        let mut table = reactor.table();
        if !self.is_listed {
            table.next_id += 1;
            self.id = table.next_id;
        }
        let number = self.fd.as_raw_fd();
        let listed = table.listed.entry(number).or_insert_with(|| Listed::new(&self.fd));
        let before = listed.forget(self.id);
        listed.waiting.push(Waiting { id: self.id, interest: self.interest, waker: waker.clone() });
        let armed = reactor.arm(listed);
        if armed.is_ok() && !mem::replace(&mut self.is_listed, true) {
            listed.n_watches += 1;
        }
        let unlisted = if listed.n_watches == 0 { table.listed.remove(&number) } else { None };
        // The last reference to a task can be in its waker, and a watch in the task.
        drop(table);
        drop((before, unlisted));
        armed
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // A forked child shares its parent's `epoll`, and must not touch it.
        if !self.is_listed || self.epoch != epoch() {
            return;
        }
        let Ok(reactor) = reactor() else { return };
        let mut table = reactor.table();
        let number = self.fd.as_raw_fd();
        let Some(listed) = table.listed.get_mut(&number) else { return };
        let waiting = listed.forget(self.id);
        listed.n_watches -= 1;
        let unlisted = if listed.n_watches == 0 {
            // What is open can be removed.
            let _ = epoll::delete(&reactor.epoll, &self.fd);
            table.listed.remove(&number)
        } else {
            None
        };
        drop(table);
        drop((waiting, unlisted));
    }
}

#[derive(Debug)]
struct Reactor {
    epoll: OwnedFd,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    listed: HashMap<RawFd, Listed>,
    next_id: u64,
}

/// A descriptor that is in the `epoll`.
#[derive(Debug)]
struct Listed {
    fd: Arc<OwnedFd>,
    n_watches: usize,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    interest: Interest,
    waker: Waker,
}

impl Listed {
    fn new(fd: &Arc<OwnedFd>) -> Self {
        Self { fd: Arc::clone(fd), n_watches: 0, waiting: Vec::new() }
    }

    fn forget(&mut self, id: u64) -> Option<Waiting> {
        let index = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(index))
    }
}

/// The one of this process, and its thread.
fn reactor() -> Result<&'static Reactor> {
    static REACTOR: PerProcess<Mutex<Option<&'static Reactor>>> = PerProcess::new();
    let mut reactor = REACTOR.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reactor) = *reactor {
        return Ok(reactor);
    }
    let epoll =
        epoll::create(CreateFlags::CLOEXEC).map_err(|errno| OsError::new("creating an epoll", errno))?;
    let new = Arc::new(Reactor { epoll, table: Mutex::default() });
    let runs = Arc::clone(&new);
    let thread = thread::Builder::new().name("procession-epoll".into()).stack_size(STACK);
    thread
        .spawn(move || runs.run())
        .map_err(|error| OsError::new("starting the thread of the reactor", error))?;
    // It never ends.
    Ok(reactor.insert(Box::leak(Box::new(new))))
}

/// How many events are taken at a time.
const EVENTS: usize = 64;
/// Enough for the wakers of most runtimes.
const STACK: usize = 512 << 10;

impl Reactor {
    /// Asks for one event for all who wait.
    fn arm(&self, listed: &Listed) -> Result<()> {
        let mut flags = EventFlags::ONESHOT;
        listed.waiting.iter().for_each(|waiting| flags |= flags_of(waiting.interest));
        let data = EventData::new_u64(listed.fd.as_raw_fd() as u64);
        let armed = match listed.n_watches {
            0 => epoll::add(&self.epoll, &listed.fd, data, flags),
            _ => epoll::modify(&self.epoll, &listed.fd, data, flags),
        };
        armed.map_err(|errno| OsError::new("watching a descriptor", errno))
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                // Nothing else can happen to an `epoll` that is open.
                Err(_) => return,
            }
            for event in events.drain(..) {
                // By value: the layout of an event is packed.
                let (data, flags) = (event.data, event.flags);
                let woken = self.fired(data.u64() as RawFd, flags);
                woken.into_iter().for_each(|waiting| super::wake(waiting.waker));
            }
        }
    }

    /// Those who waited for this; the others go on waiting.
    fn fired(&self, number: RawFd, flags: EventFlags) -> Vec<Waiting> {
        let mut table = self.table();
        let Some(listed) = table.listed.get_mut(&number) else { return Vec::new() };
        let over = EventFlags::HUP | EventFlags::ERR;
        let is_ready = |waiting: &Waiting| flags.intersects(flags_of(waiting.interest) | over);
        let (ready, waiting): (Vec<_>, _) = mem::take(&mut listed.waiting).into_iter().partition(is_ready);
        listed.waiting = waiting;
        if !listed.waiting.is_empty() && self.arm(listed).is_err() {
            // They look for themselves, and find out.
            return ready.into_iter().chain(mem::take(&mut listed.waiting)).collect();
        }
        ready
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flags_of(interest: Interest) -> EventFlags {
    match interest {
        Interest::Readable => EventFlags::IN,
        Interest::Writable => EventFlags::OUT,
        Interest::Both => EventFlags::IN | EventFlags::OUT,
        Interest::HangUp => EventFlags::RDHUP,
    }
}
