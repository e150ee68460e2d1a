//! Tasks of pools as futures.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use procession_pipe::{Duplex, pipe};
use procession_pool::{Pool, Task, TaskFailed};

use crate::executors::{Boxed, Executor, all, first, once};

fn hold(gate: Duplex<u8, u8>) -> u8 {
    gate.recv().unwrap_or(0)
}

/// A task that waits to be told what to return, and who tells it.
fn held(pool: &Pool) -> (Task<u8>, Duplex<u8, u8>) {
    let (ours, theirs) = pipe().unwrap();
    (pool.submit(hold, theirs).unwrap(), ours)
}

pub(crate) fn values_and_failures<E: Executor>() {
    let pool = Pool::new(2).unwrap();
    let end = |n: u64| match n {
        3 => std::process::abort(),
        5 => panic!("five"),
        _ => n * n,
    };
    let tasks: Vec<Task<u64>> = (0..40).map(|n| pool.submit(end, n).unwrap()).collect();
    E::run(async move {
        let futures = tasks.iter().map(|task| Box::pin(task.get_async()) as Boxed<'_, _>).collect();
        for (n, outcome) in (0_u64..).zip(all(futures).await) {
            match outcome {
                Ok(value) => assert_eq!(value, n * n),
                Err(TaskFailed::WorkerDied { task, .. }) => assert_eq!((task.number, n), (4, 3)),
                Err(TaskFailed::Panicked { task, .. }) => assert_eq!((task.number, n), (6, 5)),
                Err(other) => panic!("{other}"),
            }
        }
    });
}

pub(crate) fn awaited_by_themselves<E: Executor>() {
    let pool = Pool::new(1).unwrap();
    E::run(async move {
        for n in 0..100_u32 {
            assert_eq!(pool.submit(|n: u32| n + 1, n).unwrap().await.unwrap(), n + 1);
        }
        let (task, ours) = held(&pool);
        let mut future = task.into_future();
        assert!(first(&mut future, once()).await.is_err(), "it is not done");
        ours.send(&8).unwrap();
        let task = future.into_task();
        assert_eq!(task.await.unwrap(), 8);
        // Dropped with its future, it goes on.
        let (task, ours) = held(&pool);
        assert!(first(task.into_future(), once()).await.is_err());
        ours.send(&8).unwrap();
        assert_eq!(pool.submit(|n: u8| n, 3).unwrap().await.unwrap(), 3);
    });
}

pub(crate) fn one_that_is_dropped_leaves_the_value<E: Executor>() {
    let pool = Pool::new(1).unwrap();
    E::run(async move {
        let (task, ours) = held(&pool);
        for _ in 0..100 {
            assert!(first(task.get_async(), once()).await.is_err());
        }
        assert!(first(task.get_async(), E::pause(Duration::from_millis(1))).await.is_err());
        // One that is woken, and dropped before it is polled again.
        let mut woken = Box::pin(task.get_async());
        assert!(first(woken.as_mut(), once()).await.is_err());
        ours.send(&4).unwrap();
        while !task.is_ready() {
            once().await;
        }
        drop(woken);
        drop(task.get_async());
        assert_eq!(task.get_async().await.unwrap(), 4);
    });
}

pub(crate) fn the_value_is_given_once<E: Executor>() {
    let pool = Pool::new(1).unwrap();
    E::run(async move {
        let (task, ours) = held(&pool);
        let mut futures: Vec<Boxed<'_, bool>> = Vec::new();
        for _ in 0..3 {
            futures.push(Box::pin(async {
                match task.get_async().await {
                    Ok(value) => value == 4,
                    Err(TaskFailed::AlreadyTaken { .. }) => false,
                    Err(other) => panic!("{other}"),
                }
            }));
        }
        futures.push(Box::pin(async {
            once().await;
            ours.send(&4).unwrap();
            false
        }));
        assert_eq!(all(futures).await.into_iter().filter(|is_it| *is_it).count(), 1);
        assert!(matches!(task.get_async().await, Err(TaskFailed::AlreadyTaken { .. })));
    });
}

pub(crate) fn whole_maps<E: Executor>() {
    let pool = Pool::new(2).unwrap();
    E::run(async move {
        let (ours, theirs) = pipe().unwrap();
        let mut theirs = Some(theirs);
        let items = (0..500_u32).map(|n| (n, if n == 300 { theirs.take() } else { None }));
        let mut map =
            pool.map_async(|(n, gate): (u32, Option<_>)| n + u32::from(gate.map_or(0, hold)), items);
        for _ in 0..50 {
            assert!(first(map.get_async(), once()).await.is_err(), "it is not done");
        }
        ours.send(&0).unwrap();
        assert_eq!(map.get_async().await.unwrap().len(), 500);
        assert!(matches!(map.get_async().await, Err(TaskFailed::AlreadyTaken { .. })));
        let mut map = pool.map_async(|n: u32| 1 / n, (0..50).rev());
        match map.get_async().await {
            Err(TaskFailed::Panicked { task, .. }) => assert_eq!(task.number, 550),
            other => panic!("{other:?}"),
        }
    });
}

pub(crate) fn the_pool_ends<E: Executor>() {
    let pool = Pool::new(1).unwrap();
    E::run(async move {
        let ((running, _ours), (waiting, _gate)) = (held(&pool), held(&pool));
        let cancelled = held(&pool).0;
        let mut futures: Vec<Boxed<'_, &str>> = Vec::new();
        for task in [&running, &waiting, &cancelled] {
            futures.push(Box::pin(async {
                match task.get_async().await {
                    Err(TaskFailed::Closed { .. }) => "closed",
                    Err(TaskFailed::Cancelled { .. }) => "cancelled",
                    other => panic!("{other:?}"),
                }
            }));
        }
        futures.push(Box::pin(async {
            once().await;
            assert!(cancelled.cancel());
            pool.terminate(Duration::ZERO);
            "ended"
        }));
        assert_eq!(all(futures).await, ["closed", "closed", "cancelled", "ended"]);
    });
}

/// Wakes, and uses a pool for it.
struct Nosy {
    pool: Pool,
    n: AtomicUsize,
    next: Waker,
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        // Were the lock of the crew held here, these would never come back.
        self.pool.close();
        let n = self.pool.pids().len();
        self.n.fetch_add(n, SeqCst);
        self.next.wake_by_ref();
    }
}

struct Nosily<F> {
    future: Pin<Box<F>>,
    pool: Option<Pool>,
    waker: Option<Arc<Nosy>>,
}

impl<F: Future> Future for Nosily<F> {
    type Output = (F::Output, usize);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(pool) = self.pool.take() {
            let nosy = Nosy { pool, n: AtomicUsize::new(0), next: cx.waker().clone() };
            self.waker = Some(Arc::new(nosy));
        }
        let nosy = self.waker.clone().expect("made above");
        let waker = Waker::from(Arc::clone(&nosy));
        let poll = pin!(self.future.as_mut()).poll(&mut Context::from_waker(&waker));
        poll.map(|output| (output, nosy.n.load(SeqCst)))
    }
}

pub(crate) fn a_waker_that_uses_the_pool<E: Executor>() {
    let pool = Pool::new(1).unwrap();
    let (task, ours) = held(&pool);
    E::run(async move {
        let future = Nosily { future: Box::pin(async { task.await }), pool: Some(pool), waker: None };
        let (answer, ()) = {
            let mut futures: Vec<Boxed<'_, Option<_>>> = vec![Box::pin(async { Some(future.await) })];
            futures.push(Box::pin(async {
                once().await;
                ours.send(&6).unwrap();
                None
            }));
            (all(futures).await.remove(0).unwrap(), ())
        };
        let (value, n) = answer;
        assert_eq!((value.unwrap(), n), (6, 1));
    });
}
