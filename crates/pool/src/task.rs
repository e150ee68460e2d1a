//! The handle of one submitted task.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;
use procession_sys::event::Event;

use crate::collector::Shared;
use crate::error::{TaskFailed, TaskId};
use crate::notice::Notice;
use crate::sink::Sink;

/// A task given to a pool, and the place its value of type `R` arrives at.
///
/// Dropping it does not stop the task; its value is thrown away.
#[doc(alias = "AsyncResult")]
#[must_use = "the value of the task arrives here"]
pub struct Task<R> {
    sink: Arc<Sink>,
    id: TaskId,
    pool: Weak<Shared>,
    /// Notified when the outcome is there: for who waits for descriptors.
    done: OnceLock<Option<Arc<Event>>>,
    value: PhantomData<fn() -> R>,
}

impl<R> Task<R> {
    pub(crate) fn new(sink: Arc<Sink>, pool: &Arc<Shared>, number: u64) -> Self {
        let id = TaskId { pool: Arc::clone(&pool.name), number };
        Self { sink, id, pool: Arc::downgrade(pool), done: OnceLock::new(), value: PhantomData }
    }

    /// The failure that waits here.
    pub(crate) fn failure(&self) -> Option<TaskFailed> {
        self.sink.failure(0)
    }

    pub(crate) fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }

    /// What is notified when the outcome is there; `None` if descriptors have run out.
    pub(crate) fn event(&self) -> Option<&Event> {
        let event = self.done.get_or_init(|| {
            let event = Arc::new(Event::new().ok()?);
            let notified = Arc::clone(&event);
            let notice = Notice::Call(Box::new(move || notified.notify()));
            if let Err(notice) = self.sink.watch(0, notice) {
                notice.deliver();
            }
            Some(event)
        });
        event.as_deref()
    }

    /// Where wakers go. A pool that is gone has no use for it: every task has its outcome.
    #[cfg(feature = "async")]
    pub(crate) fn outbox(&self) -> Arc<crate::notice::Outbox> {
        self.pool.upgrade().map(|pool| Arc::clone(&pool.outbox)).unwrap_or_default()
    }

    /// A handle of the same task, whatever its value is.
    pub(crate) fn again(&self) -> Task<()> {
        let (sink, id, pool) = (Arc::clone(&self.sink), self.id.clone(), Weak::clone(&self.pool));
        Task { sink, id, pool, done: OnceLock::new(), value: PhantomData }
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.pool.upgrade()
    }

    /// Which task this is, as errors name it.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Whether the outcome is there, so that [`get`](Self::get) would not wait.
    #[doc(alias = "ready")]
    pub fn is_ready(&self) -> bool {
        self.sink.has(0)
    }

    /// Ends the task, unless it is done: whether its outcome is now, or will be, [`TaskFailed::Cancelled`]. `false`: it has
    /// another outcome.
    ///
    /// A task that has not begun never will, and has its outcome at once. One that runs loses its worker: the process is
    /// killed and replaced, and the outcome comes once it has ended, so that nothing the task does can come later. Other
    /// tasks are not affected. Does not wait; [`get`](Self::get) does.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{Pool, TaskFailed};
    ///
    /// let pool = Pool::new(1)?;
    /// let endless = pool.submit(|()| -> u8 { loop { std::thread::park() } }, ())?;
    /// assert!(endless.cancel());
    /// assert!(matches!(endless.get(), Err(TaskFailed::Cancelled { .. })));
    /// assert_eq!(pool.submit(|n: u8| n, 7)?.get()?, 7);
    /// # Ok(()) }
    /// ```
    pub fn cancel(&self) -> bool {
        self.pool.upgrade().map_or_else(|| self.sink.is_cancelled(), |pool| pool.cancel(&self.sink))
    }
}

impl<R: Message> Task<R> {
    /// Waits for the value.
    ///
    /// Errors: see [`TaskFailed`]; every way out of a task is one of them, the death of its worker too, so this waits
    /// no longer than the task runs. [`TaskFailed::AlreadyTaken`] if another form of `get` gave the outcome.
    pub fn get(self) -> Result<R, TaskFailed> {
        let outcome = self.get_by(Deadline::NEVER)?;
        outcome.ok_or_else(|| TaskFailed::AlreadyTaken { task: self.id.clone() })
    }

    /// The value, if the task is done: else `None`. The outcome is given once: afterwards this answers `None`.
    pub fn try_get(&self) -> Result<Option<R>, TaskFailed> {
        self.get_by(Deadline::now())
    }

    /// [`get`](Self::get) for at most `timeout`; `None` if the task is not done by then, or as soon as another call has
    /// taken the outcome.
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<R>, TaskFailed> {
        self.get_by(Deadline::after(timeout))
    }

    /// [`get`](Self::get) until `instant`; `None` if the task is not done by then, or as soon as another call has taken
    /// the outcome.
    pub fn get_until(&self, instant: Instant) -> Result<Option<R>, TaskFailed> {
        self.get_by(Deadline::at(instant))
    }

    fn get_by(&self, deadline: Deadline) -> Result<Option<R>, TaskFailed> {
        let taken = match self.pool.upgrade() {
            Some(pool) if !deadline.has_passed() => pool.take(&self.sink, Some(0), deadline),
            _ => self.sink.take(Some(0), deadline),
        };
        let Some((_, outcome)) = taken else { return Ok(None) };
        outcome?.decode(&self.id.pool).map(Some)
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).field("ready", &self.is_ready()).finish()
    }
}
