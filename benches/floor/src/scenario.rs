//! The loops that measure: one for each kind of figure, the same for a floor and for ours, which come as closures.
//!
//! Invariants: children are forked for each figure and gone after it; sums are checked, so a lock that lets two in, or
//! work that was not done, is a panic and not a good figure.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cpu::{Placement, Side, pin};
use crate::fork::{Forked, fork};
use crate::judge::Sorted;
use crate::memory::Placed;
use crate::ring::Line;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Pairs of figures for each bar.
    pub pairs: usize,
    /// Batches for each figure, which is their median.
    pub batches: usize,
    /// Calls in a batch of short ones, such as a lock.
    pub calls: u32,
    /// Round trips in a batch that sleeps and wakes.
    pub trips: u32,
    /// How long two processes contend for each figure.
    pub window: Duration,
    /// Killed holders for each figure, which is their median.
    pub kills: usize,
}

impl Effort {
    /// For results.
    pub const FULL: Self =
        Self { pairs: 15, batches: 51, calls: 2000, trips: 50, window: Duration::from_millis(40), kills: 9 };

    /// For a first impression.
    pub const QUICK: Self =
        Self { pairs: 9, batches: 15, calls: 2000, trips: 20, window: Duration::from_millis(10), kills: 3 };

    /// To see that it works.
    pub const ONCE: Self =
        Self { pairs: 1, batches: 1, calls: 10, trips: 2, window: Duration::from_millis(1), kills: 1 };

    /// The same for calls that take as long as a batch of short ones.
    pub fn of_long_calls(self) -> Self {
        Self { calls: 1, ..self }
    }
}

/// Nanoseconds of a call when nobody else does the same. Pins the caller to the near side.
pub fn alone(effort: &Effort, call: impl FnMut()) -> f64 {
    pin(Placement::Cross, Side::Near);
    batches(effort.batches, effort.calls, call) * 1e9
}

/// Millions of calls in a second by two processes at once, each on its own processor. `add_one` adds one to what
/// `count` reads.
///
/// # Panics
/// If the count is not the sum of the calls.
pub fn contended(effort: &Effort, add_one: impl Fn(), count: impl Fn() -> u64) -> f64 {
    /// Calls between two looks at whether it is over.
    const STRETCH: u64 = 64;
    let control = Placed::new(<[Line<AtomicU64>; 2]>::default());
    let [ready, phase] = [&control[0].0, &control[1].0];
    let calls = Placed::new(<[Line<AtomicU64>; 2]>::default());
    let before = count();
    let workers = [Side::Near, Side::Far].map(|side| {
        fork(|| {
            pin(Placement::Cross, side);
            add_one(); // whatever only the first call does
            ready.fetch_add(1, Ordering::AcqRel);
            until(phase, 1);
            let mut made = 1;
            while phase.load(Ordering::Relaxed) == 1 {
                (0..STRETCH).for_each(|_| add_one());
                made += STRETCH;
            }
            calls[side as usize].0.store(made, Ordering::Release);
        })
    });
    until(ready, 2);
    let began = Instant::now();
    phase.store(1, Ordering::Release);
    std::thread::sleep(effort.window);
    phase.store(2, Ordering::Release);
    let seconds = began.elapsed().as_secs_f64();
    workers.into_iter().for_each(Forked::finish);
    let made: u64 = calls.iter().map(|line| line.0.load(Ordering::Acquire)).sum();
    assert_eq!(count().wrapping_sub(before), made, "two were in the lock at once");
    made as f64 / seconds / 1e6
}

/// Microseconds of a round trip: `ping` in this process, `pong` in a child, each returning when its half is done.
pub fn round_trip(
    effort: &Effort,
    placement: Placement,
    mut ping: impl FnMut(),
    mut pong: impl FnMut(),
) -> f64 {
    pin(placement, Side::Near);
    let _child = fork(|| {
        pin(placement, Side::Far);
        loop {
            pong();
        }
    });
    ping(); // the child runs when it is back
    batches(effort.batches, effort.trips, ping) * 1e6
}

/// Millions of messages in a second from a child, which calls `send` all the time, to this process, in which `recv` says
/// how many came.
pub fn one_way(
    effort: &Effort,
    placement: Placement,
    mut send: impl FnMut(),
    mut recv: impl FnMut() -> u32,
) -> f64 {
    pin(placement, Side::Near);
    let _child = fork(|| {
        pin(placement, Side::Far);
        loop {
            send();
        }
    });
    recv(); // the child runs when something came
    let mut rate = || {
        let (began, mut came) = (Instant::now(), 0);
        while came < effort.calls {
            came += recv();
        }
        f64::from(came) / began.elapsed().as_secs_f64() / 1e6
    };
    Sorted::new((0..effort.batches).map(|_| black_box(rate())).collect()).median()
}

/// Millions of messages in a second from two children, which call `send` all the time, to two others, in which `recv` is
/// called all the time, wherever the system lets them run.
pub fn two_to_two(effort: &Effort, send: impl Fn(), recv: impl Fn()) -> f64 {
    /// Calls between two notes of how many.
    const STRETCH: u64 = 16;
    let came = Placed::new(<[Line<AtomicU64>; 2]>::default());
    let _receivers = [0, 1].map(|nth| {
        fork(|| {
            loop {
                (0..STRETCH).for_each(|_| recv());
                came[nth].0.fetch_add(STRETCH, Ordering::Release);
            }
        })
    });
    let _senders = [0, 1].map(|_| {
        fork(|| {
            loop {
                send();
            }
        })
    });
    let all = || came.iter().map(|line| line.0.load(Ordering::Acquire)).sum::<u64>();
    until(&came[0].0, 1);
    until(&came[1].0, 1);
    let (began, before) = (Instant::now(), all());
    std::thread::sleep(effort.window);
    // In a short window perhaps nobody came to a note.
    while all() == before {
        rustix::thread::sched_yield();
    }
    (all() - before) as f64 / began.elapsed().as_secs_f64() / 1e6
}

/// [`round_trip`] between two threads of this process: `pong` says whether it goes on, which it does until `end`.
///
/// # Panics
/// If there is no thread to be had.
pub fn round_trip_of_threads(
    effort: &Effort,
    placement: Placement,
    mut ping: impl FnMut(),
    mut pong: impl FnMut() -> bool + Send,
    end: impl FnOnce(),
) -> f64 {
    pin(placement, Side::Near);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(placement, Side::Far);
            while pong() {}
        });
        ping();
        let micros = batches(effort.batches, effort.trips, ping) * 1e6;
        end();
        micros
    })
}

/// Microseconds from the kill of a lock's holder until a waiter, who slept, has the lock. `hold` takes it and returns;
/// `take` takes it from a holder who died, and gives it back.
///
/// # Panics
/// If the waiter does.
pub fn recovery(effort: &Effort, hold: impl Fn(), take: impl Fn()) -> f64 {
    pin(Placement::Cross, Side::Near);
    Sorted::new((0..effort.kills).map(|_| one_recovery(&hold, &take)).collect()).median()
}

fn one_recovery(hold: &impl Fn(), take: &impl Fn()) -> f64 {
    let words = Placed::new(<[AtomicU64; 3]>::default());
    let [held, waiting, taken] = &*words;
    let holder = fork(|| {
        pin(Placement::Cross, Side::Near);
        hold();
        held.store(1, Ordering::Release);
        loop {
            std::thread::park();
        }
    });
    until(held, 1);
    let waiter = fork(|| {
        pin(Placement::Cross, Side::Far);
        waiting.store(1, Ordering::Release);
        take();
        taken.store(now(), Ordering::Release);
    });
    until(waiting, 1);
    waiter.until_asleep();
    let killed = now();
    holder.kill();
    waiter.finish();
    (taken.load(Ordering::Acquire) - killed) as f64 / 1e3
}

/// The median over batches of the seconds that a call takes.
fn batches(batches: usize, calls: u32, mut call: impl FnMut()) -> f64 {
    let mut batch = || {
        let began = Instant::now();
        for _ in 0..calls {
            call();
        }
        began.elapsed().as_secs_f64() / f64::from(calls)
    };
    Sorted::new((0..batches).map(|_| black_box(batch())).collect()).median()
}

/// Yields until the word has the value, or a later one: who looks seldom may miss one.
fn until(word: &AtomicU64, value: u64) {
    while word.load(Ordering::Acquire) < value {
        rustix::thread::sched_yield();
    }
}

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache_line::CacheLine;
    use crate::futex_lock::FutexLock;
    use crate::futex_ping_pong::PingPong;
    use crate::kernel_pipe::Pipe;
    use crate::locked_value::LockedValue;
    use crate::robust_mutex::{RobustMutex, Taken};
    use procession_testkit::{counted, guarded};

    const FEW: Effort = Effort { batches: 3, calls: 100, window: Duration::from_millis(5), ..Effort::ONCE };

    #[test]
    fn every_kind_of_figure_is_above_zero() {
        counted(|| {
            let lock = Placed::new(FutexLock::default());
            assert!(
                alone(&FEW, || {
                    lock.lock();
                    lock.unlock();
                }) > 0.0
            );
            let value = Placed::new(LockedValue::default());
            assert!(contended(&FEW, || value.add(1), || value.get()) > 0.0);
            for placement in [Placement::Cross, Placement::Same] {
                let words = Placed::new(PingPong::default());
                assert!(round_trip(&FEW, placement, || words.ping(), || words.pong()) > 0.0);
            }
            let line = Placed::new(CacheLine::default());
            assert!(round_trip(&FEW, Placement::Cross, || line.ping(), || line.pong()) > 0.0);
            let pipe = Pipe::new();
            assert!(two_to_two(&FEW, || pipe.send(7), || assert_eq!(pipe.recv(), 7)) > 0.0);
            let (there, back) = (std::sync::mpsc::sync_channel(1), std::sync::mpsc::sync_channel(1));
            let ping = || {
                there.0.send(true).unwrap();
                back.1.recv().unwrap();
            };
            let (come, go) = (there.1, back.0);
            let pong = move || come.recv().unwrap() && go.send(()).is_ok();
            let end = || there.0.send(false).unwrap();
            assert!(round_trip_of_threads(&FEW, Placement::Cross, ping, pong, end) > 0.0);
        });
    }

    #[test]
    #[should_panic(expected = "two were in the lock at once")]
    fn a_lock_that_lets_two_in_is_no_lock() {
        guarded(|| {
            let number = Placed::new(AtomicU64::new(0));
            let add = || number.store(number.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            for _ in 0..100 {
                contended(&FEW, add, || number.load(Ordering::Relaxed));
            }
        });
    }

    #[test]
    fn a_robust_mutex_goes_to_a_waiter_who_is_told() {
        counted(|| {
            let mutex = RobustMutex::new();
            let take = || {
                assert_eq!(mutex.lock(), Taken::OwnerDied);
                mutex.unlock();
            };
            let effort = Effort { kills: 3, ..FEW };
            assert!(recovery(&effort, || assert_eq!(mutex.lock(), Taken::Clean), take) > 0.0);
            assert_eq!(mutex.lock(), Taken::Clean);
            mutex.unlock();
        });
    }
}
