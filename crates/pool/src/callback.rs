//! Functions that are called when a task is done.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::{DecodeError, Message};
use procession_sys::{Deadline, OsError};

use crate::error::{SubmitError, TaskFailed, TaskId};
use crate::herald::Herald;
use crate::notice::Notice;
use crate::pool::Pool;
use crate::rules::TaskOptions;
use crate::task::Task;

impl Pool {
    /// [`submit`](Self::submit), and [`on_done`](Task::on_done) with what it gives: `callback` is called with the outcome.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    /// use std::sync::mpsc;
    ///
    /// let (sender, results) = mpsc::channel();
    /// let pool = Pool::new(1)?;
    /// pool.submit_then(f64::sqrt, 4.0, move |root| match root {
    ///     Ok(root) => sender.send(root).unwrap(),
    ///     Err(failure) => eprintln!("{failure}"),
    /// })?;
    /// assert_eq!(results.recv()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "callback")]
    #[doc(alias = "error_callback")]
    pub fn submit_then<A: Message, R: Message + 'static>(
        &self,
        task: fn(A) -> R,
        argument: A,
        callback: impl FnOnce(Result<R, TaskFailed>) + Send + 'static,
    ) -> Result<Callback, SubmitError> {
        // First of all what may fail: a task that was not accepted is not to run.
        let herald = &self.shared().herald;
        herald.expect().map_err(SubmitError::Os)?;
        match self.submit_with(TaskOptions::new(), task, argument) {
            Ok(task) => Ok(task.call_back(herald, callback)),
            Err(error) => {
                // Nothing is to come of what was announced.
                herald.push(Box::new(|| {}));
                Err(error)
            }
        }
    }
}

impl<R: Message + 'static> Task<R> {
    /// Calls `callback` with the outcome as soon as the task is done, at once if it is; the handle tells when that is over.
    ///
    /// Callbacks run one after the other, in the order their tasks were done, on a thread that the pool has for them: what
    /// one takes long for, others wait for, but the pool does not. One may use its pool, and end it. A panic in one is told
    /// as every panic of a thread is and has no other effect. Of a task whose worker died it is called when the worker has
    /// ended. Each is called once, whatever becomes of task and pool: see [`Pool`] for how long the end of a pool
    /// waits for that.
    ///
    /// # Errors
    /// The thread cannot be started. The task goes on, its value is thrown away.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    /// use std::sync::{Arc, Mutex};
    ///
    /// let pool = Pool::new(2)?;
    /// let sum = Arc::new(Mutex::new(0));
    /// for n in 1..=4_u32 {
    ///     let sum = sum.clone();
    ///     pool.submit(|n: u32| n * n, n)?.on_done(move |square| *sum.lock().unwrap() += square.unwrap())?;
    /// }
    /// pool.join();
    /// assert_eq!(*sum.lock().unwrap(), 30);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "add_done_callback")]
    #[doc(alias = "callback")]
    #[doc(alias = "error_callback")]
    pub fn on_done(
        self,
        callback: impl FnOnce(Result<R, TaskFailed>) + Send + 'static,
    ) -> Result<Callback, OsError> {
        let herald = self.shared().map(|pool| Arc::clone(&pool.herald));
        let herald = herald.unwrap_or_else(|| Arc::new(Herald::after(&self.id().pool)));
        herald.expect()?;
        Ok(self.call_back(&herald, callback))
    }

    /// After the herald was told to expect it.
    fn call_back(
        self,
        herald: &Arc<Herald>,
        callback: impl FnOnce(Result<R, TaskFailed>) + Send + 'static,
    ) -> Callback {
        let over = Arc::new(Over::default());
        let (told, herald) = (SayOver(Arc::clone(&over)), Arc::clone(herald));
        let handle = Callback { task: self.again(), over };
        let sink = Arc::clone(self.sink());
        let call = move || {
            let _told = told;
            callback(self.take_quietly());
        };
        let notice = Notice::Call(Box::new(move || herald.push(Box::new(call))));
        if let Err(notice) = sink.watch(0, notice) {
            notice.deliver();
        }
        handle
    }

    /// The outcome, which is there. A panic while it is decoded is a failure to decode it.
    fn take_quietly(&self) -> Result<R, TaskFailed> {
        let task = || self.id().clone();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.try_get())).unwrap_or_else(|payload| {
            // Dropping it could panic again.
            std::mem::forget(payload);
            let error = DecodeError::Malformed("its `Deserialize` panicked".into());
            Err(TaskFailed::ResultNotDecoded { task: task(), error })
        });
        outcome.and_then(|value| value.ok_or_else(|| TaskFailed::AlreadyTaken { task: task() }))
    }
}

/// A function that is called when its task is done: made by [`Task::on_done`] and [`Pool::submit_then`].
///
/// Dropping it changes nothing.
pub struct Callback {
    /// Only for who it is, and to cancel it.
    task: Task<()>,
    over: Arc<Over>,
}

impl Callback {
    /// Which task it is about.
    pub fn id(&self) -> &TaskId {
        self.task.id()
    }

    /// Cancels the task, as [`Task::cancel`]: the function is called all the same, with
    /// [`TaskFailed::Cancelled`] if this answers true.
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Whether it was called, and has returned or panicked.
    pub fn is_over(&self) -> bool {
        self.wait_by(Deadline::now())
    }

    /// Waits until it was called, and has returned or panicked.
    ///
    /// In a callback of the same pool this waits for ever for one that is to come later.
    pub fn wait(&self) {
        self.wait_by(Deadline::NEVER);
    }

    /// [`wait`](Self::wait) for at most `timeout`: false if it is not over by then.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_by(Deadline::after(timeout))
    }

    /// [`wait`](Self::wait) until `instant`: false if it is not over by then.
    pub fn wait_until(&self, instant: Instant) -> bool {
        self.wait_by(Deadline::at(instant))
    }

    fn wait_by(&self, deadline: Deadline) -> bool {
        let mut is_over = self.over.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            is_over = match deadline.remaining() {
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    self.over.news.wait_timeout(is_over, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.over.news.wait(is_over).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *is_over
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("task", self.id()).field("over", &self.is_over()).finish()
    }
}

/// Whether a callback is over.
#[derive(Debug, Default)]
struct Over {
    is_over: Mutex<bool>,
    news: Condvar,
}

/// Says so, also in a panic.
struct SayOver(Arc<Over>);

impl Drop for SayOver {
    fn drop(&mut self) {
        *self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.news.notify_all();
    }
}
