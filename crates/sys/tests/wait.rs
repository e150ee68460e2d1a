//! Waiting for many things at once: descriptors and words, few and many; no wake is lost, and none is kept from others.
//!
//! Nothing here has a tick, so one lost wake hangs until the watchdog.
//!
//! # Safety
//! The child is made by libc's `fork`, runs one function, also to a panic, and ends without returning; glibc makes its
//! allocator usable in a forked child whatever other threads were doing.
#![allow(unsafe_code, reason = "forks")]

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use procession_raw::Waited;
use procession_sys::caps::{self, Capability};
use procession_sys::futex;
use procession_sys::wait::{self, Readable, Watch, Writable};
use procession_sys::{Deadline, Waitable};
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role};

const SOON: Duration = Duration::from_millis(3);

/// Ready as soon as it is not 0. One who sleeps is woken for each change, as in a queue.
#[derive(Debug, Default)]
struct News(AtomicU32);

impl News {
    fn tell(&self) {
        futex::add_and_wake(&self.0, 1, 1);
    }

    fn take(&self) -> bool {
        self.0.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

impl Waitable for News {
    fn look<'a>(&'a self, watch: &mut Watch<'a>) -> bool {
        watch.word(&self.0, 0);
        self.0.load(SeqCst) != 0
    }

    fn leave(&self, _watch: &Watch<'_>) {
        if self.0.load(SeqCst) != 0 {
            futex::wake(&self.0, 1);
        }
    }
}

fn pipes(n: usize) -> Vec<(PipeReader, PipeWriter)> {
    (0..n).map(|_| pipe().unwrap()).collect()
}

fn all<'a>(things: impl IntoIterator<Item = &'a (impl Waitable + 'a)>) -> Vec<&'a dyn Waitable> {
    things.into_iter().map(|thing| thing as &dyn Waitable).collect()
}

/// Without the fallback that sleeps on one word for a tick, which these tests would take for a lost wake.
fn has_waitv() -> bool {
    caps::has(Capability::Waitv)
}

#[test]
fn nothing_and_no_time() {
    guarded(|| {
        assert!(wait::any(&[], Deadline::NEVER).unwrap().is_empty());
        let (news, pipes) = (News::default(), pipes(1));
        let things: [&dyn Waitable; 4] = [&news, &pipes[0].0, &Writable(&pipes[0].1), &Readable(&pipes[0].0)];
        assert_eq!(wait::any(&things, Deadline::now()).unwrap(), [2]);
        for things in [vec![things[0]], vec![things[1]], vec![things[0], things[1]], vec![things[0], &news]] {
            assert!(wait::any(&things, Deadline::now()).unwrap().is_empty());
            assert!(wait::any(&things, Deadline::after(SOON)).unwrap().is_empty());
        }
    });
}

#[test]
fn all_that_are_ready_are_named() {
    guarded(|| {
        let (news, pipes) = ([News::default(), News::default()], pipes(2));
        (&pipes[1].1).write_all(b"x").unwrap();
        news[0].tell();
        let things: [&dyn Waitable; 6] =
            [&news[0], &news[1], &pipes[0].0, &pipes[1].0, &pipes[1].0, &news[0]];
        assert_eq!(wait::any(&things, Deadline::NEVER).unwrap(), [0, 3, 4, 5]);
        assert_eq!(wait::any(&things[1..4], Deadline::NEVER).unwrap(), [2]);
        assert_eq!(wait::any(&things[..3], Deadline::NEVER).unwrap(), [0]);
    });
}

#[test]
fn an_end_is_ready_and_a_file_always_is() {
    guarded(|| {
        let (reader, writer) = pipe().unwrap();
        drop(writer);
        assert_eq!(wait::any(&[&News::default(), &reader], Deadline::NEVER).unwrap(), [1]);
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(wait::any(&[&file, &News::default()], Deadline::NEVER).unwrap(), [0]);
    });
}

/// Each of many things in turn ends a sleep on all of them.
fn each_in_turn(n_words: usize, n_pipes: usize) {
    let news: Vec<News> = (0..n_words).map(|_| News::default()).collect();
    let pipes = pipes(n_pipes);
    let mut things = all(&news);
    things.extend(all(pipes.iter().map(|(reader, _)| reader)));
    let n = things.len();
    let order: Vec<usize> = (0..200).map(|i| i * 7919 % n).collect();
    let turn = AtomicU32::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            for (i, index) in (0..).zip(&order) {
                while turn.load(SeqCst) < i {
                    assert_ne!(
                        futex::wait(&turn, turn.load(SeqCst).min(i), Deadline::NEVER),
                        Waited::TimedOut
                    );
                }
                match news.get(*index) {
                    Some(news) => news.tell(),
                    None => (&pipes[index - n_words].1).write_all(b"x").unwrap(),
                }
            }
        });
        for (i, index) in (1..).zip(&order) {
            assert_eq!(wait::any(&things, Deadline::NEVER).unwrap(), [*index]);
            match news.get(*index) {
                Some(news) => assert!(news.take()),
                None => (&pipes[index - n_words].0).read_exact(&mut [0]).unwrap(),
            }
            futex::store_and_wake(&turn, i, 1);
            // The number is not always one that is stored in one step with the wake.
            futex::wake(&turn, 1);
        }
    });
}

#[test]
fn few_and_many_of_each_kind_in_turn() {
    guarded(|| {
        for (n_words, n_pipes) in [(0, 1), (0, 300), (1, 0), (1, 1), (3, 5)] {
            each_in_turn(n_words, n_pipes);
        }
        if has_waitv() {
            for (n_words, n_pipes) in [(100, 0), (128, 0), (129, 0), (400, 0), (127, 1), (200, 200)] {
                each_in_turn(n_words, n_pipes);
            }
        }
    });
}

fn yield_often() {
    (0..100).for_each(|_| thread::yield_now());
}

/// Helpers that were called off keep no wake from others: the helper sleeps first, then another; the helper is called off,
/// and at once there is one wake, which may still be the helper's.
#[test]
fn a_helper_that_was_called_off_passes_its_wake_on() {
    guarded(|| {
        let (news, (reader, writer)) = (News::default(), pipe().unwrap());
        for _ in 0..300 {
            let begun = Barrier::new(2);
            thread::scope(|s| {
                s.spawn(|| {
                    yield_often();
                    begun.wait();
                    while !news.take() {
                        futex::wait(&news.0, 0, Deadline::NEVER);
                    }
                });
                s.spawn(|| {
                    begun.wait();
                    yield_often();
                    (&writer).write_all(b"x").unwrap();
                });
                assert_eq!(wait::any(&[&news, &reader], Deadline::NEVER).unwrap(), [1]);
                news.tell();
            });
            (&reader).read_exact(&mut [0]).unwrap();
        }
    });
}

/// Waits of both kinds at once from many threads, over the same things: each message is had by one.
#[test]
fn many_wait_for_the_same() {
    guarded(|| {
        let news: Vec<News> = (0..6).map(|_| News::default()).collect();
        let (stop, mut end) = pipe().unwrap();
        const MESSAGES: usize = 3000;
        let taken = AtomicU32::new(0);
        thread::scope(|s| {
            let (news, stop, taken) = (&news, &stop, &taken);
            let wait_for = move |n_words: usize| {
                let mut things: Vec<&dyn Waitable> = all(&news[..n_words]);
                things.push(stop);
                loop {
                    let ready = wait::any(&things, Deadline::NEVER).unwrap();
                    let n = ready.iter().filter(|index| news.get(**index).is_some_and(News::take)).count();
                    if n > 0 && taken.fetch_add(n as u32, SeqCst) as usize + n == MESSAGES {
                        futex::wake(taken, 1);
                    }
                    if ready.contains(&n_words) {
                        return;
                    }
                }
            };
            for _ in 0..4 {
                s.spawn(move || wait_for(6));
            }
            (0..MESSAGES).for_each(|i| news[i % 6].tell());
            loop {
                match taken.load(SeqCst) {
                    n if n as usize == MESSAGES => break,
                    n => drop(futex::wait(taken, n, Deadline::NEVER)),
                }
            }
            end.write_all(b"x").unwrap();
        });
    });
}

#[test]
fn a_forked_child_has_helpers_of_its_own() {
    guarded(|| {
        let (news, (reader, mut writer)) = (News::default(), pipe().unwrap());
        let mixed = |writer: &mut PipeWriter| {
            thread::scope(|s| {
                s.spawn(|| news.tell());
                assert_eq!(wait::any(&[&reader, &news], Deadline::NEVER).unwrap(), [1]);
            });
            assert!(news.take());
            writer.write_all(b"x").unwrap();
            assert_eq!(wait::any(&[&reader, &news], Deadline::NEVER).unwrap(), [0]);
            (&reader).read_exact(&mut [0]).unwrap();
        };
        mixed(&mut writer);
        // SAFETY: see the page.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let child = std::panic::AssertUnwindSafe(|| (0..20).for_each(|_| mixed(&mut writer)));
            let failed = std::panic::catch_unwind(child).is_err();
            procession_sys::child::end_now(i32::from(failed));
        }
        let mut status = -1;
        // SAFETY: waits for the child made here, and writes one local variable.
        let reaped = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!((reaped, status), (pid, 0));
        mixed(&mut writer);
    });
}

/// Where the kernel cannot sleep on many words, all is the same but later.
#[test]
fn without_waitv() {
    if roles::role().is_some() {
        assert!(!has_waitv());
        each_in_turn(2, 3);
        let news: Vec<News> = (0..200).map(|_| News::default()).collect();
        thread::scope(|s| {
            s.spawn(|| news[150].tell());
            assert_eq!(wait::any(&all(&news), Deadline::NEVER).unwrap(), [150]);
        });
        return roles::say("done");
    }
    guarded(|| {
        let mut other = Role::new("without").env(caps::SWITCH, "waitv").spawn();
        assert_eq!(other.hear(Duration::from_secs(50)).as_deref(), Some("done"));
        other.wait_with_output(Duration::from_secs(10)).expect_success();
    });
}
