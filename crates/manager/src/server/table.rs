//! The objects of a server.

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use procession_codec::Descriptor;
use procession_pipe::Connection;
use procession_process::catch_panic;

use crate::register::Making;
use crate::server::barrier::Barrier;
use crate::server::condvar::Condvar;
use crate::server::crew::Crew;
use crate::server::dict::Dict;
use crate::server::doors::Doors;
use crate::server::event::Event;
use crate::server::frozen::Frozen;
use crate::server::jobs::Jobs;
use crate::server::leases::{Leases, READERS};
use crate::server::list::List;
use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::server::queue::Queue;
use crate::server::served::Remote;
use crate::server::value::Value;
use crate::wire::{Answer, Ask, CondvarAsk, Item, ObjectId, Recipe, SERVER};

type Place = Arc<Mutex<Box<dyn Object>>>;

/// The objects, and who uses them. Clone: all clones are one.
#[derive(Clone)]
pub(super) struct Table(Arc<Inner>);

struct Inner {
    objects: RwLock<HashMap<ObjectId, Place>>,
    numbers: AtomicU64,
    n_clients: AtomicUsize,
    doors: Doors,
    crew: Crew,
}

impl Table {
    /// With nothing in it, and the thread at its doors.
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let (doors, entrance) = Doors::new()?;
        let objects = RwLock::default();
        let inner = Inner {
            objects,
            numbers: AtomicU64::new(1),
            n_clients: AtomicUsize::new(0),
            doors,
            crew: Crew::default(),
        };
        let table = Self(Arc::new(inner));
        entrance.open(table.clone())?;
        Ok(table)
    }

    /// A client has come.
    pub(super) fn enter(&self) {
        self.0.n_clients.fetch_add(1, Ordering::Relaxed);
    }

    /// A client is gone.
    pub(super) fn leave(&self, client: u64) {
        self.0.n_clients.fetch_sub(1, Ordering::Relaxed);
        let places: Vec<Place> = self.objects().values().cloned().collect();
        for place in places {
            Self::with(&place, |object, answers| object.forget(client, answers));
        }
    }

    /// Does what is asked. False: the server is to end.
    pub(super) fn handle(&self, caller: Caller, id: ObjectId, ask: Ask) -> bool {
        if id == SERVER {
            return self.handle_own(caller, ask);
        }
        let place = self.objects().get(&id).cloned();
        let Some(place) = place else {
            caller.answer(Answer::Refused("the server has no such object".into()));
            return true;
        };
        match ask {
            Ask::Freeze => self.freeze(&place, caller),
            Ask::Condvar(CondvarAsk::Wait { mutex, lease, item }) => {
                self.wait(&place, caller, mutex, lease, item);
            }
            ask => Self::ask(&place, caller, ask),
        }
        true
    }

    fn ask(place: &Place, caller: Caller, ask: Ask) {
        Self::with(place, |object, answers| match ask {
            Ask::Cancel(id) => {
                if object.cancel(caller.client.number(), id, answers) {
                    answers.push((Caller { client: caller.client, id }, Answer::Cancelled));
                }
            }
            ask => object.ask(caller, ask, answers),
        });
    }

    /// Makes an object of what another one has now.
    fn freeze(&self, place: &Place, caller: Caller) {
        let rows = place.lock().unwrap_or_else(PoisonError::into_inner).rows();
        caller.answer(match rows.map(|rows| self.put(Box::new(Frozen::new(rows)))) {
            Some(kept) => made(kept),
            None => not_of_this_kind(),
        });
    }

    /// Waits at a condition variable, and then gives a mutex back: whoever has that from now on finds who waits.
    fn wait(&self, place: &Place, caller: Caller, mutex: ObjectId, lease: u64, item: Option<Item>) {
        let (client, id) = (Arc::clone(&caller.client), caller.id);
        Self::with(place, |object, answers| {
            let nothing = CondvarAsk::Wait { mutex, lease, item: None };
            object.ask(caller, Ask::Condvar(nothing), answers);
        });
        let mutex = self.objects().get(&mutex).cloned();
        let mut is_given = false;
        if let Some(mutex) = mutex {
            Self::with(&mutex, |object, answers| {
                is_given = object.give(client.number(), lease, item, answers);
            });
        }
        if !is_given {
            Self::with(place, |object, answers| {
                if object.cancel(client.number(), id, answers) {
                    let why = "the mutex was not lent to this process".to_owned();
                    answers.push((Caller { client, id }, Answer::Refused(why)));
                }
            });
        }
    }

    fn handle_own(&self, caller: Caller, ask: Ask) -> bool {
        let answer = match ask {
            Ask::Make(Recipe::Remote { token, argument, .. }) => {
                return self.construct(caller, &token, argument);
            }
            Ask::Make(recipe) => made(self.make(recipe)),
            Ask::Count => self.count(),
            Ask::Shutdown => {
                caller.answer(Answer::Done);
                return false;
            }
            _ => Answer::Refused("the server itself does nothing of the kind".into()),
        };
        caller.answer(answer);
        true
    }

    fn count(&self) -> Answer {
        let places: Vec<Place> = self.objects().values().cloned().collect();
        let waiting = |place: &Place| place.lock().unwrap_or_else(PoisonError::into_inner).n_waiting() as u64;
        Answer::Counted {
            objects: places.len() as u64,
            clients: self.0.n_clients.load(Ordering::Relaxed) as u64,
            waiting: places.iter().map(waiting).sum(),
        }
    }

    /// Makes an object, and its ticket.
    fn make(&self, recipe: Recipe) -> Result<(ObjectId, Descriptor), Box<dyn Error>> {
        let object: Box<dyn Object> = match recipe {
            Recipe::Dict | Recipe::Set | Recipe::Namespace => Box::new(Dict::default()),
            Recipe::List => Box::new(List::default()),
            Recipe::Array(items) => Box::new(List::fixed(items)),
            Recipe::Value(item) => Box::new(Value::new(item)),
            Recipe::Queue(most) => Box::new(Queue::new(most)),
            Recipe::Event => Box::new(Event::default()),
            Recipe::Mutex(item) => Box::new(Leases::new(1, Some(item))),
            Recipe::Semaphore(n) => Box::new(Leases::new(n, None)),
            Recipe::RwLock(item) => Box::new(Leases::new(READERS, Some(item))),
            Recipe::JobQueue { most, deliveries, retries } => Box::new(Jobs::new(most, deliveries, retries)),
            Recipe::Condvar => Box::new(Condvar::default()),
            Recipe::Barrier(parties) => Box::new(Barrier::new(parties)),
            Recipe::Remote { .. } => return Err("it takes a thread of its own".into()),
        };
        self.put(object)
    }

    /// Makes an object by a function of the user's. True: the server goes on.
    fn construct(&self, caller: Caller, token: &[u8], argument: Item) -> bool {
        let function = if caller.client.is_starter() { Making::resolve(token) } else { None };
        let Some(function) = function else {
            caller.answer(Answer::NotSameImage);
            return true;
        };
        let table = self.clone();
        self.0.crew.run(move || {
            let answer = match catch_panic(|| function(argument)) {
                Err(panic) => Answer::Panicked(panic),
                Ok(Err(why)) => Answer::Refused(why),
                Ok(Ok(object)) => made(table.put(Box::new(Remote::new(object, table.0.crew.clone())))),
            };
            caller.answer(answer);
        });
        true
    }

    /// Keeps an object, and makes its ticket.
    fn put(&self, object: Box<dyn Object>) -> Result<(ObjectId, Descriptor), Box<dyn Error>> {
        let (door, ticket) = Connection::pair()?;
        let id = ObjectId(self.0.numbers.fetch_add(1, Ordering::Relaxed));
        let mut objects = self.0.objects.write().unwrap_or_else(PoisonError::into_inner);
        objects.insert(id, Arc::new(Mutex::new(object)));
        drop(objects);
        self.0.doors.add(id, door.with_limit(0));
        Ok((id, ticket.into_fd()?.into()))
    }

    /// Drops an object.
    pub(super) fn remove(&self, id: ObjectId) {
        let removed = self.0.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        // Not before the lock is free: it may hold much.
        drop(removed);
    }

    fn objects(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ObjectId, Place>> {
        self.0.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on an object, and then sends the answers.
    fn with(place: &Place, work: impl FnOnce(&mut dyn Object, &mut Answers)) {
        let mut answers = Answers::new();
        work(&mut **place.lock().unwrap_or_else(PoisonError::into_inner), &mut answers);
        for (caller, answer) in answers {
            caller.answer(answer);
        }
    }
}

/// What is said of an object that was to be made.
fn made(made: Result<(ObjectId, Descriptor), Box<dyn Error>>) -> Answer {
    match made {
        Ok((object, ticket)) => Answer::Made(object, ticket),
        Err(error) => Answer::Refused(format!("the object was not made: {error}")),
    }
}
