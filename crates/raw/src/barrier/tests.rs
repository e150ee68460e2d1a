//! The barrier under kills: of any party at every access.
//!
//! Invariant of each scenario: nobody waits for the dead, without a tick; all who were in a generation agree how it
//! ended; who met was complete.

use core::time::Duration;

use super::place::OWNED;
use super::*;
use crate::Forever;
use crate::world::{Director, State, World, at_every_step, explore};

struct Shared {
    meeting: Meeting,
    places: Vec<Place>,
    /// For each of two generations: who met, who led, for whom it was broken.
    met: [[AtomicU32; 3]; 2],
}

type W = World<Shared>;

fn barrier(w: &W) -> Barrier<'_> {
    Barrier::new(&w.shared.meeting, &w.shared.places)
}

/// Meets twice, or once if that is broken, in the place of its own slot.
fn meet_twice(w: &W) {
    meet(w, 2);
}

fn meet_once(w: &W) {
    meet(w, 1);
}

fn meet(w: &W, times: usize) {
    let me = w.me().unwrap();
    for ends in &w.shared.met[..times] {
        let [met, led, broken] = ends;
        let add = |word: &AtomicU32| word.poke(word.peek() + 1);
        match barrier(w).wait(Attached { me, place: me.slot() as usize }, w, w, &Forever) {
            Ok(is_leader) => [met, led][..1 + usize::from(is_leader)].iter().copied().for_each(add),
            Err(error) => {
                assert_eq!(error, Unmet::Broken);
                return add(broken);
            }
        }
    }
}

/// As many parties, all attached.
fn parties(n: usize, body: fn(&W)) -> Director<Shared> {
    let (meeting, places) = (Meeting::new(), (0..n).map(|_| Place::new()).collect());
    let d = Director::with(Shared { meeting, places, met: Default::default() }, &vec![body; n]);
    for (at, place) in d.world.shared.places.iter().enumerate() {
        place.party.poke(OWNED | d.id(at).to_bits());
    }
    d
}

/// All come to an end without a tick, and agree.
fn settle(d: &Director<Shared>, killed: bool) {
    assert_eq!(d.finish(), 0);
    let n = u32::try_from(d.world.shared.places.len()).unwrap();
    for ends in &d.world.shared.met {
        let [met, led, broken] = ends.each_ref().map(AtomicU32::peek);
        assert!(met == 0 || broken == 0, "{met} met and for {broken} it was broken");
        assert!(led <= 1 && (killed || (met, led) == (n, 1)), "{met} met, {led} led");
        assert!(met == 0 || met >= n - 1);
    }
}

#[test]
fn every_schedule_of_two_parties_and_a_kill_of_either() {
    for victim in [None, Some(0), Some(1)] {
        let runs = explore(2, victim, &|| parties(2, meet_twice), &|d| settle(d, victim.is_some()));
        assert!(runs > 300, "{runs}");
    }
}

#[test]
fn every_schedule_of_three_parties_and_a_kill_of_either() {
    for victim in [None, Some(0), Some(2)] {
        // The others run one after the other once the kill has happened, so they sleep and wake there.
        let runs = explore(1, victim, &|| parties(3, meet_twice), &|d| settle(d, victim.is_some()));
        assert!(runs > 40, "{runs}");
    }
}

#[test]
fn the_last_to_arrive_killed_at_every_step_while_the_others_sleep() {
    let kills = at_every_step(|step| {
        let d = parties(3, meet_twice);
        assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
        let lives = d.run_and_kill(2, step);
        settle(&d, true);
        let lost = barrier(&d.world).lost(&*d.world).collect::<Vec<_>>();
        let broken = d.world.shared.met.iter().any(|ends| ends[2].peek() > 0);
        assert_eq!((lost, barrier(&d.world).is_broken()), (vec![d.id(2)], broken));
        assert!(broken || step > 10, "who dies before it arrives breaks it");
        lives
    });
    assert!(kills > 10, "{kills}");
}

#[test]
fn an_end_whose_maker_died_reaches_all_who_slept() {
    let kills = at_every_step(|step| {
        let d = parties(3, meet_once);
        assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
        let lives = d.run_and_kill(2, step);
        assert_eq!(d.finish(), 0);
        lives
    });
    assert!(kills > 10, "{kills}");
}

#[test]
fn who_dies_after_it_arrived_is_not_missed() {
    let d = parties(3, meet_once);
    assert_eq!([0, 2].map(|n| d.run_on(n)), [State::Asleep; 2]);
    d.kill(2);
    assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep, State::Done]);
    settle(&d, true);
    assert_eq!(d.world.shared.met[0][0].peek(), 2);
}

#[test]
fn a_reset_ends_the_wait_and_frees_the_places_of_the_dead() {
    let kills = at_every_step(|step| {
        let mut d = parties(2, meet_twice);
        d.run_on(0);
        d.kill(1);
        let resets = d.spawn(|w| barrier(w).reset(w, w));
        let lives = d.run_and_kill(resets, step);
        assert!(d.finish() <= 1);
        assert_eq!((d.world.shared.met[0][0].peek(), d.world.shared.met[0][2].peek()), (0, 1));
        let after = d.spawn(|w| {
            barrier(w).reset(w, w);
            let place = barrier(w).attach(w).unwrap();
            assert_eq!(barrier(w).attach(w), Err(AttachError::Already));
            assert_eq!((place.place, barrier(w).is_broken()), (1.min(place.place), false));
            barrier(w).detach(place, w).unwrap();
            assert_eq!(barrier(w).detach(place, w), Err(NotHeld));
            assert_eq!(barrier(w).wait(place, w, w, &Forever), Err(Unmet::NotAttached));
        });
        assert_eq!(d.run_on(after), State::Done);
        lives
    });
    assert!(kills > 5, "{kills}");
}

#[test]
fn abort_and_a_limit_break_it_for_all() {
    struct Now;
    impl Limit for Now {
        fn left(&self) -> Option<Duration> {
            Some(Duration::ZERO)
        }
    }
    for breaks in [
        |w: &W| barrier(w).abort(w),
        |w: &W| {
            let me = w.me().unwrap();
            assert_eq!(barrier(w).wait(Attached { me, place: 2 }, w, w, &Now), Err(Unmet::TimedOut));
            assert_eq!(barrier(w).wait(Attached { me, place: 2 }, w, w, &Now), Err(Unmet::Broken));
        },
    ] {
        let mut d = parties(4, meet_twice);
        assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
        let n = d.spawn(breaks);
        d.world.shared.places[2].party.poke(OWNED | d.id(n).to_bits());
        d.run_on(n);
        assert_eq!([0, 1, 3].map(|n| d.run_on(n)), [State::Done; 3]);
        assert_eq!(d.world.shared.met[0][2].peek(), 3);
    }
}

/// A barrier of two for these threads, none of them attached; how often somebody met, and led.
fn guests(n_places: usize, bodies: &[fn(&W)]) -> Director<Shared> {
    let places = (0..n_places).map(|_| Place::new()).collect();
    Director::with(Shared { meeting: Meeting::new(), places, met: Default::default() }, bodies)
}

fn note(w: &W, place: usize) {
    let [met, led, _] = &w.shared.met[0];
    met.poke(met.peek() + 1);
    led.poke(led.peek() + u32::from(place == 0));
}

fn come(w: &W) {
    note(w, barrier(w).wait_as_guest(w, w, &Forever).unwrap());
}

/// Attached for one meeting, or a guest if others were first.
fn come_and_stay(w: &W) {
    let Ok(at) = barrier(w).attach(w) else { return come(w) };
    assert_eq!((barrier(w).attach(w), barrier(w).place_of(at.me)), (Err(AttachError::Already), Some(at)));
    assert_eq!(barrier(w).wait(at, w, w, &Forever), Ok(at.place == 0));
    note(w, at.place);
    barrier(w).detach(at, w).unwrap();
}

fn settle_guests(d: &Director<Shared>, meetings: u32) {
    assert_eq!(d.finish(), 0);
    let state = d.world.shared.meeting.state.peek();
    let [met, led, _] = d.world.shared.met[0].each_ref().map(AtomicU32::peek);
    let n = u32::try_from(d.world.shared.places.len()).unwrap();
    assert_eq!((met, led, state), (meetings * n, meetings, meetings * GENERATION));
    assert_eq!(barrier(&d.world).n_waiting(), 0);
}

#[test]
fn every_schedule_of_more_guests_than_places() {
    let runs = explore(2, None, &|| guests(2, &[come, come, come, come]), &|d| settle_guests(d, 2));
    assert!(runs > 200, "{runs}");
    let runs = explore(2, None, &|| guests(1, &[come, come]), &|d| settle_guests(d, 2));
    assert!(runs > 50, "{runs}");
}

#[test]
fn every_schedule_of_guests_and_parties_that_come_and_go() {
    let bodies: [fn(&W); 4] = [come_and_stay, come_and_stay, come, come];
    let runs = explore(2, None, &|| guests(2, &bodies), &|d| settle_guests(d, 2));
    assert!(runs > 300, "{runs}");
}

#[test]
fn a_guest_killed_at_every_step_has_arrived_or_not_come() {
    let kills = at_every_step(|step| {
        let mut d = guests(3, &[come, come, come]);
        assert_eq!([0, 1].map(|n| d.run_on(n)), [State::Asleep; 2]);
        assert_eq!(barrier(&d.world).n_waiting(), 2);
        let lives = d.run_and_kill(2, step);
        // In its stead, if it did not come.
        let other = d.spawn(|w| _ = barrier(w).try_wait(None, w, w).unwrap());
        d.run_on(other);
        assert!(d.finish() <= 1, "its death is seen at a tick");
        assert!(d.world.shared.met[0][0].peek() >= 2 && !barrier(&d.world).is_broken());
        lives
    });
    assert!(kills > 10, "{kills}");
}

#[test]
fn a_try_meets_if_it_is_the_last_and_else_leaves_no_trace() {
    let mut d = guests(2, &[come]);
    let tries = |d: &mut Director<Shared>, expected: Result<Option<usize>, Unmet>, attach: bool| {
        let n = d.spawn(move |w| {
            let at = attach.then(|| barrier(w).attach(w).unwrap());
            let met = barrier(w).try_wait(at, w, w);
            assert_eq!(met, expected);
        });
        d.run_on(n)
    };
    assert_eq!(tries(&mut d, Ok(None), false), State::Done);
    assert_eq!(barrier(&d.world).n_waiting(), 0);
    assert_eq!(d.run_on(0), State::Asleep);
    assert_eq!(tries(&mut d, Ok(Some(1)), true), State::Done);
    assert_eq!(d.run_on(0), State::Done);
    assert_eq!(tries(&mut d, Ok(None), false), State::Done);
    // The one that attached has a place and is dead.
    d.kill(2);
    assert_eq!(tries(&mut d, Err(Unmet::Broken), false), State::Done);
    assert_eq!(tries(&mut d, Err(Unmet::Broken), false), State::Done);
}
