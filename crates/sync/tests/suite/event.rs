//! Event: nobody who waits misses it.

use std::time::{Duration, Instant};

use procession_shm::Atomic;
use procession_sync::Event;

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { event, $method, $type; { $($extra)* }
            setting_releases_all_who_wait
            every_form_looks_at_the_flag
            every_form_gives_up
            what_was_done_before_is_seen
            who_waits_is_released_though_it_is_cleared_at_once
            to_and_fro
        }
    };
}
pub(crate) use contract;

/// Waits in one of the forms.
pub(crate) fn wait_by((event, started, form): (Event, Atomic<u32>, u32)) -> bool {
    started.fetch_add(1);
    match form {
        0 => {
            event.wait();
            true
        }
        1 => event.wait_timeout(FAR),
        2 => event.wait_until(Instant::now() + FAR),
        _ => event.wait_timeout(Duration::MAX),
    }
}

fn waiters<M: Method>(event: &Event) -> (Vec<Peer<bool>>, Atomic<u32>) {
    let started = Atomic::new(0).unwrap();
    let start = |form| M::start(wait_by, (event.clone(), started.clone(), form));
    let all = (0..4).map(start).collect();
    until(|| started.load() == 4);
    (all, started)
}

pub(crate) fn setting_releases_all_who_wait<M: Method>() {
    let event = Event::new().unwrap();
    let (all, _) = waiters::<M>(&event);
    assert!(!event.is_set());
    event.set();
    assert!(all.into_iter().all(Peer::join) && event.is_set());
}

fn all_forms(event: &Event) -> [bool; 4] {
    [event.is_set(), event.try_wait(), event.wait_timeout(Duration::ZERO), event.wait_until(Instant::now())]
}

pub(crate) fn every_form_looks_at_the_flag<M: Method>() {
    let event = Event::new().unwrap();
    assert_eq!(all_forms(&event), [false; 4]);
    M::start(|event: Event| event.set(), event.clone()).join();
    event.set();
    assert_eq!(all_forms(&event), [true; 4]);
    event.wait();
    M::start(|event: Event| event.clear(), event.clone()).join();
    assert_eq!(all_forms(&event), [false; 4]);
}

pub(crate) fn every_form_gives_up<M: Method>() {
    fn give_up(event: Event) -> [bool; 2] {
        [event.wait_timeout(SOON), event.wait_until(Instant::now() + SOON)]
    }
    let event = Event::new().unwrap();
    assert_eq!(M::start(give_up, event.clone()).join(), [false; 2]);
    event.set();
    assert_eq!(M::start(give_up, event.clone()).join(), [true; 2]);
}

pub(crate) fn what_was_done_before_is_seen<M: Method>() {
    fn read((event, value): (Event, Atomic<u64>)) -> u64 {
        event.wait();
        value.load()
    }
    let (event, value) = (Event::new().unwrap(), Atomic::new(0).unwrap());
    let reader = M::start(read, (event.clone(), value.clone()));
    value.store(7);
    event.set();
    assert_eq!(reader.join(), 7);
}

/// Whoever was asleep; those who come late see one of the next.
pub(crate) fn who_waits_is_released_though_it_is_cleared_at_once<M: Method>() {
    let event = Event::new().unwrap();
    let (all, _) = waiters::<M>(&event);
    let done = Event::new().unwrap();
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.is_set() {
                event.set();
                event.clear();
                // Rare enough that a flag that is looked at again is clear as a rule.
                assert!(!done.wait_timeout(Duration::from_millis(1)) || done.is_set());
            }
        });
        assert!(all.into_iter().all(Peer::join));
        done.set();
    });
}

pub(crate) fn to_and_fro<M: Method>() {
    const ROUNDS: u32 = 2_000;
    fn answer((ping, pong): (Event, Event)) {
        for _ in 0..ROUNDS {
            ping.wait();
            ping.clear();
            pong.set();
        }
    }
    let (ping, pong) = (Event::new().unwrap(), Event::new().unwrap());
    let other = M::start(answer, (ping.clone(), pong.clone()));
    for _ in 0..ROUNDS {
        ping.set();
        pong.wait();
        pong.clear();
    }
    other.join();
}
