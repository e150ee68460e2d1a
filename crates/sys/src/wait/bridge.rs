//! From words to a descriptor: helper threads that sleep on words for others who sleep in `poll`.
//!
//! Each helper sleeps on up to [`MAX_WORDS`] words for one wait, and then notifies its event. It is started when none is
//! idle, and ends when it was idle for [`IDLE`]. A fork has none of its parent's, and starts its own.
//!
//! | who | when |
//! |---|---|
//! | the waiting thread sends an [`Errand`], polls the event, and drops the errand | the helper sleeps; is told to stop |
//! | a helper that was told to stop | wakes another sleeper of every word that is no longer as it was: it may have had the wake of one |
//! | a helper that was not | notifies; the waiting thread looks, and [leaves](super::Waitable::leave) the thing |
//!
//! Invariants: a helper never reads a word, it gives its address to the kernel, which refuses one that is no longer mapped.
//! So nobody waits for a helper, and memory goes when its owner lets go of it. An errand is called off before its thing is
//! left: a wake that came before that is seen by the one, a wake that came later is passed on by the other. Held by
//! `tests/wait.rs`.
//!
//! # Safety
//! One raw system call takes an address that may no longer be mapped, and does not touch what is there.
#![allow(unsafe_code, reason = "a wake at an address")]

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::event::Event;
use crate::futex::{self, Address};
use crate::per_process::PerProcess;

/// The most words of one errand: a helper has one more, to be told to stop.
pub(super) const MAX_WORDS: usize = futex::MAX_WORDS - 1;

/// How long a helper that has nothing to do stays.
const IDLE: Duration = Duration::from_secs(2);
/// How many may be idle.
const MAX_IDLE: usize = 8;
/// Enough for two small functions.
const STACK: usize = 128 << 10;

/// Words that a helper sleeps on. Dropping it calls the helper off, and does not wait for it.
#[derive(Debug)]
pub(super) struct Errand(Arc<Order>);

#[derive(Debug)]
struct Order {
    words: Vec<(Address, u32)>,
    event: Arc<Event>,
    /// 1 once it is called off.
    stop: AtomicU32,
    is_done: AtomicBool,
}

/// The helpers of one process.
#[derive(Debug, Default)]
struct Helpers {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Arc<Order>>,
    /// How many helpers wait for an order.
    n_idle: usize,
}

/// Has a helper sleep on `words` until one of them differs from its value or is woken; then it notifies `event`.
///
/// # Errors
/// No thread is to be had.
pub(super) fn send(words: &[(&AtomicU32, u32)], event: &Arc<Event>) -> io::Result<Errand> {
    debug_assert!(words.len() <= MAX_WORDS, "more words than a helper can sleep on");
    let order = Arc::new(Order {
        words: words.iter().map(|(word, value)| (Address::of(word), *value)).collect(),
        event: Arc::clone(event),
        stop: AtomicU32::new(0),
        is_done: AtomicBool::new(false),
    });
    // If there is no thread, it is called off at once.
    let errand = Errand(order);
    helpers().send(&errand.0)?;
    Ok(errand)
}

impl Drop for Errand {
    fn drop(&mut self) {
        if !self.0.is_done.load(Ordering::Acquire) {
            futex::store_and_wake(&self.0.stop, 1, 1);
            // Either the helper sees this, or who leaves the thing now sees what the helper was woken for.
            fence(Ordering::SeqCst);
        }
    }
}

impl Order {
    fn run(&self) {
        futex::wait_at(&self.stop, &self.words);
        self.is_done.store(true, Ordering::Release);
        if self.stop.load(Ordering::Acquire) == 0 {
            self.event.notify();
        } else {
            self.words.iter().for_each(|(address, value)| pass_on(*address, *value));
        }
    }
}

impl Helpers {
    fn send(&'static self, order: &Arc<Order>) -> io::Result<()> {
        let mut state = self.state();
        state.orders.push_back(Arc::clone(order));
        if state.n_idle >= state.orders.len() {
            self.news.notify_one();
            return Ok(());
        }
        drop(state);
        let thread = thread::Builder::new().name("procession-wait".into()).stack_size(STACK);
        let failed = thread.spawn(|| self.help()).err();
        if failed.is_some() {
            self.state().orders.retain(|other| !Arc::ptr_eq(other, order));
        }
        failed.map_or(Ok(()), Err)
    }

    fn help(&self) {
        let mut state = self.state();
        loop {
            if let Some(order) = state.orders.pop_front() {
                drop(state);
                order.run();
                drop(order);
                state = self.state();
                continue;
            }
            if state.n_idle >= MAX_IDLE {
                return;
            }
            state.n_idle += 1;
            let waited = self.news.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            state.n_idle -= 1;
            if waited.1.timed_out() && state.orders.is_empty() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of this process.
fn helpers() -> &'static Helpers {
    static HELPERS: PerProcess<Helpers> = PerProcess::new();
    HELPERS.get(Helpers::default)
}

/// Wakes one who sleeps on a word, if that is no longer as it was.
fn pass_on(address: Address, value: u32) {
    if futex::has_changed_at(address, value) {
        // SAFETY: the kernel looks up who sleeps at the address, and neither reads nor writes there.
        unsafe { libc::syscall(libc::SYS_futex, address.as_ptr(), libc::FUTEX_WAKE, 1) };
    }
}
