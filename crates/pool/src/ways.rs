//! Further ways of giving work to a pool, made of those there are.

use procession_codec::Message;

use crate::error::{SubmitError, TaskFailed, TaskId};
use crate::par::{Outcomes, ParProcs};
use crate::pool::Pool;

impl Pool {
    /// Runs `task(argument)` in a worker and waits for the value: [`submit`](Self::submit) and
    /// [`get`](crate::Task::get) in one.
    ///
    /// What keeps the task from being accepted is a failure of the task here: [`TaskFailed::Closed`],
    /// [`TaskFailed::Argument`], [`TaskFailed::NoWorker`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// assert_eq!(pool.apply(|(w, h): (u32, u32)| w * h, (2, 3))?, 6);
    /// # Ok(()) }
    /// ```
    pub fn apply<A: Message, R: Message>(&self, task: fn(A) -> R, argument: A) -> Result<R, TaskFailed> {
        let refused = match self.submit(task, argument) {
            Ok(task) => return task.get(),
            Err(refused) => refused,
        };
        let number = self.shared().crew().number_tasks(1);
        let task = TaskId { pool: self.shared().name.clone(), number };
        Err(match refused {
            SubmitError::Closed => TaskFailed::Closed { task },
            SubmitError::Argument(error) => TaskFailed::Argument { task, error },
            SubmitError::Os(e) => TaskFailed::NoWorker { task, reason: e.to_string().into() },
        })
    }

    /// Runs `task` on every item, and returns what became of each, in order.
    ///
    /// A failure costs its item and no other.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let inverses = pool.map_each(|n: u32| 12 / n, [2, 0, 3]);
    /// assert_eq!(inverses[0].as_ref().ok(), Some(&6));
    /// assert!(inverses[1].as_ref().unwrap_err().panic().is_some());
    /// assert_eq!(inverses[2].as_ref().ok(), Some(&4));
    /// # Ok(()) }
    /// ```
    pub fn map_each<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> Vec<Result<R, TaskFailed>> {
        items.par_procs(self).map(task).collect()
    }

    /// Runs `task` on every item as the results are asked for, which come as they are done: short for
    /// [`par_procs`](ParProcs::par_procs) with [`unordered`](crate::ParIter::unordered).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.map_unordered(|n: u32| n * n, 1..4).collect::<Result<Vec<_>, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "imap_unordered")]
    pub fn map_unordered<I: IntoIterator<Item = A>, A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        items: I,
    ) -> Outcomes<'_, I::IntoIter, A, R> {
        items.par_procs(self).unordered().map(task)
    }
}
