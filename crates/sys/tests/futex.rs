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

/// Two processes count in turns, one the even numbers and one the odd; each sleeps without a deadline.
fn count_in_turns(word: &AtomicU32, first: u32, rounds: u32) {
    for n in (first..2 * rounds).step_by(2) {
        while word.load(SeqCst) != n {
            let before = n.wrapping_sub(1);
            assert_ne!(futex::wait(word, before, Deadline::NEVER), Waited::TimedOut);
        }
        SharedPark.add_and_wake(word, 1, 1);
    }
}

/// Two processes set one bit after the other, in turns, and clear all after the last.
fn set_in_turns(word: &AtomicU32, first: u32, rounds: u32) {
    const BITS: u32 = 10;
    for n in (first..2 * rounds).step_by(2) {
        let before = (1 << (n % BITS)) - 1;
        loop {
            let now = word.load(SeqCst);
            if now == before {
                break;
            }
            assert_ne!(futex::wait(word, now, Deadline::NEVER), Waited::TimedOut);
        }
        if n % BITS == BITS - 1 {
            futex::store_and_wake(word, 0, 1);
        } else {
            SharedPark.set_and_wake(word, 1 << (n % BITS), 1);
        }
    }
}

#[test]
fn no_wake_is_lost_where_words_are_added_to_and_bits_are_set() {
    const ROUNDS: u32 = 10_000;
    let play = |page: &Mapping, first| {
        count_in_turns(page.atomic_u32(0), first, ROUNDS);
        set_in_turns(page.atomic_u32(64), first, ROUNDS);
    };
    let _watchdog = support::watchdog();
    if let Some(page) = their_page() {
        return play(&page, 1);
    }
    let name = "no_wake_is_lost_where_words_are_added_to_and_bits_are_set";
    with_another_process(name, |_| {}, |page| play(page, 0));
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

/// Four sleep until `wake`, which is asked to wake three at a time and says how many, has woken them all.
fn wake_four(wake: fn(&AtomicU32) -> u32) {
    let word = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| while futex::wait(&word, 0, Deadline::NEVER) == Waited::Changed {});
        }
        let mut woken = 0;
        while woken < 4 {
            let now = wake(&word);
            assert!(now <= 3);
            woken += now;
            thread::yield_now();
        }
    });
}

#[test]
fn as_many_are_woken_as_asked_for() {
    let _watchdog = support::watchdog();
    // None of these changes the word, so all four come to sleep.
    wake_four(|word| futex::wake(word, 3));
    wake_four(|word| futex::store_and_wake(word, 0, 3));
    wake_four(|word| SharedPark.add_and_wake(word, 0, 3));
    wake_four(|word| SharedPark.set_and_wake(word, 0, 3));
}
