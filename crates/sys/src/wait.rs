//! Waiting for several things at once, whatever they are made of: descriptors, or words of shared memory.
//!
//! A thing that can be waited for is a [`Waitable`]. It is asked to look at itself, and says what would end a sleep: a
//! descriptor for `poll`, or words that whoever changes the thing wakes.
//!
//! | what the things sleep on | how this thread sleeps |
//! |---|---|
//! | descriptors only | `poll` |
//! | up to [`MAX_WORDS`] words | `futex_waitv` on them, or on the first one for a tick where the kernel cannot |
//! | both, or more words | `poll`, and helpers sleep on the words (`wait/bridge.rs`); without `futex_waitv`, ever longer naps |
//!
//! Invariants: before a sleep every thing has looked at itself after it had said that somebody sleeps, so no wake is
//! lost; after a sleep every thing that was slept on is [left](Waitable::leave), when nobody sleeps on its words for us any
//! more, so that a wake that was meant for one of several is passed on. Held by `tests/wait.rs`, and by the contract
//! `wait` of the crates above.

mod bridge;
mod of_std;
mod watch;

use std::hint;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFd;

use crate::caps::{self, Capability};
use crate::event::Event;
use crate::futex::{self, MAX_WORDS, TICK};
use crate::{Deadline, Result, poll};

pub use of_std::{At, Readable, Writable};
pub use watch::{Source, Watch};

/// Something that can be waited for together with others.
///
/// # Examples
/// A number that is waited for until it changes:
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use procession_sys::wait::{self, Watch, Waitable};
/// use procession_sys::{Deadline, futex};
///
/// struct News(AtomicU32);
/// impl Waitable for News {
///     fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
///         let is_news = self.0.load(Ordering::Acquire) != 0;
///         if !is_news {
///             watch.word(&self.0, 0);
///         }
///         is_news
///     }
/// }
///
/// let (news, old) = (News(AtomicU32::new(0)), News(AtomicU32::new(0)));
/// std::thread::scope(|s| {
///     s.spawn(|| futex::store_and_wake(&news.0, 1, u32::MAX));
///     assert_eq!(wait::any(&[&old, &news], Deadline::NEVER)?, [1]);
///     Ok::<(), procession_sys::OsError>(())
/// })?;
/// # Ok::<(), procession_sys::OsError>(())
/// ```
pub trait Waitable {
    /// Whether the wait is over, as far as this thing is concerned. If it is not, it says in `watch` what would end a
    /// sleep: a [descriptor](Watch::descriptor) (of which nobody need ask whether it is ready), [words](Watch::word), or
    /// that it is to be [asked again](Watch::look_again) after some time.
    ///
    /// If the watch [lies down](Watch::lies_down), this thread sleeps next: a thing whose users only wake who has said that
    /// he sleeps says so now, and looks again after that. If not, nothing is to be changed that would make others do more.
    ///
    /// Does not block, but for others that are in the middle.
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool;

    /// Called once, after a wait that slept on this thing. The thing passes on the wake that this thread may have had in
    /// the place of another.
    fn leave(&self, watch: &Watch<'_>) {
        let _ = watch;
    }
}

impl<T: Waitable + ?Sized> Waitable for &T {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        (**self).look(watch)
    }

    fn leave(&self, watch: &Watch<'_>) {
        (**self).leave(watch);
    }
}

/// Waits until one of `things` is ready, or `deadline`; the indices of all that are, in order. None exactly if the deadline
/// passed, or if there are no things.
///
/// Blocks; a deadline that has passed looks once. A thing that occurs twice is answered twice.
///
/// # Errors
/// Lack of memory in the system, or more descriptors than the limit of open ones.
pub fn any(things: &[&dyn Waitable], deadline: Deadline) -> Result<Vec<usize>> {
    if things.is_empty() {
        return Ok(Vec::new());
    }
    let mut wait = Wait::new(things);
    wait.look(false);
    if wait.is_ready() || deadline.has_passed() {
        wait.poll(None, Deadline::now())?;
        return Ok(wait.ready());
    }
    if wait.has_descriptors_only() {
        wait.poll(None, deadline)?;
        return Ok(wait.ready());
    }
    if wait.watches.iter().any(Watch::has_words) {
        wait.spin();
    }
    let answer = wait.sleep_until_ready(deadline);
    wait.leave();
    answer.map(|()| wait.ready())
}

/// How long to look at words before sleeping: waking a sleeper costs more than that.
const SPIN: Duration = Duration::from_micros(12);
/// Looks between two yields, so that others get on where all share a core.
const LOOKS: u32 = 16;
/// The first nap where nothing can end a sleep on words beside descriptors. Doubles up to a [`TICK`].
const NAP: Duration = Duration::from_millis(1);

/// One wait.
struct Wait<'t> {
    things: &'t [&'t dyn Waitable],
    watches: Vec<Watch<'t>>,
    /// What helpers tell of words; made when first needed.
    event: Option<Arc<Event>>,
    has_slept: bool,
    /// How many naps in a row ended by themselves.
    naps: u32,
}

impl<'t> Wait<'t> {
    fn new(things: &'t [&'t dyn Waitable]) -> Self {
        let watches = things.iter().map(|_| Watch::new()).collect();
        Self { things, watches, event: None, has_slept: false, naps: 0 }
    }

    fn look(&mut self, lies_down: bool) {
        for (thing, watch) in self.things.iter().zip(&mut self.watches) {
            watch.begin(lies_down, self.naps);
            watch.is_ready = thing.look(watch);
        }
    }

    fn is_ready(&self) -> bool {
        self.watches.iter().any(|watch| watch.is_ready)
    }

    fn ready(&self) -> Vec<usize> {
        (0..).zip(&self.watches).filter(|(_, watch)| watch.is_ready).map(|(index, _)| index).collect()
    }

    fn has_descriptors_only(&self) -> bool {
        self.watches.iter().all(|watch| {
            watch.source.is_some() && !watch.is_stirred && !watch.has_words() && watch.nap.is_none()
        })
    }

    /// Waits until a descriptor of a thing, or `news`, is ready, and marks the things.
    fn poll(&mut self, news: Option<&Event>, deadline: Deadline) -> Result<()> {
        let watched = |watch: &&mut Watch<'t>| watch.source.is_some() && !watch.is_ready;
        let mut watches: Vec<&mut Watch<'t>> = self.watches.iter_mut().filter(watched).collect();
        if watches.is_empty() && news.is_none() && deadline.has_passed() {
            return Ok(());
        }
        let sources = watches.iter().filter_map(|watch| watch.source.as_ref());
        let mut entries: Vec<PollFd<'_>> = sources.map(watch::entry).collect();
        entries.extend(news.map(|news| PollFd::new(news, rustix::event::PollFlags::IN)));
        poll::entries(&mut entries, deadline)?;
        let ready: Vec<bool> = entries.iter().map(|entry| !entry.revents().is_empty()).collect();
        watches.iter_mut().zip(ready).for_each(|(watch, ready)| watch.is_ready = ready && !watch.is_stirred);
        Ok(())
    }

    /// Looks at things that are words until one is ready, for as long as it pays.
    fn spin(&mut self) {
        let began = Instant::now();
        while !self.is_ready() && began.elapsed() < SPIN {
            for _ in 0..LOOKS {
                hint::spin_loop();
            }
            for (thing, watch) in self.things.iter().zip(&mut self.watches) {
                if watch.has_words() {
                    watch.begin(false, 0);
                    watch.is_ready = thing.look(watch);
                }
            }
            thread::yield_now();
        }
    }

    fn sleep_until_ready(&mut self, deadline: Deadline) -> Result<()> {
        loop {
            let is_late = deadline.has_passed();
            self.look(!is_late);
            if is_late || self.is_ready() {
                return self.poll(None, Deadline::now());
            }
            self.has_slept = true;
            let until = self.sleep(deadline)?;
            if self.is_ready() {
                // Those that are words may be ready as well.
                self.look_at_the_others();
                return Ok(());
            }
            self.naps = if until.has_passed() { self.naps + 1 } else { 0 };
        }
    }

    fn look_at_the_others(&mut self) {
        for (thing, watch) in self.things.iter().zip(&mut self.watches) {
            if !watch.is_ready && (watch.source.is_none() || watch.is_stirred) {
                watch.begin(false, 0);
                watch.is_ready = thing.look(watch);
            }
        }
    }

    /// Sleeps once on all that there is, and marks descriptors that are ready; says until when it would have slept.
    fn sleep(&mut self, deadline: Deadline) -> Result<Deadline> {
        let nap = self.watches.iter().filter_map(|watch| watch.nap).min().map(Deadline::after);
        let until = nap.map_or(deadline, |nap| deadline.min(nap));
        let words = self.words();
        if words.is_empty() {
            return self.poll(None, until).map(|()| until);
        }
        let has_descriptors = self.watches.iter().any(|watch| watch.source.is_some());
        if !has_descriptors && (words.len() <= MAX_WORDS || !caps::has(Capability::Waitv)) {
            futex::wait_any(&words, until);
            return Ok(until);
        }
        let Some(errands) = self.errands(&words) else {
            let nap = NAP.saturating_mul(1 << self.naps.min(6)).min(TICK);
            let until = until.min(Deadline::after(nap));
            return self.poll(None, until).map(|()| until);
        };
        let event = self.event.clone();
        let polled = self.poll(event.as_deref(), until);
        // From here on nobody sleeps for us, or he passes on what he is woken for.
        drop(errands);
        polled.map(|()| until)
    }

    /// Sends helpers to sleep on the words; `None` if there are none to be had.
    fn errands(&mut self, words: &[(&AtomicU32, u32)]) -> Option<Vec<bridge::Errand>> {
        if !caps::has(Capability::Waitv) {
            return None;
        }
        let event = match &self.event {
            Some(event) => event,
            None => self.event.insert(Arc::new(Event::new().ok()?)),
        };
        event.clear();
        words.chunks(bridge::MAX_WORDS).map(|words| bridge::send(words, event).ok()).collect()
    }

    /// The words of all things, each once.
    fn words(&self) -> Vec<(&'t AtomicU32, u32)> {
        let mut words: Vec<_> = self.watches.iter().flat_map(Watch::words).collect();
        let by_place = |(word, value): &(&AtomicU32, u32)| (std::ptr::from_ref(*word), *value);
        if self.things.len() > 1 {
            words.sort_by_key(by_place);
            words.dedup_by_key(|word| by_place(word));
        }
        words
    }

    fn leave(&self) {
        if self.has_slept {
            self.things.iter().zip(&self.watches).for_each(|(thing, watch)| thing.leave(watch));
        }
    }
}
