//! Watches of things that are words: one thread sleeps on all of them.
//!
//! Invariants: no waker is dropped while the table is locked; a watch fires once after each time that it was armed.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::fork::{Epoch, epoch};
use crate::futex;
use crate::per_process::PerProcess;
use crate::wait::{self, Waitable, Watch};
use crate::{Deadline, OsError, Result};

/// A watch of something that can be waited for.
///
/// What it holds is let go of a moment after it was dropped, by another thread.
pub struct Thing(Option<Armed>);

struct Armed {
    watched: Arc<Watched>,
    watcher: &'static Watcher,
    epoch: Epoch,
}

struct Watched {
    thing: Box<dyn Waitable + Send + Sync>,
    /// Who is to be woken; `None` once that is done, or not wanted any more.
    waker: Mutex<Option<Waker>>,
}

impl Thing {
    /// A watch that is not armed.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Wakes `waker` once when the thing is ready, at once if it is so already. If it is armed, only the waker changes, and
    /// `thing` is not asked for.
    ///
    /// # Errors
    /// Threads have run out.
    pub fn arm<W: Waitable + Send + Sync + 'static>(
        &mut self,
        waker: &Waker,
        thing: impl FnOnce() -> W,
    ) -> Result<()> {
        self.forget_the_parents();
        if self.0.as_ref().is_some_and(|armed| armed.watched.renew(waker)) {
            return Ok(());
        }
        let watched = Arc::new(Watched { thing: Box::new(thing()), waker: Mutex::new(Some(waker.clone())) });
        let watcher = watcher()?;
        watcher.add(Arc::clone(&watched));
        self.0 = Some(Armed { watched, watcher, epoch: epoch() });
        Ok(())
    }

    /// In a forked child nobody serves what was armed in the parent, and its lock may be held for ever.
    fn forget_the_parents(&mut self) {
        if self.0.as_ref().is_some_and(|armed| armed.epoch != epoch()) {
            mem::forget(self.0.take());
        }
    }
}

impl Default for Thing {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.forget_the_parents();
        let Some(armed) = self.0.take() else { return };
        let waker = armed.watched.waker().take();
        if waker.is_some() {
            // So that it lets go.
            armed.watcher.look_again();
        }
    }
}

impl fmt::Debug for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thing").field("is_armed", &self.0.is_some()).finish_non_exhaustive()
    }
}

impl Watched {
    /// Whether it had not fired.
    fn renew(&self, waker: &Waker) -> bool {
        let mut place = self.waker();
        let before = match &mut *place {
            Some(known) if known.will_wake(waker) => None,
            Some(known) => Some(mem::replace(known, waker.clone())),
            None => return false,
        };
        drop(place);
        drop(before);
        true
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All watches of this process, and the thread that sleeps on their words.
#[derive(Default)]
struct Watcher {
    new: Mutex<Vec<Arc<Watched>>>,
    /// Changes when the thread is to look at `new`, and which watches are still wanted.
    news: AtomicU32,
}

/// The news of a watcher since it looked.
struct News<'a>(&'a AtomicU32, u32);

impl Waitable for News<'_> {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        watch.word(self.0, self.1);
        self.0.load(Ordering::Acquire) != self.1
    }
}

/// The longest pause after an error, which is a lack of memory.
const PAUSE: Duration = Duration::from_millis(10);
/// Enough for the wakers of most runtimes.
const STACK: usize = 512 << 10;

/// The one of this process, and its thread.
fn watcher() -> Result<&'static Watcher> {
    static WATCHER: PerProcess<Mutex<Option<&'static Watcher>>> = PerProcess::new();
    let mut watcher = WATCHER.get(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watcher) = *watcher {
        return Ok(watcher);
    }
    let new = Arc::new(Watcher::default());
    let runs = Arc::clone(&new);
    let thread = thread::Builder::new().name("procession-words".into()).stack_size(STACK);
    thread
        .spawn(move || runs.run())
        .map_err(|error| OsError::new("starting a thread that sleeps on words", error))?;
    // It never ends.
    Ok(watcher.insert(Box::leak(Box::new(new))))
}

impl Watcher {
    fn add(&self, watched: Arc<Watched>) {
        self.added().push(watched);
        self.look_again();
    }

    fn look_again(&self) {
        futex::add_and_wake(&self.news, 1, u32::MAX);
    }

    fn run(&self) {
        let mut all: Vec<Arc<Watched>> = Vec::new();
        loop {
            let news = News(&self.news, self.news.load(Ordering::Acquire));
            all.append(&mut self.added());
            all.retain(|watched| watched.waker().is_some());
            let ready = {
                let mut things: Vec<&dyn Waitable> = vec![&news];
                things.extend(all.iter().map(|watched| &*watched.thing as &dyn Waitable));
                wait::any(&things, Deadline::NEVER)
            };
            let Ok(ready) = ready else {
                // Nothing tells when there is memory; what came or went meanwhile may need less.
                futex::wait(news.0, news.1, Deadline::after(PAUSE));
                continue;
            };
            for fired in ready.into_iter().filter_map(|index| all.get(index.checked_sub(1)?)) {
                let waker = fired.waker().take();
                waker.into_iter().for_each(super::wake);
            }
        }
    }

    fn added(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
