//! What polls the futures: thirty lines of our own, and tokio with one thread and with several.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that runs a future to its end.
pub(crate) trait Executor {
    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T;
    /// A future that takes so long.
    fn pause(time: Duration) -> Boxed<'static, ()>;
}

/// A thread that parks between polls.
pub(crate) struct Plain;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Executor for Plain {
    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            thread::park();
        }
    }

    fn pause(time: Duration) -> Boxed<'static, ()> {
        let mut began = false;
        Box::pin(poll_fn(move |cx| {
            if std::mem::replace(&mut began, true) {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(time); // tidy: sleep: a timer for an executor that has none
                waker.wake();
            });
            Poll::Pending
        }))
    }
}

/// One thread of tokio's.
pub(crate) struct TokioOne;

impl Executor for TokioOne {
    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn pause(time: Duration) -> Boxed<'static, ()> {
        Box::pin(async move { tokio::time::sleep(time).await })
    }
}

/// Tasks that move between threads.
pub(crate) struct TokioMany;

impl Executor for TokioMany {
    fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async { tokio::spawn(future).await.unwrap() })
    }

    fn pause(time: Duration) -> Boxed<'static, ()> {
        TokioOne::pause(time)
    }
}

/// All answers, in order.
pub(crate) async fn all<T>(mut futures: Vec<Boxed<'_, T>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, answer) in futures.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *answer = Some(value);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// The first answer; the other future is dropped.
pub(crate) async fn first<A, B>(
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> Result<A, B> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => other.as_mut().poll(cx).map(Err),
    })
    .await
}

/// Gives way once to other tasks and to the reactor's wakes.
pub(crate) async fn once() {
    let mut n = 0;
    poll_fn(|cx| {
        n += 1;
        cx.waker().wake_by_ref();
        if n > 1 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
