//! Kill points of jobs: a process that sends, receives, finishes, puts back, adopts or buries is killed wherever something
//! changed.
//!
//! Whatever the moment: a job is wholly sent or not at all; what was not finished comes back, and says how often it was
//! delivered; what was finished never does; `join` says what is true, and its sleepers are woken in the step that ends the
//! last job; all cells come back. `PROCESSION_LONG` tries every instruction.

mod jobs_place;
mod parcel;
mod sweeper;

use std::cell::{Cell, RefCell};
use std::process::Command;

use jobs_place::*;
use parcel::{hand, received};
use procession_queue::{Job, JobsError, RecvError};
use procession_shm::domain::TICK;
use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, role};

/// What is done in the window; once on another queue before: what happens at the first use only is not what is looked at.
fn victim(role: &str) {
    let (verb, len) = role.split_once(' ').unwrap();
    let len = len.parse().unwrap();
    let (tx, rx): (Tx, Rx) = received();
    let place = Place { tx, rx };
    if verb == "holds" {
        std::mem::forget(place.rx.recv().unwrap());
        roles::say("has it");
        let _ = roles::hear();
        std::process::exit(0);
    }
    let warm = Place::new(3);
    for _ in 0..2 {
        warm.send(len, 1);
        warm.rx.recv().unwrap().put_back();
        drop(warm.rx.recv().unwrap());
        warm.tx.try_join().unwrap();
    }
    let value = message(len, SALT);
    match verb {
        "sends" => {
            step::here();
            place.tx.send(value).unwrap();
            step::end();
        }
        "receives" => {
            step::here();
            let job = place.rx.recv();
            step::end();
            std::mem::forget(job.unwrap());
        }
        "receives-many" => {
            let mut many = Vec::with_capacity(3);
            step::here();
            let received = place.rx.recv_many(&mut many, 3);
            step::end();
            std::mem::forget(many);
            assert_eq!(received.unwrap(), 3);
        }
        "finishes" => {
            let job = place.rx.recv().unwrap();
            step::here();
            drop(job);
            step::end();
        }
        "returns" => {
            let job = place.rx.recv().unwrap();
            step::here();
            job.put_back();
            step::end();
        }
        "works" => {
            step::here();
            place.tx.send(value).unwrap();
            drop(place.rx.recv().unwrap());
            step::end();
        }
        "joins" => {
            step::here();
            let joined = place.tx.try_join();
            step::end();
            assert!(matches!(joined, Err(JobsError::DeadLetters(_))), "{joined:?}");
        }
        other => panic!("no role {other}"),
    }
}

fn with(place: &Place, role: &str) -> Role {
    // Woken, and not by a tick.
    hand(Role::new(role), &(place.tx.clone(), place.rx.clone())).env(TICK, NEVER)
}

fn command(place: &Place, verb: &str, len: usize) -> Command {
    with(place, &format!("{verb} {len}")).into_command()
}

/// A process receives the next job and ends; its number.
fn leave_with_a_dead_worker(place: &Place, len: usize) -> u32 {
    let mut process = with(place, &format!("holds {len}")).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("has it"));
    let pid = process.pid();
    process.kill();
    pid
}

/// Runs the sweeps, or what they kill.
fn sweeper(sweeps: impl FnOnce()) {
    sweeper::sweeper(NEVER, victim, sweeps);
}

#[test]
fn a_send_that_nobody_waits_for() {
    sweeper(|| {
        for (len, before) in LENGTHS.into_iter().flat_map(|len| [(len, 0), (len, CAPACITY - 1)]) {
            let place = Place::new(3);
            let start = || {
                (0..before).for_each(|n| place.send(8, n as u8));
                command(&place, "sends", len)
            };
            let n_sent = Cell::new(0);
            step::sweep_changes(&format!("{len} bytes behind {before}"), start, |_, outcome| {
                let is_sent = place.tx.len() > before;
                assert!(is_sent || outcome == Outcome::Killed);
                n_sent.set(n_sent.get() + u32::from(is_sent));
                let left = before + usize::from(is_sent);
                match place.tx.try_join() {
                    Err(JobsError::Unfinished { n }) => assert_eq!(n, left),
                    joined => assert!(left == 0 && joined.is_ok(), "{joined:?}"),
                }
                (0..before).for_each(|n| assert_eq!(place.expect(8, n as u8), 1));
                if is_sent {
                    assert_eq!(place.expect(len, SALT), 1);
                }
                place.is_as_new();
            });
            assert!(n_sent.get() > 0);
        }
    });
}

/// Nobody is left who would put in order what it leaves.
#[test]
fn a_send_of_the_only_sender() {
    sweeper(|| {
        let given = RefCell::new(None);
        let start = || {
            let place = Place::new(3);
            let command = command(&place, "sends", 8);
            given.replace(Some(place.rx));
            command
        };
        step::sweep_changes("8 bytes of the only sender", start, |_, _| {
            let rx = given.take().unwrap();
            while let Ok(job) = rx.recv_timeout(LIMIT) {
                assert!(*job == message(8, SALT));
            }
            assert!(matches!(rx.recv_timeout(LIMIT), Err(RecvError::Disconnected)));
        });
    });
}

#[test]
fn a_send_that_a_receiver_sleeps_for() {
    sweeper(|| {
        for len in LENGTHS {
            let (place, asleep) = (Place::new(3), RefCell::new(None));
            let start = || {
                asleep.replace(Some(sleeper(&place, |place| place.rx.recv().unwrap().into_inner())));
                command(&place, "sends", len)
            };
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let asleep = asleep.take().unwrap();
                // It has taken it, or there is nothing to take: only what was sent makes it the last but one.
                if outcome == Outcome::Killed && place.tx.is_empty() && !asleep.is_finished() {
                    // It may be on its way with it: then there are two, and one is left.
                    place.send(3, 4);
                }
                let first = asleep.join().unwrap();
                assert!(first == message(len, SALT) || first == message(3, 4));
                if let Ok(job) = place.rx.try_recv() {
                    assert!(first == message(len, SALT) && *job == message(3, 4));
                }
                place.is_as_new();
            });
        }
    });
}

#[test]
fn a_lease() {
    sweeper(|| {
        for len in LENGTHS {
            let place = Place::new(3);
            let start = || {
                place.send(len, SALT);
                place.send(8, 1);
                command(&place, "receives", len)
            };
            let seen = Cell::new([0; 2]);
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let is_leased = place.tx.len() == 1;
                assert!(is_leased || outcome == Outcome::Killed);
                assert_eq!(place.tx.unfinished(), 2);
                // Nobody tells of the death, so the other one may come first.
                let mut found = [place.rx.recv(), place.rx.recv()].map(Result::unwrap);
                found.sort_by_key(|job| job[0] == message(8, 1)[0]);
                assert!(*found[0] == message(len, SALT) && *found[1] == message(8, 1));
                assert_eq!(found.each_ref().map(Job::deliveries), [1 + u32::from(is_leased), 1]);
                drop(found);
                seen.set([seen.get()[0] + u32::from(!is_leased), seen.get()[1] + u32::from(is_leased)]);
                place.is_as_new();
            });
            assert!(!seen.get().contains(&0));
        }
    });
}

/// Many at once: those that it had come back, and those that it had not are as they were.
#[test]
fn many_leases() {
    sweeper(|| {
        for len in LENGTHS {
            let place = Place::new(3);
            let start = || {
                (0..4).for_each(|n| place.send(len, n));
                command(&place, "receives-many", len)
            };
            let seen = Cell::new([0; 4]);
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let n_leased = 4 - place.tx.len();
                assert!(n_leased <= 3 && (n_leased == 3 || outcome == Outcome::Killed));
                assert_eq!(place.tx.unfinished(), 4);
                let mut found: Vec<Job<_>> = (0..4).map(|_| place.rx.recv().unwrap()).collect();
                found.sort_by_key(|job| job[0]);
                for (n, job) in found.iter().enumerate() {
                    assert!(**job == message(len, n as u8));
                    assert_eq!(job.deliveries(), 1 + u32::from(n < n_leased));
                }
                drop(found);
                let mut counts = seen.get();
                counts[n_leased] += 1;
                seen.set(counts);
                place.is_as_new();
            });
            assert!(!seen.get().contains(&0), "{seen:?}");
        }
    });
}

#[test]
fn the_end_of_a_job() {
    sweeper(|| {
        for (len, has_joiner) in [(8, false), (8, true), (100, true)] {
            let (place, asleep) = (Place::new(3), RefCell::new(None));
            let start = || {
                place.send(len, SALT);
                if has_joiner {
                    asleep.replace(Some(sleeper(&place, |place| place.tx.join())));
                }
                command(&place, "finishes", len)
            };
            let n_done = Cell::new(0);
            step::sweep_changes(&format!("{len} bytes, joiner {has_joiner}"), start, |_, outcome| {
                let is_done = place.tx.unfinished() == 0;
                assert!(is_done || outcome == Outcome::Killed);
                n_done.set(n_done.get() + u32::from(is_done));
                if !is_done {
                    assert_eq!(place.expect(len, SALT), 2);
                }
                // By no tick.
                if let Some(asleep) = asleep.take() {
                    asleep.join().unwrap().unwrap();
                }
                place.is_as_new();
            });
            assert!(n_done.get() > 0);
        }
    });
}

#[test]
fn a_job_that_is_put_back() {
    sweeper(|| {
        let (place, asleep) = (Place::new(3), RefCell::new(None));
        let start = || {
            place.send(8, SALT);
            asleep.replace(Some(late_sleeper(&place)));
            command(&place, "returns", 8)
        };
        step::sweep_changes("8 bytes", start, |_, outcome| {
            let (is_late, asleep) = asleep.take().unwrap();
            is_late.recv().unwrap();
            if outcome == Outcome::Killed {
                place.send(3, 4);
                let mut found = [asleep.join().unwrap(), place.rx.recv().map(of).unwrap()];
                found.sort_unstable();
                assert_eq!(found, [(3, 1), (8, 2)]);
            } else {
                assert_eq!(asleep.join().unwrap(), (8, 2));
            }
            place.is_as_new();
        });
    });
}

/// By a process that dies with it, too.
#[test]
fn a_job_of_the_dead_is_adopted() {
    sweeper(|| {
        for len in LENGTHS {
            let place = Place::new(5);
            let start = || {
                place.send(len, SALT);
                leave_with_a_dead_worker(&place, len);
                command(&place, "receives", len)
            };
            let most = Cell::new(0);
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                assert_eq!(place.tx.unfinished(), 1);
                let n = place.expect(len, SALT);
                assert!((2..=3).contains(&n) && (n == 3 || outcome == Outcome::Killed), "{n}");
                most.set(n.max(most.get()));
                place.is_as_new();
            });
            assert_eq!(most.get(), 3);
        }
    });
}

#[test]
fn a_job_that_is_given_up() {
    sweeper(|| {
        let (place, pid) = (Place::new(1), Cell::new(0));
        let start = || {
            place.send(8, SALT);
            pid.set(leave_with_a_dead_worker(&place, 8));
            command(&place, "joins", 8)
        };
        step::sweep_changes("8 bytes", start, |_, _| {
            let joined = place.tx.join();
            let Err(JobsError::DeadLetters(given_up)) = joined else { panic!("{joined:?}") };
            assert_eq!((given_up.len(), given_up[0].deliveries), (1, 1));
            assert_eq!(given_up[0].worker.map(|worker| worker.pid), Some(pid.get()));
            let letter = place.tx.dead_letters().remove(0);
            assert!(letter.into_value().unwrap() == message(8, SALT));
            place.is_as_new();
        });
    });
}

#[test]
fn all_of_it() {
    sweeper(|| {
        for len in LENGTHS {
            let place = Place::new(3);
            step::sweep_changes(
                &format!("{len} bytes"),
                || command(&place, "works", len),
                |_, outcome| {
                    let (n_queued, n_left) = (place.tx.len(), place.tx.unfinished());
                    assert!(n_queued <= n_left && n_left <= 1 && (n_left == 0 || outcome == Outcome::Killed));
                    if n_queued == 1 || n_left == 1 && place.tx.try_join().is_err() {
                        assert_eq!(place.expect(len, SALT), 2 - n_queued as u32);
                    }
                    place.is_as_new();
                },
            );
        }
    });
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for len in LENGTHS {
            let place = Place::new(3);
            let run = |verb: &str| {
                with(&place, &format!("{verb} {len}")).spawn().wait_with_output(LIMIT).expect_success();
            };
            run("works");
            run("sends");
            run("receives");
            run("returns");
            assert_eq!(place.expect(len, SALT), 3);
            run("sends");
            run("finishes");
            place.is_as_new();
            (0..3).for_each(|n| place.send(len, n));
            run("receives-many");
            let mut found = [(); 3].map(|()| place.rx.recv().unwrap());
            found.sort_by_key(|job| job[0]);
            assert_eq!(found.map(|job| (job[0], job.deliveries())), [(0, 2), (1, 2), (2, 2)]);
            place.is_as_new();
            place.send(len, SALT);
            for _ in 0..3 {
                leave_with_a_dead_worker(&place, len);
            }
            run("joins");
            assert_eq!(place.tx.dead_letters().len(), 1);
            place.is_as_new();
        }
    });
}
