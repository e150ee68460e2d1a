//! The outcome of a task as a future, for any runtime.
//!
//! Invariants: a look takes an outcome only to answer with it at once, so a future that is dropped leaves it to the task;
//! and it leaves no waker behind. Held by the async tests of the umbrella (`tasks`).

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use procession_codec::Message;

use crate::error::TaskFailed;
use crate::map::MapTask;
use crate::notice::{Notice, Outbox};
use crate::sink::Sink;
use crate::task::Task;

impl<R: Message> Task<R> {
    /// [`get`](Self::get) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it loses nothing: the value stays to be taken by any form of `get`. `task.await` is the same with the task
    /// itself, which is dropped with the future then.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use std::pin::pin;
    /// # use std::task::{Context, Poll, Wake, Waker};
    /// # struct Unpark(std::thread::Thread);
    /// # impl Wake for Unpark { fn wake(self: std::sync::Arc<Self>) { self.0.unpark() } }
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let (mut future, thread) = (pin!(future), std::thread::current());
    /// #     let waker = Waker::from(std::sync::Arc::new(Unpark(thread)));
    /// #     loop {
    /// #         if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) { return value }
    /// #         std::thread::park();
    /// #     }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// block_on(async {
    ///     let task = pool.submit(f64::sqrt, 4.0)?;
    ///     assert_eq!(task.get_async().await?, 2.0);
    ///     assert_eq!(pool.submit(f64::sqrt, 9.0)?.await?, 3.0);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn get_async(&self) -> impl Future<Output = Result<R, TaskFailed>> + Send + '_ {
        let mut watch = Watch::at(self.sink());
        poll_fn(move |cx| watch.poll(self, cx))
    }
}

impl<R: Message> IntoFuture for Task<R> {
    type Output = Result<R, TaskFailed>;
    type IntoFuture = TaskFuture<R>;

    fn into_future(self) -> TaskFuture<R> {
        TaskFuture { watch: Watch::at(self.sink()), task: self }
    }
}

/// A task that is awaited.
///
/// Dropping it drops the task, which goes on all the same; [`into_task`](Self::into_task) has it back, with its outcome if
/// that was not given.
#[must_use = "it does nothing unless it is awaited"]
pub struct TaskFuture<R> {
    watch: Watch,
    task: Task<R>,
}

impl<R> TaskFuture<R> {
    /// The task, which was not awaited to its end.
    pub fn into_task(self) -> Task<R> {
        self.task
    }
}

impl<R> AsRef<Task<R>> for TaskFuture<R> {
    fn as_ref(&self) -> &Task<R> {
        &self.task
    }
}

impl<R: Message> Future for TaskFuture<R> {
    type Output = Result<R, TaskFailed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.watch.poll(&this.task, cx)
    }
}

impl<R> fmt::Debug for TaskFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskFuture").field(&self.task).finish()
    }
}

impl<R: Message> MapTask<R> {
    /// [`get`](Self::get) as a future, for any runtime; limits are the runtime's.
    ///
    /// Dropping it loses nothing: the values stay to be taken by any form of `get`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_async(&mut self) -> impl Future<Output = Result<Vec<R>, TaskFailed>> + Send + '_
    where
        R: Send,
    {
        let mut watch = Watch::at(self.sink());
        poll_fn(move |cx| {
            loop {
                if let Some(outcome) = self.try_get().transpose() {
                    return Poll::Ready(outcome);
                }
                let Some(next) = self.next() else { return Poll::Ready(Err(self.already_taken())) };
                if watch.arm(next, cx, self.outbox()) {
                    return Poll::Pending;
                }
            }
        })
    }
}

/// The waker of one future at a sink.
struct Watch {
    sink: Arc<Sink>,
    key: Option<u64>,
}

impl Watch {
    fn at(sink: &Arc<Sink>) -> Self {
        Self { sink: Arc::clone(sink), key: None }
    }

    fn poll<R: Message>(&mut self, task: &Task<R>, cx: &Context<'_>) -> Poll<Result<R, TaskFailed>> {
        loop {
            if let Some(outcome) = task.try_get().transpose() {
                return Poll::Ready(outcome);
            }
            if self.sink.is_taken(0) {
                return Poll::Ready(Err(TaskFailed::AlreadyTaken { task: task.id().clone() }));
            }
            if self.arm(0, cx, task.outbox()) {
                return Poll::Pending;
            }
        }
    }

    /// False if the outcome of task `index` is there.
    fn arm(&mut self, index: usize, cx: &Context<'_>, outbox: Arc<Outbox>) -> bool {
        let old = self.key.take();
        self.key = self.sink.watch(index, Notice::Wake(cx.waker().clone(), outbox)).ok();
        if let Some(old) = old {
            self.sink.unwatch(old);
        }
        self.key.is_some()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.sink.unwatch(key);
        }
    }
}
