//! Condvar: no notification is lost between giving the lock back and sleeping, and no death stops the others.
//!
//! A waiter counts itself under the lock, so whoever sees the count under the lock knows that it waits.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession_shm::{Atomic, Plain};
use procession_sync::{Condvar, Failed, Lock, LockError, Mutex, OrRepair, RLock};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { condvar, $method, $type; { $($extra)* }
            a_ball_goes_to_and_fro
            as_many_as_are_notified
            all_who_wait
            the_time_is_up
            the_condition_is_asked_first
            with_a_lock_and_with_all_levels_of_a_recursive_one
            a_holder_dies_while_others_wait
            a_condition_that_panics_poisons
            one_handle_for_all
        }
    };
}
pub(crate) use contract;

#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
pub(crate) struct State {
    pub(crate) waiting: u32,
    pub(crate) tickets: u32,
    pub(crate) served: u32,
    pub(crate) ball: u32,
}

pub(crate) type Pair = (Mutex<State>, Condvar);

pub(crate) fn pair() -> Pair {
    (Mutex::new(State::default()).unwrap(), Condvar::new().unwrap())
}

const ROUNDS: u32 = 2_000;

/// Player `n` of two plays when the ball is its.
fn play(((state, changed), n): (Pair, u32)) {
    for round in 0..ROUNDS {
        let theirs = |state: &mut State| state.ball != 2 * round + n;
        let mut state = changed.wait_while(state.lock().unwrap(), theirs).unwrap();
        state.ball += 1;
        changed.notify_one();
    }
}

pub(crate) fn a_ball_goes_to_and_fro<M: Method>() {
    let pair = pair();
    let others = [0, 1].map(|n| M::start(play, (pair.clone(), n)));
    others.into_iter().for_each(Peer::join);
    assert_eq!(pair.0.lock().unwrap().ball, 2 * ROUNDS);
}

/// Waits for a ticket, however often it is woken.
pub(crate) fn take_a_ticket((state, changed): Pair) {
    let mut guard = state.lock().or_carry_on().unwrap();
    guard.waiting += 1;
    while guard.tickets == 0 {
        guard = changed.wait(guard).or_carry_on().unwrap();
    }
    guard.tickets -= 1;
    guard.served += 1;
}

pub(crate) fn wait_for_waiters((state, _): &Pair, n: u32) {
    until(|| state.lock().unwrap().waiting == n);
}

pub(crate) fn as_many_as_are_notified<M: Method>() {
    let pair = pair();
    let (state, changed) = &pair;
    let others = [(); 5].map(|()| M::start(take_a_ticket, pair.clone()));
    wait_for_waiters(&pair, 5);
    for (n, served) in [(2, 2), (1, 3), (2, 5)] {
        state.lock().unwrap().tickets += n;
        changed.notify_n(n);
        until(|| state.lock().unwrap().served == served);
    }
    others.into_iter().for_each(Peer::join);
    changed.notify_n(7);
    assert_eq!(*state.lock().unwrap(), State { waiting: 5, served: 5, ..State::default() });
}

pub(crate) fn all_who_wait<M: Method>() {
    let pair = pair();
    let others = [(); 4].map(|()| M::start(take_a_ticket, pair.clone()));
    wait_for_waiters(&pair, 4);
    pair.0.lock().unwrap().tickets = 4;
    pair.1.notify_all();
    others.into_iter().for_each(Peer::join);
}

fn wait_in_vain((state, changed): Pair) {
    let never = |state: &mut State| state.tickets == 0;
    let begun = Instant::now();
    let mut guard = state.lock().unwrap();
    // A wait may end early, for no reason.
    loop {
        let (back, result) = changed.wait_timeout(guard, SOON).unwrap();
        guard = back;
        if result.timed_out() {
            break;
        }
    }
    loop {
        let (back, result) = changed.wait_until(guard, Instant::now() + SOON).unwrap();
        guard = back;
        if result.timed_out() {
            break;
        }
    }
    let (guard, result) = changed.wait_timeout_while(guard, SOON, never).unwrap();
    assert!(result.timed_out());
    let (guard, result) = changed.wait_until_while(guard, Instant::now() + SOON, never).unwrap();
    assert!(result.timed_out() && begun.elapsed() >= 4 * SOON);
    assert!(matches!(state.lock(), Err(Failed::Deadlock)), "the lock is ours again");
    drop(guard);
    assert!(!state.is_locked());
}

pub(crate) fn the_time_is_up<M: Method>() {
    M::start(wait_in_vain, pair()).join();
}

pub(crate) fn the_condition_is_asked_first<M: Method>() {
    fn ask((state, changed): Pair) {
        let once = |_: &mut State| false;
        let guard = changed.wait_while(state.lock().unwrap(), once).unwrap();
        let (guard, result) = changed.wait_timeout_while(guard, Duration::ZERO, once).unwrap();
        assert!(!result.timed_out());
        let (_, result) = changed.wait_until_while(guard, Instant::now(), once).unwrap();
        assert!(!result.timed_out());
    }
    M::start(ask, pair()).join();
}

type Plainly = (Lock, RLock, Condvar, Atomic<u32>);

/// Waits with a lock, then with three levels of a recursive one.
fn wait_without_data((lock, rlock, changed, n): Plainly) {
    let mut guard = lock.lock().unwrap();
    n.fetch_add(1);
    while n.load() < 2 {
        guard = changed.wait(guard).unwrap();
    }
    drop(guard);
    assert!(!lock.is_locked());
    let [a, b, mut c] = [(); 3].map(|()| rlock.lock().unwrap());
    n.fetch_add(1);
    c = changed.wait_while(c, |()| n.load() < 4).unwrap();
    for guard in [a, b, c] {
        assert!(rlock.is_locked());
        drop(guard);
    }
    assert!(!rlock.is_locked());
}

pub(crate) fn with_a_lock_and_with_all_levels_of_a_recursive_one<M: Method>() {
    let all = (Lock::new().unwrap(), RLock::new().unwrap(), Condvar::new().unwrap(), Atomic::new(0).unwrap());
    let other = M::start(wait_without_data, all.clone());
    let (lock, rlock, changed, n) = all;
    until(|| n.load() == 1);
    let guard = lock.lock_timeout(FAR).unwrap();
    n.store(2);
    changed.notify_one();
    drop(guard);
    until(|| n.load() == 3);
    let guard = rlock.lock_timeout(FAR).unwrap();
    n.store(4);
    changed.notify_all();
    drop(guard);
    other.join();
}

fn wait_for_a_death((state, changed): Pair) -> LockError {
    let mut guard = state.lock().unwrap();
    guard.waiting += 1;
    changed.wait_while(guard, |_| true).map(drop).unwrap_err().into()
}

fn die_inside<M: Method>(((state, _), stage): (Pair, Atomic<u32>)) {
    let mut guard = state.lock().unwrap();
    guard.tickets = 9;
    mem::forget(guard);
    M::ready_to_die(&stage);
}

pub(crate) fn a_holder_dies_while_others_wait<M: Method>() {
    let pair = pair();
    let others = [(); 2].map(|()| M::start(wait_for_a_death, pair.clone()));
    wait_for_waiters(&pair, 2);
    let pid = M::start_victim(die_inside::<M>, pair.clone()).ready().die();
    pair.1.notify_all();
    let errors = others.map(Peer::join);
    let died = |error: &LockError| matches!(error, LockError::OwnerDied(dead) if dead.pid() == pid);
    assert_eq!(errors.iter().filter(|error| died(error)).count(), 1, "{errors:?}");
    assert_eq!(errors.iter().filter(|error| **error == LockError::Poisoned).count(), 1, "{errors:?}");
    assert_eq!(pair.0.lock().or_carry_on().unwrap().tickets, 9);
}

pub(crate) fn a_condition_that_panics_poisons<M: Method>() {
    fn panic_inside((state, changed): Pair) {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let panics = |_: &mut State| std::panic::resume_unwind(Box::new(()));
            let _ = changed.wait_while(state.lock().unwrap(), panics);
        }));
        assert!(panic.is_err());
    }
    let pair = pair();
    M::start(panic_inside, pair.clone()).join();
    let timed = match pair.0.lock() {
        Err(Failed::Poisoned(poisoned)) => pair.1.wait_timeout(poisoned.into_inner(), Duration::ZERO),
        other => panic!("{other:?}"),
    };
    drop(timed.or_carry_on().unwrap());
    drop(pair.0.lock().unwrap());
}

/// A lock and its condition in one piece of memory.
#[derive(Clone, procession_shm::Shared)]
struct Room {
    state: Mutex<State>,
    changed: [Condvar; 2],
}

pub(crate) fn one_handle_for_all<M: Method>() {
    fn visit(room: Room) {
        let mut state = room.state.lock().unwrap();
        state.waiting += 1;
        room.changed[0].notify_one();
        drop(room.changed[1].wait_while(state, |state| state.tickets == 0).unwrap());
    }
    let room: Room = procession_shm::Shared::create((State::default(), [(); 2])).unwrap();
    let other = M::start(visit, room.clone());
    let empty = |state: &mut State| state.waiting == 0;
    let mut state = room.changed[0].wait_while(room.state.lock().unwrap(), empty).unwrap();
    state.tickets = 1;
    drop(state);
    room.changed[1].notify_one();
    other.join();
}
