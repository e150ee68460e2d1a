//! Initializers: the state they make, what becomes of it, and every way to fail.

use std::time::Duration;

use procession_codec::Descriptor;
use procession_pool::{BuildError, Builder, InitializerFailure, TaskFailed, with_state};
use procession_process::{Exit, TaskError};
use procession_testkit::Signal;
use procession_testkit::processes::{self, Identity};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Build, PATIENCE, Tally, await_start, expected, gate, hold, signal_self, strike};

/// A state with a handle in it, and a number of uses.
struct State {
    tally: Descriptor,
    uses: usize,
}

fn open(tally: Descriptor) -> Result<State, TaskError> {
    Tally::strike(tally.clone(), 0);
    Ok(State { tally, uses: 0 })
}

/// Counts the worker's end, and the uses that its state had.
fn close(state: State) {
    for _ in 0..state.uses {
        Tally::strike(state.tally.clone(), 2);
    }
    Tally::strike(state.tally, 1);
}

fn use_it(_: u32) -> usize {
    with_state(|state: &mut State| {
        state.uses += 1;
        state.uses
    })
}

fn counts(tally: &Tally) -> [u64; 3] {
    [tally.count(0), tally.count(1), tally.count(2)]
}

pub(crate) fn every_worker_has_its_state(build: Build) {
    let tally = Tally::new(3);
    let pool = build().workers(3).initializer(open, tally.handle()).build().unwrap();
    assert_eq!(counts(&tally), [3, 0, 0], "all are set up");
    let uses = pool.map(use_it, 0..300).unwrap();
    let n_firsts = uses.iter().filter(|n| **n == 1).count();
    assert!((1..=3).contains(&n_firsts), "each worker counts for itself: {n_firsts}");
    let one = build().workers(1).initializer(open, tally.handle()).build().unwrap();
    assert_eq!(one.map(use_it, 0..300).unwrap(), Vec::from_iter(1..301));
}

/// How building fails.
fn failure(settings: Builder) -> InitializerFailure {
    let before = processes::children(std::process::id());
    let error = settings.workers(2).name("s").build().unwrap_err();
    let after = processes::children(std::process::id());
    // Other tests have children of their own: whoever is new is not one of ours.
    assert!(after.iter().filter(|child| !before.contains(child)).all(|child| child.wait_ended(PATIENCE)));
    assert!(error.to_string().starts_with("building a pool: initializing process s-"), "{error}");
    expected!(error, BuildError::Initializer { failure, .. } => failure)
}

pub(crate) fn failures_are_told_at_build(build: Build) {
    let fails = |path: String| -> Result<usize, TaskError> { Ok(std::fs::read_to_string(path)?.len()) };
    let told = expected!(failure(build().initializer(fails, "/no/such/file".into())), InitializerFailure::Failed(e) => e);
    assert_eq!(told.type_name(), "std::io::error::Error");
    let panics = |n: u32| -> Result<u32, TaskError> { panic!("not with {n}") };
    let told = expected!(failure(build().initializer(panics, 7)), InitializerFailure::Panicked(p) => p);
    assert_eq!(told.message, "not with 7");
    let exits = |n: i32| -> Result<u32, TaskError> { std::process::exit(n) };
    let exit = expected!(failure(build().initializer(exits, 3)), InitializerFailure::Died(exit) => exit);
    assert_eq!(exit, Exit::Code(3));
    let killed = |()| -> Result<u32, TaskError> { signal_self(Signal::KILL) };
    let exit = expected!(failure(build().initializer(killed, ())), InitializerFailure::Died(exit) => exit);
    assert_eq!(exit.signal().map(|signal| signal.0), Some(Signal::KILL.as_raw()));
    let endless = |()| -> Result<u32, TaskError> {
        loop {
            std::thread::park();
        }
    };
    let limit = Duration::from_millis(100);
    let settings = build().start_timeout(limit).initializer(endless, ());
    assert_eq!(expected!(failure(settings), InitializerFailure::TimedOut(limit) => limit), limit);
}

/// Does not encode when odd; never decodes.
struct Stuck(u32);

impl Serialize for Stuck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 { Err(S::Error::custom("an odd number")) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Stuck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format!("not for {}", u32::deserialize(deserializer)?)))
    }
}

pub(crate) fn an_argument_that_does_not_travel(build: Build) {
    let open = |stuck: Stuck| -> Result<u32, TaskError> { Ok(stuck.0) };
    let error = build().initializer(open, Stuck(1)).build().unwrap_err();
    assert!(expected!(error, BuildError::Argument(e) => e).to_string().contains("an odd number"));
    let failure = failure(build().initializer(open, Stuck(2)));
    let told = expected!(failure, InitializerFailure::ArgumentNotDecoded(told) => told);
    assert!(told.contains("not for 2"), "{told}");
}

pub(crate) fn who_takes_the_place_is_set_up_too(build: Build) {
    let tally = Tally::new(3);
    let pool = build().workers(1).initializer_and_exit(open, tally.handle(), close).build().unwrap();
    for round in 1..5 {
        assert_eq!(pool.map(use_it, 0..3).unwrap(), [1, 2, 3]);
        assert_eq!(counts(&tally), [round, 0, 0]);
        if round % 2 == 0 {
            strike(pool.pids()[0], Signal::KILL);
        } else {
            let die = |()| -> u8 { std::process::abort() };
            expected!(pool.submit(die, ()).unwrap().get(), Err(TaskFailed::WorkerDied { .. }));
        }
    }
    assert_eq!(pool.submit(use_it, 0).unwrap().get().unwrap(), 1);
}

/// The first worker is set up, those after it are not, until there is new work and the reason is gone.
pub(crate) fn it_fails_later(build: Build) {
    fn once((tally, last): (Descriptor, Descriptor)) -> Result<u8, TaskError> {
        Tally::strike(tally, 0);
        let mut told = [0; 8];
        let memory = procession_sys::memory::Memfd::adopt(last.into_owned()?)?;
        let map = procession_sys::memory::Mapping::shared(&memory)?;
        told.copy_from_slice(&map.read_vec(0, 8));
        if u64::from_ne_bytes(told) == 1 { Err(TaskError::new("out of licences")) } else { Ok(1) }
    }
    let (tally, switch) = (Tally::new(1), Tally::new(1));
    let settings = build().workers(1).name("s").initializer(once, (tally.handle(), switch.handle()));
    let pool = settings.build().unwrap();
    Tally::strike(switch.handle(), 0);
    strike(pool.pids()[0], Signal::KILL);
    let error = pool.submit(|n: u8| n, 1).unwrap().get_timeout(PATIENCE).unwrap_err();
    let reason = expected!(error, TaskFailed::NoWorker { reason, .. } => reason);
    assert!(reason.contains("initializing process s-") && reason.contains("out of licences"), "{reason}");
    let tried = tally.count(0);
    assert!((2..20).contains(&tried), "{tried} were started");
    Tally::strike(switch.handle(), 0);
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().get_timeout(PATIENCE).unwrap(), Some(1));
}

pub(crate) fn exits_of_idle_workers(build: Build) {
    for joins in [true, false] {
        let tally = Tally::new(3);
        let pool = build().workers(3).initializer_and_exit(open, tally.handle(), close).build().unwrap();
        pool.map(use_it, 0..50).unwrap();
        if joins {
            pool.join();
        } else {
            drop(pool);
        }
        assert_eq!(counts(&tally), [3, 3, 50], "joined: {joins}");
    }
    // A worker that is busy is ended without it.
    let tally = Tally::new(3);
    let pool = build().workers(2).initializer_and_exit(open, tally.handle(), close).build().unwrap();
    let (ours, theirs) = gate();
    let task = pool.submit(hold, theirs).unwrap();
    await_start(&ours);
    drop(pool);
    expected!(task.get(), Err(TaskFailed::Closed { .. }));
    assert_eq!(counts(&tally), [2, 1, 0]);
}

pub(crate) fn exits_of_recycled_workers(build: Build) {
    let tally = Tally::new(3);
    let settings = build().workers(2).max_tasks_per_worker(5);
    let pool = settings.initializer_and_exit(open, tally.handle(), close).build().unwrap();
    assert!(pool.map(use_it, 0..100).unwrap().into_iter().all(|n| n <= 5));
    pool.join();
    let [opened, closed, uses] = counts(&tally);
    assert_eq!((closed, uses), (opened, 100));
    assert!(opened >= 20, "{opened}");
}

fn panics(_: u8) {
    panic!("at the end")
}

fn endless(_: u8) {
    loop {
        std::thread::park();
    }
}

/// Neither a panic nor an endless one holds up the pool's end.
pub(crate) fn an_exit_that_goes_wrong(build: Build) {
    let open = |n: u8| -> Result<u8, TaskError> { Ok(n) };
    for close in [panics, endless] as [fn(u8); 2] {
        let settings = build().workers(1).max_tasks_per_worker(1).initializer_and_exit(open, 5, close);
        let pool = settings.build().unwrap();
        let state = |()| with_state(|n: &mut u8| *n);
        let first = Identity::of(pool.pids()[0]).unwrap();
        assert_eq!(pool.submit(state, ()).unwrap().get().unwrap(), 5);
        assert_eq!(pool.submit(state, ()).unwrap().get_timeout(PATIENCE).unwrap(), Some(5));
        assert!(first.state().is_none(), "ended, and waited for");
        drop(pool);
    }
}

pub(crate) fn no_state_is_a_panic(build: Build) {
    let state = |()| with_state(|n: &mut u8| *n);
    let pool = build().workers(1).build().unwrap();
    let error = pool.submit(state, ()).unwrap().get().unwrap_err();
    assert_eq!(error.panic().unwrap().message, "this worker has no state of type u8");
    let pool = build().workers(1).initializer(|n: u32| Ok(n), 3).build().unwrap();
    expected!(pool.submit(state, ()).unwrap().get(), Err(TaskFailed::Panicked { .. }));
    // A task that panics in the middle leaves the state to the next.
    let breaks = |()| {
        with_state(|n: &mut u32| -> u8 {
            *n += 1;
            panic!("now {n}")
        })
    };
    expected!(pool.submit(breaks, ()).unwrap().get(), Err(TaskFailed::Panicked { .. }));
    assert_eq!(pool.submit(|()| with_state(|n: &mut u32| *n), ()).unwrap().get().unwrap(), 4);
}
