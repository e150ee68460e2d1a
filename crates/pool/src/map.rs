//! A whole map that runs while its caller does something else.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;

use crate::chunks::Chunks;
use crate::collector::Shared;
use crate::error::{TaskFailed, TaskId};
use crate::job::Packing;
use crate::origin::{Extra, Origin};
use crate::par::{ENOUGH_BYTES, MOST_ITEMS};
use crate::pool::Pool;
use crate::rules::TaskOptions;
use crate::sink::Sink;
use crate::wire;

/// A worker gets its part of a map in so many chunks, so that one that is slow does not keep all waiting.
const CHUNKS_PER_WORKER: usize = 4;

impl Pool {
    /// Runs `task` on every item; answers at once, with a handle for all the values.
    ///
    /// All items are taken from the iterator and encoded here and now, and travel in four chunks for each worker.
    /// [`par_procs`](crate::ParProcs::par_procs) takes items only as they are needed.
    ///
    /// # Panics
    /// Where the iterator does: then nothing runs. Where the encoding of an item does: what was handed out before runs in
    /// vain.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let roots = pool.map_async(f64::sqrt, [1.0, 4.0, 9.0]);
    /// // …
    /// assert_eq!(roots.get()?, [1.0, 2.0, 3.0]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "starmap_async")]
    pub fn map_async<A: Message, R: Message>(
        &self,
        task: fn(A) -> R,
        items: impl IntoIterator<Item = A>,
    ) -> MapTask<R> {
        let items: Vec<A> = items.into_iter().collect();
        let (n_items, sink) = (items.len(), Arc::default());
        let chunks = Chunks {
            shared: self.shared(),
            function: wire::token(task),
            extra: Extra { origin: Origin::of(task), ..Extra::default() },
            rules: TaskOptions::new().over(self.shared().rules),
            sink: &sink,
        };
        let chunk = n_items.div_ceil(CHUNKS_PER_WORKER * self.workers()).clamp(1, MOST_ITEMS);
        let mut packing = Packing::default();
        for (index, item) in items.into_iter().enumerate() {
            let failed = packing.push(&item).err();
            if failed.is_some() || packing.len() >= chunk || packing.n_bytes() >= ENOUGH_BYTES {
                let n = packing.len();
                let first = index + usize::from(failed.is_none()) - n;
                if n > 0 {
                    chunks.submit(std::mem::take(&mut packing), first);
                }
                failed.into_iter().for_each(|error| chunks.fail(index, error));
            }
        }
        if packing.len() > 0 {
            let first = n_items - packing.len();
            chunks.submit(packing, first);
        }
        MapTask {
            sink,
            pool: Arc::downgrade(self.shared()),
            name: Arc::clone(&self.shared().name),
            n_items,
            values: Vec::new(),
            is_given: false,
        }
    }
}

/// A map given to a pool, and the place its values arrive at; made by [`Pool::map_async`].
///
/// Dropping it stops nothing; the values are thrown away.
#[doc(alias = "MapResult")]
#[must_use = "the values of the map arrive here"]
pub struct MapTask<R> {
    sink: Arc<Sink>,
    pool: Weak<Shared>,
    name: Arc<str>,
    n_items: usize,
    /// Of the first items.
    values: Vec<R>,
    is_given: bool,
}

impl<R> MapTask<R> {
    /// How many items the map has.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// How many of them are done.
    pub fn n_done(&self) -> usize {
        if self.is_given { self.n_items } else { self.values.len() + self.sink.len() }
    }

    /// Whether all items are done, so that [`get`](Self::get) would not wait.
    pub fn is_ready(&self) -> bool {
        self.n_done() == self.n_items
    }

    /// Gives the map up: items that have not begun never do, those that run do so in vain.
    pub fn cancel(self) {
        self.forget();
    }

    pub(crate) fn already_taken(&self) -> TaskFailed {
        TaskFailed::AlreadyTaken { task: TaskId { pool: Arc::clone(&self.name), number: 0 } }
    }

    fn forget(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.forget(&self.sink);
        }
    }
}

#[cfg(feature = "async")]
impl<R> MapTask<R> {
    pub(crate) fn sink(&self) -> &Arc<Sink> {
        &self.sink
    }

    pub(crate) fn outbox(&self) -> Arc<crate::notice::Outbox> {
        self.pool.upgrade().map(|pool| Arc::clone(&pool.outbox)).unwrap_or_default()
    }

    /// The item whose value is waited for; `None` if the outcome was given.
    pub(crate) fn next(&self) -> Option<usize> {
        (!self.is_given).then_some(self.values.len())
    }
}

impl<R: Message> MapTask<R> {
    /// Waits for the values, which are in the order of the items.
    ///
    /// The first failure, in that order, is returned as soon as it is the first; items that have not begun by then never
    /// do. [`TaskFailed::AlreadyTaken`], of task 0, if another form of `get` gave the outcome.
    pub fn get(mut self) -> Result<Vec<R>, TaskFailed> {
        self.get_by(Deadline::NEVER)?.ok_or_else(|| self.already_taken())
    }

    /// The values, if all are there: else `None`. They are given once: afterwards this answers `None`.
    pub fn try_get(&mut self) -> Result<Option<Vec<R>>, TaskFailed> {
        self.get_by(Deadline::now())
    }

    /// [`get`](Self::get) for at most `timeout`; `None` if not all values are there by then. Whoever asks on misses
    /// nothing.
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Option<Vec<R>>, TaskFailed> {
        self.get_by(Deadline::after(timeout))
    }

    /// [`get_timeout`](Self::get_timeout) until `instant`.
    pub fn get_until(&mut self, instant: Instant) -> Result<Option<Vec<R>>, TaskFailed> {
        self.get_by(Deadline::at(instant))
    }

    fn get_by(&mut self, deadline: Deadline) -> Result<Option<Vec<R>>, TaskFailed> {
        if self.is_given {
            return Ok(None);
        }
        while self.values.len() < self.n_items {
            let next = Some(self.values.len());
            let taken = match self.pool.upgrade() {
                Some(pool) => pool.take(&self.sink, next, deadline),
                None => self.sink.take(next, deadline),
            };
            let Some((_, outcome)) = taken else { return Ok(None) };
            match outcome.and_then(|value| value.decode(&self.name)) {
                Ok(value) => self.values.push(value),
                Err(failure) => {
                    self.is_given = true;
                    self.values.clear();
                    self.forget();
                    return Err(failure);
                }
            }
        }
        self.is_given = true;
        Ok(Some(std::mem::take(&mut self.values)))
    }
}

impl<R> fmt::Debug for MapTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapTask").field("items", &self.n_items).field("done", &self.n_done()).finish()
    }
}
