//! Lazy maps over a pool: `items.par_procs(&pool).map(task)`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_codec::Message;
use procession_sys::Deadline;

use crate::chunks::Chunks;
use crate::context::{self, With};
use crate::error::TaskFailed;
use crate::job::{PackError, Packing};
use crate::origin::{Extra, Origin};
use crate::pool::Pool;
use crate::progress::{Hooks, TICK, Watch};
use crate::rules::{Rules, TaskOptions};
use crate::sink::{Outcome, Sink, Taken};
use crate::wire;

/// How long the items of one chunk should take together, in nanoseconds.
const AIM: u64 = 1_000_000;
/// Most items in a chunk.
pub(crate) const MOST_ITEMS: usize = 4096;
/// A chunk with so many bytes is not made longer.
pub(crate) const ENOUGH_BYTES: usize = 1 << 20;
/// Chunks under way for each worker: one running, one waiting.
const CHUNKS_PER_WORKER: usize = 2;

/// Adds [`par_procs`](ParProcs::par_procs) to everything that can be iterated over.
pub trait ParProcs: IntoIterator + Sized {
    /// Runs a task on every item, in the workers of `pool`, as the results are asked for.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ParProcs, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let lengths = ["a", "bb", "ccc"].map(String::from).par_procs(&pool).map(|s: String| s.len());
    /// assert_eq!(lengths.sum::<Result<usize, _>>()?, 6);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "imap")]
    fn par_procs(self, pool: &Pool) -> ParIter<'_, Self::IntoIter> {
        ParIter {
            pool,
            items: self.into_iter(),
            in_flight: None,
            chunk: None,
            ordered: true,
            options: TaskOptions::new(),
            hooks: Hooks::default(),
        }
    }
}

impl<I: IntoIterator> ParProcs for I {}

/// Items that are to be mapped; made by [`par_procs`](ParProcs::par_procs). Does nothing until [`map`](Self::map).
#[must_use = "does nothing until `map`"]
pub struct ParIter<'p, I> {
    pub(crate) pool: &'p Pool,
    items: I,
    in_flight: Option<usize>,
    chunk: Option<usize>,
    ordered: bool,
    options: TaskOptions,
    pub(crate) hooks: Hooks<'p>,
}

impl<'p, I: Iterator> ParIter<'p, I> {
    /// Takes at most `n` items from the iterator beyond those whose results were taken (at least 1). Default: two chunks
    /// for each worker, where a chunk aims at a millisecond.
    pub fn in_flight(mut self, n: usize) -> Self {
        self.in_flight = Some(n.max(1));
        self
    }

    /// Hands items out by `n` (at least 1), however long they take, but never more than
    /// [`in_flight`](Self::in_flight) at once, nor more than 4096 or a mebibyte of arguments. Default: as many as take a
    /// millisecond.
    #[doc(alias = "chunksize")]
    pub fn chunk(mut self, n: usize) -> Self {
        self.chunk = Some(n.clamp(1, MOST_ITEMS));
        self
    }

    /// Results come as they are done.
    #[doc(alias = "imap_unordered")]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Results come in the order of the items (the default).
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// Time limit and so on of each task, where they are not to be those of the pool.
    pub fn options(mut self, options: TaskOptions) -> Self {
        self.options = options;
        self
    }

    /// Maps: an iterator with one result for each item.
    pub fn map<A: Message, R: Message>(self, task: fn(A) -> R) -> Outcomes<'p, I, A, R>
    where
        I: Iterator<Item = A>,
    {
        let extra = Extra { origin: Origin::of(task), ..Extra::default() };
        self.outcomes(wire::token(task), Ok(extra))
    }

    /// [`map`](Self::map) with a task that gets a read-only object by reference, too: see [`Pool::with`].
    pub fn map_with<C: Message + 'static, A: Message, R: Message>(
        self,
        context: &With<'_, C>,
        task: fn(&C, A) -> R,
    ) -> Outcomes<'p, I, A, R>
    where
        I: Iterator<Item = A>,
    {
        self.outcomes(context::token(task), context.extra(task))
    }

    fn outcomes<A, R>(self, function: [u8; 40], extra: Result<Extra, PackError>) -> Outcomes<'p, I, A, R> {
        Outcomes {
            function,
            extra,
            pool: self.pool,
            items: Some(self.items),
            in_flight: self.in_flight,
            chunk: self.chunk,
            ordered: self.ordered,
            rules: self.options.over(self.pool.shared().rules),
            sink: Arc::default(),
            n_taken: 0,
            n_given: 0,
            next: 0,
            watch: Watch::of(self.hooks),
            types: PhantomData,
        }
    }
}

impl<I> fmt::Debug for ParIter<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParIter")
            .field("pool", self.pool)
            .field("ordered", &self.ordered)
            .finish_non_exhaustive()
    }
}

/// No result came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotYet;

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting for the next result of a map: none came in time")
    }
}

impl std::error::Error for NotYet {}

/// Results of a map over a pool, one for each item.
///
/// Each call of `next` first hands out items, then waits for a result. A failed task is an `Err` in its place and stops
/// nothing. Dropping it before the end forgets the items that have not begun; nothing more is taken from the iterator.
///
/// # Panics
/// Where the iterator over the items, or the encoding of an item, does. Whoever catches that and asks on gets the results
/// of the items handed out before, and then the end.
#[must_use = "results are computed as they are asked for"]
pub struct Outcomes<'p, I, A, R> {
    pub(crate) pool: &'p Pool,
    function: [u8; 40],
    /// Or why no task can be given out.
    extra: Result<Extra, PackError>,
    /// `None` once it is at its end.
    items: Option<I>,
    in_flight: Option<usize>,
    chunk: Option<usize>,
    ordered: bool,
    rules: Rules,
    sink: Arc<Sink>,
    /// Items taken from the iterator.
    n_taken: usize,
    /// Results given out.
    n_given: usize,
    /// Index of the next result, if ordered.
    next: usize,
    pub(crate) watch: Watch<'p>,
    types: PhantomData<fn(A) -> R>,
}

impl<I: Iterator<Item = A>, A: Message, R: Message> Outcomes<'_, I, A, R> {
    /// The next result, if it comes within `timeout`; `None` at the end. The time that the iterator over the items takes
    /// is not counted. After [`NotYet`] whoever asks on misses nothing.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_pool::{ParProcs, Pool};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let mut doubles = (1..3).par_procs(&pool).chunk(2).map(|n: u32| 2 * n);
    /// assert_eq!(doubles.next_timeout(Duration::from_secs(30))?.transpose()?, Some(2));
    /// # Ok(()) }
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Result<R, TaskFailed>>, NotYet> {
        self.next_by(Deadline::after(timeout))
    }

    /// [`next_timeout`](Self::next_timeout) until `instant`.
    pub fn next_until(&mut self, instant: Instant) -> Result<Option<Result<R, TaskFailed>>, NotYet> {
        self.next_by(Deadline::at(instant))
    }

    /// The next result, if it is there: never waits.
    pub fn try_next(&mut self) -> Result<Option<Result<R, TaskFailed>>, NotYet> {
        self.next_by(Deadline::now())
    }

    fn next_by(&mut self, deadline: Deadline) -> Result<Option<Result<R, TaskFailed>>, NotYet> {
        self.hand_out();
        if self.n_given == self.n_taken {
            self.tell_progress();
            return Ok(None);
        }
        let index = self.ordered.then_some(self.next);
        let (_, outcome) = self.take(index, deadline).ok_or(NotYet)?;
        self.n_given += 1;
        self.next += 1;
        Ok(Some(outcome.and_then(|value| value.decode(&self.pool.shared().name))))
    }

    /// Takes an outcome, telling of the progress meanwhile.
    fn take(&mut self, index: Option<usize>, deadline: Deadline) -> Option<(usize, Outcome)> {
        if !self.watch.is_wanted() {
            return self.pool.shared().take(&self.sink, index, deadline);
        }
        loop {
            let until = deadline.min(Deadline::after(TICK));
            let known = Some(self.watch.n_delivered);
            match self.pool.shared().take_or_news(&self.sink, index, known, until) {
                Taken::Outcome(index, outcome) => return Some((index, outcome)),
                Taken::Nothing if deadline.has_passed() => return None,
                Taken::News | Taken::Nothing => self.tell_progress(),
            }
        }
    }

    fn tell_progress(&mut self) {
        if !self.watch.is_wanted() {
            return;
        }
        let left = match &self.items {
            None => Some(0),
            Some(items) => {
                Some(items.size_hint()).filter(|(least, most)| Some(*least) == *most).map(|(n, _)| n)
            }
        };
        let total = left.and_then(|left| left.checked_add(self.n_taken));
        // Under the lock: nothing is delivered meanwhile, and so nothing counted twice.
        let crew = self.pool.shared().crew();
        let (n_delivered, failed) = self.sink.counts();
        let done = n_delivered + crew.n_finished(&self.sink);
        drop(crew);
        self.watch.n_delivered = n_delivered;
        self.watch.tell(done, failed, total);
    }

    /// Hands out chunks while the bounds allow.
    fn hand_out(&mut self) {
        // Once for all: what is done meanwhile may make the next ones longer, not these.
        let chunk = self.chunk_len();
        while self.items.is_some() {
            let under_way = self.n_taken - self.n_given;
            let most = self.in_flight.unwrap_or(chunk * CHUNKS_PER_WORKER * self.pool.workers());
            // Only whole chunks: results are taken one by one, and so would items be.
            if under_way + chunk > most {
                return;
            }
            self.hand_out_chunk(chunk);
        }
    }

    /// How many items the next chunk should have: what takes [`AIM`], but no more than leaves work for all.
    fn chunk_len(&self) -> usize {
        if let Some(chunk) = self.chunk {
            return chunk.min(self.in_flight.unwrap_or(chunk));
        }
        let by_time = self.sink.nanos_per_item().map_or(1, |nanos| AIM / nanos);
        let shares = CHUNKS_PER_WORKER * self.pool.workers();
        let left = self.items.as_ref().and_then(|items| items.size_hint().1).unwrap_or(usize::MAX);
        let most = self.in_flight.unwrap_or(usize::MAX).min(left).div_ceil(shares).min(MOST_ITEMS);
        usize::try_from(by_time).unwrap_or(usize::MAX).clamp(1, most.max(1))
    }

    fn hand_out_chunk(&mut self, most: usize) {
        let index = self.n_taken;
        let mut packing = Packing::default();
        let mut failed = None;
        // If it panics it is gone, and what was pulled for this chunk with it: nobody waits for that.
        let mut items = self.items.take();
        while packing.len() < most && packing.n_bytes() < ENOUGH_BYTES && failed.is_none() {
            match items.as_mut().and_then(Iterator::next) {
                Some(item) => failed = self.refusal().or_else(|| packing.push(&item).err()),
                None => {
                    items = None;
                    break;
                }
            }
        }
        self.items = items;
        let n = packing.len();
        self.n_taken += n + usize::from(failed.is_some());
        let chunks = Chunks {
            shared: self.pool.shared(),
            function: self.function,
            extra: self.extra.as_ref().cloned().unwrap_or_default(),
            rules: self.rules,
            sink: &self.sink,
        };
        if n > 0 && !chunks.submit(packing, index) {
            self.items = None;
        }
        if let Some(error) = failed {
            chunks.fail(index + n, error);
        }
    }

    /// Why no task can be given out, if so it is.
    fn refusal(&self) -> Option<PackError> {
        self.extra.as_ref().err().map(PackError::again)
    }
}

impl<I: Iterator<Item = A>, A: Message, R: Message> Iterator for Outcomes<'_, I, A, R> {
    type Item = Result<R, TaskFailed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_by(Deadline::NEVER).unwrap_or_default()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let under_way = self.n_taken - self.n_given;
        let (least, most) = self.items.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        (least.saturating_add(under_way), most.and_then(|most| most.checked_add(under_way)))
    }
}

impl<I, A, R> Drop for Outcomes<'_, I, A, R> {
    fn drop(&mut self) {
        if self.n_given < self.n_taken {
            self.pool.shared().crew().forget(&self.sink);
        }
    }
}

impl<I, A, R> fmt::Debug for Outcomes<'_, I, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes")
            .field("taken", &self.n_taken)
            .field("given", &self.n_given)
            .finish_non_exhaustive()
    }
}
