//! A writer that follows a dead one and gives up because of a reader: the next one gets the news, and the name.

use super::*;

/// One change, if nobody is in the way.
fn try_change(w: &W) {
    let Shared { lock, .. } = &w.shared;
    match lock.write(w, w, &Until(true.into())) {
        Ok(held) => {
            let me = write_in(w, held);
            lock.unlock_write(w, me).unwrap();
        }
        Err(error) => assert!(matches!(error, LockError::TimedOut(_)), "{error}"),
    }
}

#[test]
fn every_schedule_of_readers_and_writers_that_try_tells_the_dead_once_by_name() {
    for threads in [[look, try_change, change], [look, try_change, look], [try_change, look, try_change]] {
        let make = || {
            let mut d = half_written();
            threads.into_iter().for_each(|body| _ = d.spawn(body));
            d
        };
        let run = |victim| {
            explore(2, victim, &make, &|d| {
                settle(d, u32::from(victim.is_some()));
                let told = d.world.shared.told[0].peek();
                // Who followed the dead may take the name with it, and never the poison.
                assert!(told == 1 || victim.is_some(), "the name was told {told} times");
            })
        };
        let runs = [None, Some(1), Some(2)].map(run);
        assert!(runs.iter().all(|&n| n > 200), "{runs:?}");
    }
}

/// A thread that reads, and the id of one that died waiting for it.
fn waited_for() -> (Director<Shared>, Id) {
    let d = director(&[look, change]);
    d.run(0, 5);
    assert_eq!(d.run_on(1), State::Asleep);
    d.kill(1);
    let dead = d.id(1);
    (d, dead)
}

#[test]
fn the_name_outlives_any_number_of_writers_that_gave_up() {
    let (mut d, dead) = waited_for();
    for _ in 0..3 {
        let n = d.spawn(try_change);
        assert_eq!((d.run_on(n), d.world.shared.lock.writer()), (State::Done, Some(dead)));
    }
    assert_eq!(d.world.shared.told[0].peek(), 0);
    d.run_on(0);
    let next = d.spawn(change);
    assert_eq!(d.run_on(next), State::Done);
    let Shared { lock, told, named, .. } = &d.world.shared;
    assert_eq!((told.each_ref().map(AtomicU32::peek), named.peek()), ([1, 0], dead.to_bits()));
    assert_eq!((lock.writer(), lock.state()), (None, Protected::Consistent));
}

const SLEEPERS: [[fn(&W); 2]; 3] = [[change, change], [look, look], [change, look]];

/// One that reads, a writer that followed the dead and whose time is up now, and two asleep because of that; the dead and
/// the number of the follower.
fn followed_in_vain(others: [fn(&W); 2]) -> (Director<Shared>, Id, usize) {
    let (mut d, dead) = waited_for();
    let until = Arc::new(Until::default());
    let theirs = Arc::clone(&until);
    let reader = d.id(0);
    let follower = d.spawn(move |w: &W| {
        assert_eq!(w.shared.lock.write(w, w, &*theirs), Err(LockError::TimedOut(reader)));
    });
    let others = others.map(|body| d.spawn(body));
    assert_eq!([follower, others[0], others[1]].map(|n| d.run_on(n)), [State::Asleep; 3]);
    until.0.store(true, Ordering::SeqCst);
    let waker = d.spawn(|w: &W| _ = w.wake(&w.shared.lock.readers[0], u32::MAX));
    d.run_on(waker);
    assert_eq!(d.state(follower), State::Paused);
    (d, dead, follower)
}

#[test]
fn a_writer_that_followed_in_vain_wakes_who_sleeps() {
    for others in SLEEPERS {
        let (d, dead, follower) = followed_in_vain(others);
        assert_eq!((d.run_on(follower), d.finish()), (State::Done, 0));
        let Shared { told, named, .. } = &d.world.shared;
        assert_eq!((told[0].peek(), named.peek()), (1, dead.to_bits()));
    }
}

#[test]
fn a_writer_that_followed_in_vain_killed_at_every_step_leaves_nobody_asleep() {
    for others in SLEEPERS {
        let kills = at_every_step(|step| {
            let (d, dead, follower) = followed_in_vain(others);
            let lives = d.run_and_kill(follower, step);
            assert_eq!(d.finish(), 0);
            let Shared { lock, told, named, .. } = &d.world.shared;
            assert!(told[0].peek() == 1 && [dead, d.id(follower)].map(Id::to_bits).contains(&named.peek()));
            assert!(lives || named.peek() == dead.to_bits(), "who gave up and went on is no news");
            assert_eq!(lock.writer(), None);
            lives
        });
        assert!(kills >= 5, "{kills}");
    }
}
