//! The lock for readers and writers: no writer beside anybody, its stores are seen by all after it, nobody is left
//! asleep, the dead have heirs and are not waited for.

use std::sync::Arc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread::{self, JoinHandle};
use procession_raw::{Forever, Limit, LockError, Protected, RwLock};

use crate::support::{Broken, Domain, be, check, check_fails, id};

struct Shared {
    domain: Domain,
    lock: RwLock<3>,
    /// The checker fails any access that does not happen before or after every write.
    data: UnsafeCell<u32>,
}

use Role::{DiesReading, DiesWriting, Reads, Writes, WritesAndReads};

/// What a thread does.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Reads,
    Writes,
    WritesAndReads,
    DiesReading,
    DiesWriting,
}

impl Shared {
    fn new(broken: Broken) -> Arc<Self> {
        Arc::new(Self { domain: Domain::broken(broken), lock: RwLock::new(), data: UnsafeCell::new(0) })
    }

    fn play(&self, slot: usize, role: Role) -> Protected {
        let Self { domain, lock, data } = self;
        be(slot);
        if matches!(role, Reads | DiesReading) {
            let held = lock.read(domain, domain, &Forever).unwrap();
            data.with(|_| ());
            match role {
                Reads => lock.unlock_read(domain, held.me).unwrap(),
                _ => domain.die(),
            }
            return held.state;
        }
        let held = lock.write(domain, domain, &Forever).unwrap();
        data.with_mut(|_| ());
        match role {
            Writes => lock.unlock_write(domain, held.me).unwrap(),
            DiesWriting => domain.die(),
            _ => {
                lock.downgrade(domain, held.me).unwrap();
                data.with(|_| ());
                lock.unlock_read(domain, held.me).unwrap();
            }
        }
        held.state
    }
}

fn start(shared: &Arc<Shared>, slot: usize, role: Role) -> JoinHandle<Protected> {
    let shared = Arc::clone(shared);
    thread::spawn(move || shared.play(slot, role))
}

/// All at once, each as it says.
fn play(broken: Broken, roles: &[Role]) -> Vec<Protected> {
    let shared = Shared::new(broken);
    let others: Vec<_> = (1..roles.len()).map(|slot| start(&shared, slot, roles[slot])).collect();
    let mut states = vec![shared.play(0, roles[0])];
    states.extend(others.into_iter().map(|other| other.join().unwrap()));
    states
}

/// The first takes the lock before there are others, and dies while they come.
fn first_dies(broken: Broken, dead: Role, others: [Role; 2]) -> [Protected; 2] {
    let shared = Shared::new(broken);
    let Shared { domain, lock, .. } = &*shared;
    be(0);
    let _ = match dead {
        DiesReading => lock.read(domain, domain, &Forever).unwrap(),
        _ => lock.write(domain, domain, &Forever).unwrap(),
    };
    let others = [1, 2].map(|slot| start(&shared, slot, others[slot - 1]));
    domain.die();
    others.map(|other| other.join().unwrap())
}

/// A twin that tries once: each says what it does and looks for the other.
fn unfenced(with_fence: bool) {
    let shared = Arc::new(([(); 2].map(|()| AtomicU32::new(0)), UnsafeCell::new(0)));
    let play = move |(words, data): &([AtomicU32; 2], UnsafeCell<u32>), writes: bool| {
        let [mine, other] = [usize::from(writes), usize::from(!writes)];
        words[mine].swap(1, Ordering::AcqRel);
        if writes || with_fence {
            fence(Ordering::SeqCst);
        }
        if words[other].load(Ordering::Acquire) == 0 {
            if writes {
                data.with_mut(|_| ());
            } else {
                data.with(|_| ());
            }
        }
        words[mine].store(0, Ordering::Release);
    };
    let reader = Arc::clone(&shared);
    let reader = thread::spawn(move || play(&reader, false));
    play(&shared, true);
    reader.join().unwrap();
}

#[test]
fn a_reader_and_a_writer() {
    check("rwlock", 5, || drop(play(Broken::Nothing, &[Writes, Reads])));
}

#[test]
fn two_readers_and_a_writer() {
    check("rwlock, two readers", 3, || drop(play(Broken::Nothing, &[Writes, Reads, Reads])));
}

#[test]
fn a_reader_and_two_writers() {
    check("rwlock, two writers", 3, || drop(play(Broken::Nothing, &[Writes, Reads, Writes])));
}

#[test]
fn a_writer_that_becomes_a_reader() {
    check("rwlock, downgrade", 4, || drop(play(Broken::Nothing, &[WritesAndReads, Writes])));
}

#[test]
fn a_writer_that_dies_has_one_heir_and_all_go_on() {
    for others in [[Reads, Reads], [Reads, Writes]] {
        check("rwlock, the writer dies", 2, move || {
            let states = first_dies(Broken::Nothing, DiesWriting, others);
            assert_eq!(states.iter().filter(|state| **state == Protected::OwnerDied(id(0))).count(), 1);
            assert!(!states.contains(&Protected::Consistent));
        });
    }
}

/// No time.
struct Now;

impl Limit for Now {
    fn left(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// The writer is dead; one reads, one tries once to write, and one comes after them. What each was told.
fn follow_in_vain(broken: Broken) -> Vec<Protected> {
    let shared = Shared::new(broken);
    let Shared { domain, lock, .. } = &*shared;
    be(0);
    let _ = lock.write(domain, domain, &Forever).unwrap();
    domain.die();
    let reader = start(&shared, 1, Reads);
    be(2);
    let tried = lock.write(domain, domain, &Now);
    if let Ok(held) = tried {
        shared.data.with_mut(|_| ());
        lock.unlock_write(domain, held.me).unwrap();
    }
    assert!(!matches!(tried, Err(error) if !matches!(error, LockError::TimedOut(_))));
    let mut states = vec![reader.join().unwrap(), shared.play(2, Reads)];
    states.extend(tried.map(|held| held.state));
    states
}

#[test]
fn a_writer_that_follows_in_vain_leaves_the_name() {
    check("rwlock, followed in vain", 3, || {
        let states = follow_in_vain(Broken::Nothing);
        assert_eq!(states.iter().filter(|state| **state == Protected::OwnerDied(id(0))).count(), 1);
        assert!(!states.contains(&Protected::Consistent));
    });
    check_fails("rwlock, followed in vain, lost wakes", 3, || drop(follow_in_vain(Broken::LosesWakes)));
}

#[test]
fn a_reader_that_dies_is_not_waited_for() {
    check("rwlock, the reader dies", 2, || {
        assert_eq!(first_dies(Broken::Nothing, DiesReading, [Writes, Reads]), [Protected::Consistent; 2]);
    });
    check("rwlock, a reader dies", 4, || drop(play(Broken::Nothing, &[Writes, DiesReading])));
}

#[test]
fn the_checker_sees_a_missing_fence() {
    check("rwlock, the twin with its fence", 4, || unfenced(true));
    check_fails("rwlock, unfenced", 4, || unfenced(false));
}

#[test]
fn the_checker_sees_a_sleep_in_two_steps() {
    check_fails("rwlock, sleep in two steps", 2, || {
        drop(play(Broken::SleepsInTwoSteps, &[Writes, Reads]));
    });
}

#[test]
fn the_checker_sees_lost_wakes() {
    check_fails("rwlock, lost wakes", 2, || drop(play(Broken::LosesWakes, &[Writes, Reads])));
}

#[test]
fn the_checker_sees_readers_that_are_not_waited_for() {
    check_fails("rwlock, the living are dead", 2, || {
        drop(play(Broken::BuriesTheLiving, &[Writes, Reads]));
    });
}
