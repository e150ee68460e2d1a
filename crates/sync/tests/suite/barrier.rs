//! Barrier: all meet, or all learn that they will not.

use std::mem;
use std::panic::catch_unwind;
use std::time::Instant;

use procession_shm::Atomic;
use procession_sync::{
    AttachError, Barrier, BarrierBroken, BarrierWaitResult, Broken, Condvar, Event, Mutex,
};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { barrier, $method, $type; { $($extra)* }
            all_meet_in_each_round
            more_come_than_meet_at_once
            attached_parties_meet_with_others
            a_party_that_dies_breaks_it_for_who_waits
            a_party_that_died_breaks_it_for_who_comes
            a_limit_breaks_it
            an_abort_and_a_reset_end_the_wait
            a_try_is_no_trace_unless_all_are_there
            places
            the_race_of_the_readme
            how_many_can_meet
        }
    };
}
pub(crate) use contract;

pub(crate) type Met = Result<BarrierWaitResult, BarrierBroken>;

const ROUNDS: u32 = 300;

/// Sees in each round that all have come; adds its index and whether it leads.
fn meet((gate, come, sums, attached): (Barrier, Atomic<u32>, [Atomic<u32>; 2], bool)) {
    let _place = attached.then(|| gate.attach().unwrap());
    let n = gate.parties() as u32;
    for round in 0..ROUNDS {
        come.fetch_add(1);
        let met = gate.wait().unwrap();
        assert!((n * (round + 1)..n * (round + 2)).contains(&come.load()));
        sums[0].fetch_add(met.index() as u32);
        sums[1].fetch_add(met.is_leader().into());
    }
}

fn rounds<M: Method>(attached: [bool; 3]) {
    let (gate, come) = (Barrier::new(4).unwrap(), Atomic::new(0).unwrap());
    let sums = [(); 2].map(|()| Atomic::new(0).unwrap());
    let start = |attached| M::start(meet, (gate.clone(), come.clone(), sums.clone(), attached));
    let others = attached.map(start);
    meet((gate.clone(), come.clone(), sums.clone(), false));
    others.into_iter().for_each(Peer::join);
    assert_eq!(sums.each_ref().map(Atomic::load), [6 * ROUNDS, ROUNDS]);
    assert_eq!((gate.n_waiting(), gate.is_broken()), (0, false));
}

pub(crate) fn all_meet_in_each_round<M: Method>() {
    rounds::<M>([false; 3]);
}

pub(crate) fn attached_parties_meet_with_others<M: Method>() {
    rounds::<M>([true; 3]);
    rounds::<M>([true, false, true]);
}

/// As many times in all as were agreed on: an even number, so nobody is left over.
pub(crate) fn more_come_than_meet_at_once<M: Method>() {
    fn come((gate, turns): (Barrier, Atomic<u32>)) -> u32 {
        let turns = std::iter::from_fn(|| (turns.fetch_add(1) < 4 * ROUNDS).then_some(()));
        turns.map(|()| u32::from(gate.wait().unwrap().is_leader())).sum()
    }
    let (gate, turns) = (Barrier::new(2).unwrap(), Atomic::new(0).unwrap());
    let others = [(); 5].map(|()| M::start(come, (gate.clone(), turns.clone())));
    let led: u32 = others.into_iter().map(Peer::join).sum();
    assert_eq!((led, gate.n_waiting()), (2 * ROUNDS, 0));
}

pub(crate) fn wait_for_others(gate: Barrier) -> Result<usize, BarrierBroken> {
    gate.wait_timeout(FAR).map(|met| met.index())
}

pub(crate) fn waiting<M: Method>(gate: &Barrier, n: usize) -> Vec<Peer<Result<usize, BarrierBroken>>> {
    let others = (0..n).map(|_| M::start(wait_for_others, gate.clone())).collect();
    until(|| gate.n_waiting() == n);
    others
}

/// Dies attached, and not arrived.
pub(crate) fn attach_and_die<M: Method>((gate, stage): (Barrier, Atomic<u32>)) {
    mem::forget(gate.attach().unwrap());
    M::ready_to_die(&stage);
}

fn assert_lost(met: Result<usize, BarrierBroken>, pid: u32) {
    let broken = met.unwrap_err();
    let died: Vec<_> = broken.died.iter().map(procession_sync::Participant::pid).collect();
    assert_eq!((died, broken.cause), (vec![pid], Broken::Death));
}

pub(crate) fn a_party_that_dies_breaks_it_for_who_waits<M: Method>() {
    let gate = Barrier::new(3).unwrap();
    let victim = M::start_victim(attach_and_die::<M>, gate.clone()).ready();
    let others = waiting::<M>(&gate, 2);
    let pid = victim.die();
    others.into_iter().for_each(|other| assert_lost(other.join(), pid));
    assert_lost(wait_for_others(gate.clone()), pid);
    assert!(gate.is_broken() && gate.n_waiting() == 0);
    gate.reset();
    assert!(!gate.is_broken());
    let others = waiting::<M>(&gate, 2);
    gate.wait().unwrap();
    assert!(others.into_iter().all(|other| other.join().is_ok()));
}

pub(crate) fn a_party_that_died_breaks_it_for_who_comes<M: Method>() {
    for try_first in [false, true] {
        let gate = Barrier::new(2).unwrap();
        let pid = M::start_victim(attach_and_die::<M>, gate.clone()).ready().die();
        assert!(!gate.is_broken(), "nobody has looked");
        if try_first {
            // Where the kernel does not tell, not at once.
            until(|| matches!(gate.try_wait(), Err(broken) if !broken.died.is_empty()));
        }
        assert_lost(M::start(wait_for_others, gate.clone()).join(), pid);
    }
}

pub(crate) fn a_limit_breaks_it<M: Method>() {
    fn give_up((gate, form): (Barrier, bool)) -> Broken {
        let by = Instant::now() + SOON;
        let met = if form { gate.wait_timeout(SOON) } else { gate.wait_until(by) };
        met.unwrap_err().cause
    }
    for form in [false, true] {
        let gate = Barrier::new(3).unwrap();
        let others = waiting::<M>(&gate, 1);
        assert_eq!(M::start(give_up, (gate.clone(), form)).join(), Broken::TimedOut);
        for other in others {
            let broken = other.join().unwrap_err();
            assert_eq!((broken.died, broken.cause), (vec![], Broken::Aborted));
        }
        assert!(gate.is_broken());
    }
}

pub(crate) fn an_abort_and_a_reset_end_the_wait<M: Method>() {
    let gate = Barrier::new(3).unwrap();
    for abort in [true, false, true] {
        let others = waiting::<M>(&gate, 2);
        M::start(
            |(gate, abort): (Barrier, bool)| if abort { gate.abort() } else { gate.reset() },
            (gate.clone(), abort),
        )
        .join();
        for other in others {
            assert_eq!(other.join().unwrap_err().cause, Broken::Aborted);
        }
        assert_eq!(gate.is_broken(), abort);
        assert_eq!(
            gate.wait_timeout(SOON).unwrap_err().cause,
            if abort { Broken::Aborted } else { Broken::TimedOut }
        );
        gate.reset();
    }
}

pub(crate) fn a_try_is_no_trace_unless_all_are_there<M: Method>() {
    let gate = Barrier::new(2).unwrap();
    assert_eq!((gate.try_wait(), gate.n_waiting(), gate.is_broken()), (Ok(None), 0, false));
    let place = gate.attach().unwrap();
    assert_eq!((gate.try_wait(), gate.n_waiting()), (Ok(None), 0));
    let others = waiting::<M>(&gate, 1);
    assert_eq!(gate.try_wait().unwrap().map(|met| met.index()), Some(place.index()));
    assert!(others.into_iter().all(|other| other.join().is_ok()));
    gate.abort();
    assert_eq!(gate.try_wait().unwrap_err().cause, Broken::Aborted);
}

pub(crate) fn places<M: Method>() {
    fn attach(gate: Barrier) -> bool {
        matches!(gate.attach().map(drop), Err(AttachError::Full))
    }
    let gate = Barrier::new(1).unwrap();
    let place = gate.attach().unwrap();
    assert_eq!((gate.attach().map(drop), place.index()), (Err(AttachError::Already), 0));
    assert!(M::start(attach, gate.clone()).join());
    // Waits for the place, not for a meeting with itself.
    let other = M::start(wait_for_others, gate.clone());
    assert!((0..9).all(|_| gate.wait().unwrap().is_leader()));
    drop(place);
    assert_eq!((other.join(), gate.n_waiting()), (Ok(0), 0));
    assert!(!M::start(attach, gate.clone()).join());
}

fn racer((gate, line, go, stop): (Barrier, Mutex<u32>, Condvar, Event)) {
    match gate.wait() {
        Ok(met) => drop(met.is_leader()),
        Err(broken) => panic!("lost {:?}", broken.died),
    }
    let mut n = go.wait_while(line.lock().unwrap(), |n| *n == 0).unwrap();
    *n += 1;
    stop.set();
}

pub(crate) fn the_race_of_the_readme<M: Method>() {
    let race =
        (Barrier::new(3).unwrap(), Mutex::new(0).unwrap(), Condvar::new().unwrap(), Event::new().unwrap());
    let racers = [(); 3].map(|()| M::start(racer, race.clone()));
    let (_, line, go, stop) = race;
    *line.lock().unwrap() = 1;
    go.notify_all();
    stop.wait();
    racers.into_iter().for_each(Peer::join);
    assert_eq!(*line.lock().unwrap(), 4);
}

pub(crate) fn how_many_can_meet<M: Method>() {
    for n in [0, 1025, usize::MAX] {
        assert!(catch_unwind(|| Barrier::new(n)).is_err());
    }
    assert_eq!(Barrier::new(Barrier::MAX).unwrap().parties(), 1024);
    let met: Met = Barrier::new(1).unwrap().wait();
    assert!(met.unwrap().is_leader());
}
