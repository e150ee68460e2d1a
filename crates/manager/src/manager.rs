//! The manager: the server's process, in the hands of who started it.
//!
//! Invariants: a server ends with its manager, however that ends, within a bound; nothing of it is left behind. Held by
//! `tests/lifetime.rs` and `tests/leaks.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_codec::Message;
use procession_pipe::pipe;
use procession_process::{Builder, Exit, Process};

use crate::dict::Dict;
use crate::error::{CallError, StartError};
use crate::event::Event;
use crate::list::List;
use crate::mutex::Mutex;
use crate::queue::Queue;
use crate::raw::{Raw, unexpected};
use crate::semaphore::Semaphore;
use crate::server::{self, Desk};
use crate::session::Session;
use crate::set::Set;
use crate::value::Value;
use crate::wire::{Answer, Ask, Load, Recipe, SERVER, ServerId};

/// How long a dropped manager waits for its server to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How long it waits after each signal.
const AFTER_SIGNAL: Duration = Duration::from_secs(1);

/// A process that keeps objects, which all processes use through proxies: what Python calls a `SyncManager`.
///
/// Its methods make objects, each with one proxy. An object lives as long as there is a proxy to it, in any process, in a
/// message that is on its way, or in another object; the last one to go, also by SIGKILL, takes it along. Two objects that
/// hold proxies to each other stay until the server ends.
///
/// Dropping it ends the server: asked, a second later by `SIGTERM`, then by `SIGKILL`. So do the end of this process,
/// however it comes, and [`shutdown`](Self::shutdown). Proxies then answer [`CallError::ServerGone`]. The server ignores
/// `SIGINT`: Ctrl-C reaches this process, which decides.
///
/// Send and Sync; not Clone, and not sent to other processes: send proxies. In a forked child it does nothing.
///
/// # Examples
/// ```
/// use procession_manager::{Dict, Manager};
///
/// fn count(words: (String, Dict<String, u32>)) -> Result<(), String> {
///     let (text, counts) = words;
///     for word in text.split(' ') {
///         counts.update(word.to_owned(), |n, by| *n += by, 1).map_err(|e| e.to_string())?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = Manager::start()?;
/// let counts = manager.dict::<String, u32>()?;
/// let one = procession_process::spawn(count, ("a b a".to_owned(), counts.clone()))?;
/// let other = procession_process::spawn(count, ("c a".to_owned(), counts.clone()))?;
/// one.join()??;
/// other.join()??;
/// assert_eq!(counts.get("a")?, Some(3));
/// assert_eq!(counts.len()?, 3);
/// # Ok(()) }
/// ```
#[doc(alias = "SyncManager")]
pub struct Manager {
    session: Arc<Session>,
    process: Arc<Process>,
}

/// What a server has, of [`Manager::counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Objects that some proxy holds.
    pub objects: u64,
    /// Processes that use them; the one that started the server is among them.
    pub clients: u64,
}

impl Manager {
    /// Starts a server, named `manager`.
    ///
    /// Blocks until it answers: a few milliseconds.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        Self::start_by(Process::builder().name("manager"))
    }

    /// [`start`](Self::start), as a process with these settings: a name, an environment, limits, a start method. It is a
    /// daemon and ignores `SIGINT`, whatever they say of that.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_manager::Manager;
    /// use procession_process::Process;
    ///
    /// let manager = Manager::start_by(Process::builder().name("scores").niceness(5))?;
    /// assert_eq!(manager.name(), "scores");
    /// # Ok(()) }
    /// ```
    pub fn start_by(settings: Builder) -> Result<Self, StartError> {
        let id = ServerId::random()?;
        let (ours, theirs) = pipe()?;
        let settings = settings.daemon(true).ignore_interrupt(true);
        let process = Arc::new(settings.spawn(server::run, Desk { id, end: theirs })?);
        let session = Session::with(id, ours);
        session.set_process(Arc::clone(&process));
        let manager = Self { session, process };
        manager.counts()?;
        Ok(manager)
    }

    /// The name of the server's process.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The number of the server's process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A new dictionary, with nothing in it.
    ///
    /// # Errors
    /// The server is gone, or has no descriptors left.
    pub fn dict<K: Message, V: Message>(&self) -> Result<Dict<K, V>, CallError> {
        self.make(Recipe::Dict).map(Dict::from_raw)
    }

    /// A new set, with nothing in it.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn set<T: Message>(&self) -> Result<Set<T>, CallError> {
        self.make(Recipe::Set).map(Set::from_raw)
    }

    /// A new list, with nothing in it.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn list<T: Message>(&self) -> Result<List<T>, CallError> {
        self.make(Recipe::List).map(List::from_raw)
    }

    /// A new value.
    ///
    /// # Errors
    /// As [`dict`](Self::dict), or it does not encode.
    pub fn value<T: Message>(&self, value: T) -> Result<Value<T>, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        Raw::make(self.session()?, Recipe::Value(value), load).map(Value::from_raw)
    }

    /// A new queue of up to `n` items.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    ///
    /// # Panics
    /// `n` is 0.
    pub fn queue<T: Message>(&self, n: u64) -> Result<Queue<T>, CallError> {
        assert!(n > 0, "a queue without room");
        self.make(Recipe::Queue(n)).map(Queue::from_raw)
    }

    /// A new mutex that guards `value`.
    ///
    /// # Errors
    /// As [`dict`](Self::dict), or it does not encode.
    pub fn mutex<T: Message>(&self, value: T) -> Result<Mutex<T>, CallError> {
        let mut load = Load::default();
        let value = load.pack(&value)?;
        Raw::make(self.session()?, Recipe::Mutex(value), load).map(Mutex::from_raw)
    }

    /// A new semaphore with `n` permits.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn semaphore(&self, n: u64) -> Result<Semaphore, CallError> {
        self.make(Recipe::Semaphore(n)).map(Semaphore::from_raw)
    }

    /// A new event, not set.
    ///
    /// # Errors
    /// As [`dict`](Self::dict).
    pub fn event(&self) -> Result<Event, CallError> {
        self.make(Recipe::Event).map(Event::from_raw)
    }

    /// What the server has now.
    ///
    /// # Errors
    /// The server is gone.
    #[doc(alias = "number_of_objects")]
    pub fn counts(&self) -> Result<Counts, CallError> {
        match self.session()?.call(SERVER, Ask::Count, Load::default(), None)? {
            Answer::Counted { objects, clients } => Ok(Counts { objects, clients }),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the server, and says how it ended: asks it, and waits for `grace`; then sends it `SIGTERM`, and a second later
    /// `SIGKILL`. Does nothing to one that has ended. `None`: the kernel does not end it.
    ///
    /// Blocks for at most `grace` and some seconds. Requests that wait answer [`CallError::ServerGone`].
    pub fn shutdown(&self, grace: Duration) -> Option<Exit> {
        if !self.session.is_ours() {
            return None;
        }
        if self.process.is_alive() {
            self.session.tell(SERVER, Ask::Shutdown, Load::default());
        }
        let ended = |limit| self.process.wait_timeout(limit).ok().flatten();
        let signals = [Process::terminate, Process::kill];
        ended(grace).or_else(|| {
            signals.iter().find_map(|signal| {
                // A process that has ended needs none.
                let _ = signal(&self.process);
                ended(AFTER_SIGNAL)
            })
        })
    }

    fn make(&self, recipe: Recipe) -> Result<Raw, CallError> {
        Raw::make(self.session()?, recipe, Load::default())
    }

    pub(crate) fn session(&self) -> Result<&Arc<Session>, CallError> {
        if self.session.is_ours() {
            return Ok(&self.session);
        }
        Err(CallError::NotConnected("the manager belongs to the process that started it".into()))
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.shutdown(GRACE);
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("process", &self.process).finish_non_exhaustive()
    }
}
