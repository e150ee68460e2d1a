//! Waiting for several tasks at once, of one pool or of several.
//!
//! Each task tells a line of its own number when it has its outcome: nobody asks again and again. Invariant: a number
//! stands in a line at most once, and only of a task that has its outcome or had it; a number that is to come, comes.
//! Held by the contract (`together`).

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;
use procession_sys::poll::Interest;
use procession_sys::wait::{Source, Waitable, Watch};

use crate::error::TaskFailed;
use crate::notice::Notice;
use crate::par::NotYet;
use crate::task::Task;

/// How long to pause between looks where descriptors have run out.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A [`Task`], whatever it returns: for [`wait_any`] and [`wait_all`] with tasks of different types.
pub trait AnyTask: sealed::Sealed {}

impl<R> AnyTask for Task<R> {}

impl<T: AnyTask + ?Sized> AnyTask for &T {}

/// Ready when it is done. For `procession_pipe::wait`, together with other things; holds a descriptor from then on.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pipe::{pipe, wait};
/// use procession_pool::Pool;
///
/// let pool = Pool::new(1)?;
/// let (ours, _other) = pipe::<u8, u8>()?;
/// let task = pool.submit(f64::sqrt, 4.0)?;
/// assert_eq!(wait(&[&ours, &task], None)?, [1]);
/// assert_eq!(task.get()?, 2.0);
/// # Ok(()) }
/// ```
impl<R> Waitable for Task<R> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        if self.sink().is_settled(0) {
            return true;
        }
        match self.event() {
            Some(event) => watch.descriptor(Source::Borrowed(event.as_fd()), Interest::Readable),
            None => watch.look_again(LOOK_AGAIN),
        }
        false
    }
}

/// Waits until at least one of `tasks` is done, or the limit has passed; the indices of all that are done, in order. Empty
/// exactly if the limit passed, or if there is nothing to wait for.
///
/// Tasks may be of different pools, and with `&[&dyn AnyTask]` of different types. A task whose outcome was taken is done:
/// who waits again leaves those out that it has seen, or uses [`as_completed`]. The limit is `None`, a [`Duration`] or an
/// [`Instant`]. Blocks; costs nothing while nothing ends.
///
/// # If a peer dies
/// A task whose worker has died is done.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{AnyTask, Pool, wait_any};
///
/// let pool = Pool::new(2)?;
/// let endless = pool.submit(|()| -> u8 { loop { std::thread::park() } }, ())?;
/// let brief = pool.submit(|name: String| name.len(), "brief".to_string())?;
/// let both: [&dyn AnyTask; 2] = [&endless, &brief];
/// assert_eq!(wait_any(both, None), [1]);
/// # Ok(()) }
/// ```
#[doc(alias = "FIRST_COMPLETED")]
pub fn wait_any<'a, T: AnyTask + ?Sized + 'a>(
    tasks: impl IntoIterator<Item = &'a T>,
    limit: impl Into<Deadline>,
) -> Vec<usize> {
    let watches = Watches::of(tasks);
    watches.line.wait(1.min(watches.tasks.len()), limit.into());
    let done = watches.tasks.iter().enumerate().filter(|(_, (task, _))| task.is_settled());
    done.map(|(index, _)| index).collect()
}

/// Waits until all of `tasks` are done, or the limit has passed: then false.
///
/// As [`wait_any`] otherwise. A failure is an outcome like any other; who wants to stop at the first one uses
/// [`as_completed`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{Pool, wait_all};
/// use std::time::Duration;
///
/// let (one, other) = (Pool::new(1)?, Pool::new(1)?);
/// let tasks = [one.submit(f64::sqrt, 4.0)?, other.submit(f64::sqrt, 9.0)?];
/// assert!(wait_all(&tasks, Duration::from_secs(30)));
/// assert!(tasks.iter().all(|task| task.is_ready()));
/// # Ok(()) }
/// ```
#[doc(alias = "ALL_COMPLETED")]
pub fn wait_all<'a, T: AnyTask + ?Sized + 'a>(
    tasks: impl IntoIterator<Item = &'a T>,
    limit: impl Into<Deadline>,
) -> bool {
    let watches = Watches::of(tasks);
    watches.line.wait(watches.tasks.len(), limit.into())
}

/// The outcomes of `tasks`, each with the index of its task, as they come.
///
/// Tasks may be of different pools. Dropping the iterator drops the tasks that are left, which stops none of them;
/// [`into_rest`](AsCompleted::into_rest) has them back.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{Pool, as_completed};
///
/// let pool = Pool::new(2)?;
/// let tasks = ["one", "three"].map(|word| pool.submit(|word: String| word.len(), word.to_string()).unwrap());
/// let mut lengths = [0; 2];
/// for (index, length) in as_completed(tasks) {
///     lengths[index] = length?;
/// }
/// assert_eq!(lengths, [3, 5]);
/// # Ok(()) }
/// ```
pub fn as_completed<R: Message>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let line = Arc::new(Line::default());
    let tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    for (index, task) in tasks.iter().flatten().enumerate() {
        line.expect(task, index);
    }
    AsCompleted { n_left: tasks.len(), line, tasks }
}

/// The index of a task that is done, and its outcome.
pub type Completed<R> = (usize, Result<R, TaskFailed>);

/// Outcomes of tasks as they come; made by [`as_completed`].
#[must_use = "outcomes are waited for as they are asked for"]
pub struct AsCompleted<R> {
    line: Arc<Line>,
    tasks: Vec<Option<Task<R>>>,
    n_left: usize,
}

impl<R: Message> AsCompleted<R> {
    /// The next outcome, if it comes within `timeout`; `None` at the end. After [`NotYet`] whoever asks on misses nothing.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Completed<R>>, NotYet> {
        self.next_by(Deadline::after(timeout))
    }

    /// [`next_timeout`](Self::next_timeout) until `instant`.
    pub fn next_until(&mut self, instant: Instant) -> Result<Option<Completed<R>>, NotYet> {
        self.next_by(Deadline::at(instant))
    }

    /// The next outcome, if it is there: never waits.
    pub fn try_next(&mut self) -> Result<Option<Completed<R>>, NotYet> {
        self.next_by(Deadline::now())
    }

    /// The tasks whose outcomes were not given, with their indices.
    pub fn into_rest(self) -> impl Iterator<Item = (usize, Task<R>)> {
        self.tasks.into_iter().enumerate().filter_map(|(index, task)| Some((index, task?)))
    }

    fn next_by(&mut self, deadline: Deadline) -> Result<Option<Completed<R>>, NotYet> {
        while self.n_left > 0 {
            let index = self.line.pop(deadline).ok_or(NotYet)?;
            let Some(task) = self.tasks.get_mut(index).and_then(Option::take) else { continue };
            self.n_left -= 1;
            return Ok(Some((index, task.get())));
        }
        Ok(None)
    }
}

impl<R: Message> Iterator for AsCompleted<R> {
    type Item = Completed<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_by(Deadline::NEVER).unwrap_or_default()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.n_left, Some(self.n_left))
    }
}

impl<R: Message> ExactSizeIterator for AsCompleted<R> {}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.n_left).finish_non_exhaustive()
    }
}

/// Numbers of tasks that are done, in the order they came to be.
#[derive(Debug, Default)]
pub(crate) struct Line {
    done: Mutex<VecDeque<usize>>,
    news: Condvar,
}

impl Line {
    /// `index` stands here as soon as `task` is done; the key to have it not.
    fn expect<T: sealed::Sealed + ?Sized>(self: &Arc<Self>, task: &T, index: usize) -> Option<u64> {
        let line = Arc::clone(self);
        task.watch(Notice::Call(Box::new(move || line.push(index)))).map_err(Notice::deliver).ok()
    }

    fn push(&self, index: usize) {
        self.done().push_back(index);
        self.news.notify_all();
    }

    fn pop(&self, deadline: Deadline) -> Option<usize> {
        self.wait_until(deadline, |done| !done.is_empty()).pop_front()
    }

    /// Waits until so many stand here: false at the deadline.
    fn wait(&self, n: usize, deadline: Deadline) -> bool {
        self.wait_until(deadline, |done| done.len() >= n).len() >= n
    }

    fn wait_until(
        &self,
        deadline: Deadline,
        is_enough: impl Fn(&VecDeque<usize>) -> bool,
    ) -> MutexGuard<'_, VecDeque<usize>> {
        let mut done = self.done();
        while !is_enough(&done) {
            let left = deadline.remaining();
            done = match left {
                Some(left) if left.is_zero() => break,
                Some(left) => self.news.wait_timeout(done, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.news.wait(done).unwrap_or_else(PoisonError::into_inner),
            };
        }
        done
    }

    fn done(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks that tell a line, until this is dropped.
struct Watches<'a, T: AnyTask + ?Sized> {
    line: Arc<Line>,
    tasks: Vec<(&'a T, Option<u64>)>,
}

impl<'a, T: AnyTask + ?Sized> Watches<'a, T> {
    fn of(tasks: impl IntoIterator<Item = &'a T>) -> Self {
        let line = Arc::new(Line::default());
        let tasks = tasks.into_iter().enumerate().map(|(index, task)| (task, line.expect(task, index)));
        let tasks = tasks.collect();
        Self { line, tasks }
    }
}

impl<T: AnyTask + ?Sized> Drop for Watches<'_, T> {
    fn drop(&mut self) {
        for (task, key) in &self.tasks {
            key.iter().for_each(|key| task.unwatch(*key));
        }
    }
}

mod sealed {
    use crate::notice::Notice;
    use crate::task::Task;

    pub trait Sealed {
        fn is_settled(&self) -> bool;
        #[allow(private_interfaces, reason = "nobody outside can name this trait")]
        fn watch(&self, notice: Notice) -> Result<u64, Notice>;
        fn unwatch(&self, key: u64);
    }

    impl<R> Sealed for Task<R> {
        fn is_settled(&self) -> bool {
            self.sink().is_settled(0)
        }

        #[allow(private_interfaces, reason = "nobody outside can name this trait")]
        fn watch(&self, notice: Notice) -> Result<u64, Notice> {
            self.sink().watch(0, notice)
        }

        fn unwatch(&self, key: u64) {
            self.sink().unwatch(key);
        }
    }

    impl<T: Sealed + ?Sized> Sealed for &T {
        fn is_settled(&self) -> bool {
            (**self).is_settled()
        }

        #[allow(private_interfaces, reason = "nobody outside can name this trait")]
        fn watch(&self, notice: Notice) -> Result<u64, Notice> {
            (**self).watch(notice)
        }

        fn unwatch(&self, key: u64) {
            (**self).unwatch(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    /// However often somebody waits in vain: nothing of it is left with the task.
    #[test]
    fn waits_that_are_over_leave_no_notice() {
        procession_testkit::guarded(|| {
            let pool = Pool::new(1).unwrap();
            let (ours, theirs) = procession_pipe::pipe::<u8, u8>().unwrap();
            let wait = |gate: procession_pipe::Duplex<u8, u8>| gate.recv().unwrap_or(0);
            let tasks = [pool.submit(wait, theirs).unwrap()];
            for _ in 0..10 {
                assert!(wait_any(&tasks, Duration::ZERO).is_empty() && !wait_all(&tasks, Duration::ZERO));
            }
            assert_eq!(tasks[0].sink().n_notices(), 0);
            assert!(tasks[0].event().is_some() && tasks[0].event().is_some());
            assert_eq!(tasks[0].sink().n_notices(), 1, "one for all who wait for descriptors");
            #[cfg(feature = "async")]
            for _ in 0..10 {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let mut future = std::pin::pin!(tasks[0].get_async());
                assert!(
                    future.as_mut().poll(&mut cx).is_pending() && future.as_mut().poll(&mut cx).is_pending()
                );
                assert_eq!(tasks[0].sink().n_notices(), 2, "one for each future");
            }
            assert_eq!(tasks[0].sink().n_notices(), 1);
            ours.send(&1).unwrap();
            assert_eq!(as_completed(tasks).map(|(_, value)| value.unwrap()).sum::<u8>(), 1);
        });
    }
}
