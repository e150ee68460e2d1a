//! Children that are all joined before a block ends.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use procession_codec::Message;

use crate::builder::Builder;
use crate::error::{JoinError, SpawnError};
use crate::process::{Process, Shared};

/// Runs `block`, which may spawn children on its [`Scope`], and joins all of them before it returns.
///
/// Answers the block's value, or the failure of the first child, in the order of their start, that gave no value and
/// that nobody joined in the block. All children are joined in any case, and then those that
/// are [daemons](Builder::daemon) and still run are ended. If the block panics, its children are ended
/// and the panic goes on.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// procession_process::scope(|s| {
///     for i in 0..4 {
///         s.spawn(|i: u32| assert!(i < 4), i).unwrap();
///     }
/// })?;
/// # Ok(()) }
/// ```
///
/// # Panics
/// With the panic of `block`.
pub fn scope<'env, F, T>(block: F) -> Result<T, JoinError>
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { children: Mutex::default(), scope: PhantomData, env: PhantomData };
    let value = catch_unwind(AssertUnwindSafe(|| block(&scope)));
    let children = std::mem::take(&mut *scope.children.lock().unwrap_or_else(PoisonError::into_inner));
    match value {
        Ok(value) => {
            // Daemons serve the others, so they end last.
            let (daemons, others): (Vec<_>, Vec<_>) =
                children.iter().enumerate().partition(|(_, child)| child.is_daemon());
            let mut errors: Vec<_> = others.into_iter().filter_map(failure).collect();
            errors.extend(daemons.into_iter().filter_map(failure_of_a_daemon));
            errors.into_iter().min_by_key(|(n, _)| *n).map_or(Ok(value), |(_, error)| Err(error))
        }
        Err(panic) => {
            for child in &children {
                child.end();
            }
            resume_unwind(panic)
        }
    }
}

/// The error of a child, with its number in the order of their start.
fn failure((n, child): (usize, &Arc<Shared>)) -> Option<(usize, JoinError)> {
    child.take_error().map(|error| (n, error))
}

/// One that runs is ended, which is no failure of it.
fn failure_of_a_daemon((n, child): (usize, &Arc<Shared>)) -> Option<(usize, JoinError)> {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return failure((n, child));
    }
    child.end();
    None
}

/// Where children of a [`scope`] are started.
pub struct Scope<'scope, 'env: 'scope> {
    children: Mutex<Vec<Arc<Shared>>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// [`spawn`](fn@crate::spawn) on this scope. The handle may be dropped: the scope joins.
    pub fn spawn<A: Message + 'scope, R: Message>(
        &'scope self,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<ScopedProcess<'scope, R>, SpawnError> {
        self.spawn_with(Builder::new(), task, argument)
    }

    /// [`Scope::spawn`] with settings.
    pub fn spawn_with<A: Message + 'scope, R: Message>(
        &'scope self,
        settings: Builder,
        task: fn(A) -> R,
        argument: A,
    ) -> Result<ScopedProcess<'scope, R>, SpawnError> {
        let mut process = settings.spawn(task, argument)?;
        process.disarm();
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.push(Arc::clone(process.shared()));
        Ok(ScopedProcess { process, scope: PhantomData })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// A child of a [`scope`]. Dropping it does nothing: the scope joins the child.
pub struct ScopedProcess<'scope, R> {
    process: Process<R>,
    scope: PhantomData<&'scope ()>,
}

impl<R: Message> ScopedProcess<'_, R> {
    /// [`Process::join`]; the scope then has nothing more to report of this child.
    pub fn join(self) -> Result<R, JoinError> {
        self.process.join_to_end()
    }
}

impl<R> Deref for ScopedProcess<'_, R> {
    type Target = Process<R>;

    fn deref(&self) -> &Process<R> {
        &self.process
    }
}

impl<R> fmt::Debug for ScopedProcess<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}
