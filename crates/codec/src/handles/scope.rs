//! The stack of scopes of the current thread, and the guards that keep it balanced.
//!
//! Invariant: a borrow of the stack never spans foreign code. Handles and descriptors are moved out first
//! and dropped, closed, committed or rolled back afterwards. While the thread's locals are being destroyed
//! there is no stack, and everything answers `NotCarried`.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Carried, HandleError, Outgoing};

thread_local! {
    static SCOPES: RefCell<Vec<Scope>> = const { RefCell::new(Vec::new()) };
    /// The last error of `put` or `take`. serde turns it into a text on its way to the codec, which looks here.
    static REFUSAL: Cell<Option<HandleError>> = const { Cell::new(None) };
}

enum Scope {
    Collecting(Vec<Arc<dyn Carried>>),
    Supplying(Vec<Option<OwnedFd>>),
    Refusing,
}

pub(super) fn put(handle: Arc<dyn Carried>) -> Result<u32, HandleError> {
    // Taken by the closure only on success, so that a refused handle is dropped out here.
    let mut handle = Some(handle);
    innermost(|scope| match scope {
        Scope::Collecting(handles) => {
            let index = u32::try_from(handles.len()).ok()?;
            handles.extend(handle.take());
            Some(index)
        }
        _ => None,
    })
    .flatten()
    .ok_or(HandleError::NotCarried)
}

pub(super) fn take(index: u32) -> Result<OwnedFd, HandleError> {
    innermost(|scope| match scope {
        Scope::Supplying(descriptors) => {
            let carried = descriptors.len();
            match descriptors.get_mut(index as usize) {
                None => Err(HandleError::Missing { index, carried }),
                Some(slot) => slot.take().ok_or(HandleError::Taken { index }),
            }
        }
        _ => Err(HandleError::NotCarried),
    })
    .unwrap_or(Err(HandleError::NotCarried))
}

/// Remembers an error for the codec.
pub(super) fn note(error: HandleError) -> HandleError {
    REFUSAL.set(Some(error));
    error
}

#[inline]
pub(super) fn collect<T, E>(encode: impl FnOnce() -> Result<T, E>) -> Result<(T, Outgoing), E> {
    let open = Open::new(|| Scope::Collecting(Vec::new()));
    let value = encode()?;
    let handles = match open.close() {
        Some(Scope::Collecting(handles)) => handles,
        _ => Vec::new(),
    };
    Ok((value, Outgoing(handles)))
}

pub(super) fn supply<T>(descriptors: Vec<OwnedFd>, decode: impl FnOnce() -> T) -> T {
    // Without a stack the descriptors are dropped, which closes them.
    let _open = Open::new(|| Scope::Supplying(descriptors.into_iter().map(Some).collect()));
    decode()
}

#[inline]
pub(super) fn refuse<T>(work: impl FnOnce() -> T) -> T {
    let _open = Open::new(|| Scope::Refusing);
    work()
}

fn innermost<T>(act: impl FnOnce(&mut Scope) -> T) -> Option<T> {
    SCOPES.try_with(|scopes| scopes.borrow_mut().last_mut().map(act)).ok().flatten()
}

/// An open scope. It is the innermost one whenever this guard is dropped or closed, because guards live in
/// function frames of one thread and so end in the reverse order of their beginning.
struct Open(PhantomData<*const ()>);

impl Open {
    /// Opens what `scope` makes; without a stack there is nothing to open.
    #[inline]
    fn new(scope: impl FnOnce() -> Scope) -> Self {
        // Made where it stays: to move it costs more than to make it.
        let _ = SCOPES.try_with(|scopes| scopes.borrow_mut().push(scope()));
        Self(PhantomData)
    }

    #[inline]
    fn close(self) -> Option<Scope> {
        mem::forget(self);
        Self::pop()
    }

    /// Removes the innermost scope, and says what it was if there is something in it.
    #[inline]
    fn pop() -> Option<Scope> {
        let pop = |scopes: &RefCell<Vec<Scope>>| {
            let mut scopes = scopes.borrow_mut();
            if scopes.last().is_none_or(|scope| !scope.is_empty()) {
                return scopes.pop();
            }
            // Nothing in it has a destructor.
            let n = scopes.len() - 1;
            scopes.truncate(n);
            None
        };
        SCOPES.try_with(pop).ok().flatten()
    }
}

impl Scope {
    #[inline]
    fn is_empty(&self) -> bool {
        match self {
            Self::Collecting(handles) => handles.is_empty(),
            Self::Supplying(descriptors) => descriptors.is_empty(),
            Self::Refusing => true,
        }
    }
}

impl Drop for Open {
    #[inline]
    fn drop(&mut self) {
        match Self::pop() {
            Some(Scope::Collecting(handles)) => drop(Outgoing(handles)),
            other => drop(other),
        }
    }
}

/// One run of an encoding inside of whatever scope is around it. Unless kept, its entries are rolled back.
pub(crate) struct Attempt {
    /// Length of the table when the attempt began; `None` where nothing is collected.
    mark: Option<usize>,
    refusals: Refusals,
}

impl Attempt {
    #[inline]
    pub(crate) fn start() -> Self {
        let mark = innermost(|scope| match scope {
            Scope::Collecting(handles) => Some(handles.len()),
            _ => None,
        });
        Self { mark: mark.flatten(), refusals: Refusals::watch() }
    }

    #[inline]
    pub(crate) fn keep(mut self) {
        self.mark = None;
    }

    /// The handle error of this attempt, if it had one.
    pub(crate) fn refusal(&self) -> Option<HandleError> {
        self.refusals.last()
    }

    #[cold]
    fn roll_back(mark: usize) {
        let handles = innermost(|scope| match scope {
            Scope::Collecting(handles) if handles.len() > mark => handles.split_off(mark),
            _ => Vec::new(),
        });
        drop(handles.map(Outgoing));
    }
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        if let Some(mark) = self.mark {
            Self::roll_back(mark);
        }
    }
}

/// Watches for handle errors of one encoding or decoding, apart from those of one around it.
pub(crate) struct Refusals {
    outer: Option<HandleError>,
}

impl Refusals {
    #[inline]
    pub(crate) fn watch() -> Self {
        Self { outer: REFUSAL.take() }
    }

    pub(crate) fn last(&self) -> Option<HandleError> {
        REFUSAL.get()
    }
}

impl Drop for Refusals {
    #[inline]
    fn drop(&mut self) {
        REFUSAL.set(self.outer);
    }
}
