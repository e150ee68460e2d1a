//! Futexes across two processes: no wake is lost, however sleeping and waking interleave; the fallbacks for
//! missing capabilities give the same answers.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;

use procession_raw::{Park, Waited};
use procession_sys::Deadline;
use procession_sys::caps::{self, Capability};
use procession_sys::futex::{self, SharedPark};
use procession_sys::memory::{Mapping, Memfd};

const MEMORY: &str = "PROCESSION_SYS_TEST_MEMORY";

/// Runs `ours` here and the test `name` in the role "theirs" in another process, over the same page.
fn with_another_process(name: &str, configure: impl FnOnce(&mut Command), ours: impl FnOnce(&Mapping)) {
    let memory = Memfd::sealed("page", 4096).unwrap();
    let page = Mapping::shared(&memory).unwrap();
    let mut command = support::again(name, "theirs");
    let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
    configure(command.env(MEMORY, path));
    let mut child: Child = command.spawn().unwrap();
    ours(&page);
    assert!(child.wait().unwrap().success());
}

/// The page, in the process that was started for it.
fn their_page() -> Option<Mapping> {
    support::role()?;
    let path = std::env::var_os(MEMORY).unwrap();
    let file = File::options().read(true).write(true).open(path).unwrap();
    Some(Mapping::shared(&Memfd::adopt(file.into()).unwrap()).unwrap())
}

fn sleep_while(word: &AtomicU32, value: u32) {
    while word.load(SeqCst) == value {
        assert_ne!(futex::wait(word, value, Deadline::NEVER), Waited::TimedOut);
    }
}

/// Two processes hand a turn to and fro; each sleeps without a deadline, so one lost wake would hang.
fn play(word: &AtomicU32, mine: u32, other: u32, rounds: u32) {
    for _ in 0..rounds {
        sleep_while(word, other);
        assert_eq!(word.load(SeqCst), mine);
        futex::store_and_wake(word, other, 1);
    }
}

#[test]
fn no_wake_is_lost_between_processes() {
    const ROUNDS: u32 = 20_000;
    // Stored and woken in one step; the same in two.
    let turns = [(0, 1), (5_000, 0)];
    let _watchdog = support::watchdog();
    if let Some(page) = their_page() {
        for (place, (a, b)) in turns.into_iter().enumerate() {
            play(page.atomic_u32(place * 4), b, a, ROUNDS);
        }
        return;
    }
    with_another_process(
        "no_wake_is_lost_between_processes",
        |_| {},
        |page| {
            page.atomic_u32(4).store(turns[1].0, SeqCst);
            for (place, (a, b)) in turns.into_iter().enumerate() {
                play(page.atomic_u32(place * 4), a, b, ROUNDS);
            }
        },
    );
}

/// We count down on one of two words, chosen by the round; they sleep on both.
fn count_on_two_words(name: &str, rounds: u32, configure: impl FnOnce(&mut Command)) {
    let _watchdog = support::watchdog();
    if let Some(page) = their_page() {
        let (words, done) = ([page.atomic_u32(0), page.atomic_u32(64)], page.atomic_u32(128));
        let mut seen = [0, 0];
        while seen[0] + seen[1] < rounds {
            assert_ne!(
                SharedPark.wait_any(&[(words[0], seen[0]), (words[1], seen[1])], None),
                Waited::TimedOut
            );
            seen = words.map(|word| word.load(SeqCst));
            done.store(seen[0] + seen[1], SeqCst);
            SharedPark.wake(done, u32::MAX);
        }
        return;
    }
    with_another_process(name, configure, |page| {
        for round in 0..rounds {
            let word = page.atomic_u32(if round % 3 == 0 { 0 } else { 64 });
            word.fetch_add(1, SeqCst);
            futex::wake(word, 1);
            let done = page.atomic_u32(128);
            while done.load(SeqCst) <= round {
                futex::wait(done, round, Deadline::NEVER);
            }
        }
    });
}

#[test]
fn sleeping_on_two_words() {
    // Run without the capability, two of three wakes wait for a tick.
    let rounds = if caps::has(Capability::Waitv) { 10_000 } else { 30 };
    count_on_two_words("sleeping_on_two_words", rounds, |_| {});
}

#[test]
fn sleeping_on_two_words_without_the_capability() {
    if support::role().is_some() {
        assert!(!caps::has(Capability::Waitv));
        assert!(caps::has(Capability::Pidfd));
    }
    let name = "sleeping_on_two_words_without_the_capability";
    count_on_two_words(name, 30, |command| _ = command.env(caps::SWITCH, "waitv,nonsense"));
}

#[test]
fn sleeping_on_more_words_than_the_kernel_takes() {
    let _watchdog = support::watchdog();
    let words: Vec<AtomicU32> = (0..futex::MAX_WORDS as u32 + 3).map(AtomicU32::new).collect();
    let entries: Vec<(&AtomicU32, u32)> = words.iter().zip(0..).collect();
    for n in [1, 2, 4, 5, futex::MAX_WORDS, futex::MAX_WORDS + 3] {
        let soon = Deadline::after(futex::TICK / 10);
        assert_eq!(futex::wait_any(&entries[..n], soon), Waited::TimedOut, "{n} words");
        thread::scope(|scope| {
            let sleeper =
                scope.spawn(|| while futex::wait_any(&entries[..n], Deadline::NEVER) != Waited::Changed {});
            words[n - 1].fetch_add(1, SeqCst);
            futex::wake(&words[n - 1], 1);
            sleeper.join().unwrap();
        });
        words[n - 1].fetch_sub(1, SeqCst);
    }
}

#[test]
fn as_many_are_woken_as_asked_for() {
    let _watchdog = support::watchdog();
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| futex::wait(&word, 0, Deadline::NEVER));
        }
        let mut woken = 0;
        while woken < 4 {
            let now = futex::wake(&word, 3);
            assert!(now <= 3);
            woken += now;
            thread::yield_now();
        }
    });
}
