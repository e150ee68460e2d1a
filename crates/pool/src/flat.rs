//! Tasks that return a `Result`: their error as one of the ways to fail.

use procession_process::{Message, TaskError};

use crate::error::TaskFailed;
use crate::task::Task;

impl<T, E> Task<Result<T, E>>
where
    Result<T, E>: Message,
    E: Into<TaskError>,
{
    /// [`get`](Task::get) for a task that returns a `Result`: its error becomes [`TaskFailed::Failed`], with the text, the
    /// type's name, the chain of sources and the backtrace that a [`TaskError`] keeps.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    /// use procession_process::TaskError;
    /// use std::error::Error as _;
    ///
    /// fn lines(path: String) -> Result<usize, TaskError> {
    ///     Ok(std::fs::read_to_string(path)?.lines().count())
    /// }
    ///
    /// let pool = Pool::new(1)?;
    /// let failed = pool.submit(lines, "/no/such/file".to_string())?.get_flat().unwrap_err();
    /// assert!(failed.to_string().starts_with("task 1 of pool pool failed: No such file"), "{failed}");
    /// # Ok(()) }
    /// ```
    pub fn get_flat(self) -> Result<T, TaskFailed> {
        let task = self.id().clone();
        let failed = |error: E| TaskFailed::Failed { task, failure: Box::new(error.into().into()) };
        self.get()?.map_err(failed)
    }
}
