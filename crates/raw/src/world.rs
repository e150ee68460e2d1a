//! A small world for the unit tests: threads that move only when the test says so, and that can be killed at every
//! access to shared memory, as a signal would.
//!
//! Invariants: one thread runs at a time, in the steps that the test gives it; each access to an atomic and each call
//! that sleeps or wakes is one step; a killed thread executes nothing more, then its life word says so and the kernel
//! wakes one of those who watch it. No time passes: when all sleep, the tick wakes all, and is counted.

pub(crate) mod atomic;
mod domain;

use core::time::Duration;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::{Id, Waited};

/// More steps than any call of these algorithms takes: beyond, it runs in circles.
const ENDLESS: u32 = 20_000;
/// How long a thread may take for what takes microseconds, on a busy machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Where a thread of the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Between two steps.
    Paused,
    Running,
    Asleep,
    Done,
    Killed,
    Failed,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Hold,
    Go(u32),
    Die,
}

#[derive(Debug)]
struct Actor {
    state: State,
    order: Order,
    steps: u32,
    /// Notified for each order; threads have one each, so that a turn wakes one of them only.
    ordered: Arc<Condvar>,
    /// The addresses it sleeps on.
    words: Vec<usize>,
    waited: Waited,
}

/// What the threads of a world have in common.
#[derive(Debug)]
pub(crate) struct World<S> {
    /// The words under test.
    pub(crate) shared: S,
    stage: Stage,
}

#[derive(Debug)]
struct Stage {
    actors: Mutex<Vec<Actor>>,
    /// Notified for the test when a thread comes to rest.
    rested: Condvar,
    lives: Vec<atomic::AtomicU32>,
}

thread_local! {
    static ME: RefCell<Option<(Arc<dyn Stages>, usize)>> = const { RefCell::new(None) };
}

/// The stage of a world, whatever is under test there.
trait Stages {
    fn stage(&self) -> &Stage;
}

impl<S> Stages for World<S> {
    fn stage(&self) -> &Stage {
        &self.stage
    }
}

/// The test's side of a world; ends every thread when it goes.
pub(crate) struct Director<S> {
    pub(crate) world: Arc<World<S>>,
    threads: Vec<JoinHandle<()>>,
}

struct Killed;

impl<S: Send + Sync + 'static> Director<S> {
    pub(crate) fn new(shared: S) -> Self {
        let lives = (0..8).map(|_| atomic::AtomicU32::new(domain::ALIVE)).collect();
        let stage = Stage { actors: Mutex::default(), rested: Condvar::new(), lives };
        Self { world: Arc::new(World { shared, stage }), threads: Vec::new() }
    }

    /// A world with these threads.
    pub(crate) fn with(shared: S, bodies: &[fn(&World<S>)]) -> Self {
        let mut d = Self::new(shared);
        for &body in bodies {
            d.spawn(body);
        }
        d
    }

    /// A new thread, which has not taken a step; its number is its slot.
    pub(crate) fn spawn(&mut self, body: impl FnOnce(&World<S>) + Send + 'static) -> usize {
        let n = self.threads.len();
        let (state, order) = (State::Paused, Order::Hold);
        let (ordered, words) = (Arc::default(), Vec::new());
        let actor = Actor { state, order, steps: 0, ordered, words, waited: Waited::Woken };
        self.world.stage.lock().push(actor);
        let world = Arc::clone(&self.world);
        self.threads.push(std::thread::spawn(move || act(&world, n, body)));
        n
    }

    /// How many threads there are, whatever became of them.
    pub(crate) fn len(&self) -> usize {
        self.threads.len()
    }

    pub(crate) fn id(&self, n: usize) -> Id {
        domain::id(n)
    }

    /// Lets a thread take up to `steps` steps, if it can take any.
    pub(crate) fn run(&self, n: usize, steps: u32) -> State {
        let state = match steps {
            0 => self.state(n),
            _ => self.world.stage.order(n, Order::Go(steps), State::Paused),
        };
        assert_ne!(state, State::Failed, "thread {n} failed");
        state
    }

    /// Lets a thread take `steps` more steps and kills it; says whether it took them all and had more to do.
    pub(crate) fn run_and_kill(&self, n: usize, steps: u32) -> bool {
        let before = self.steps(n);
        let state = self.run(n, steps);
        let lives = state != State::Done && self.steps(n) - before == steps;
        self.kill(n);
        lives
    }

    /// Lets a thread run until it sleeps or is done.
    pub(crate) fn run_on(&self, n: usize) -> State {
        let state = self.run(n, ENDLESS);
        assert_ne!(state, State::Paused, "thread {n} runs in circles");
        state
    }

    /// Kills a thread where it is; the kernel then does its part.
    pub(crate) fn kill(&self, n: usize) {
        let stage = &self.world.stage;
        stage.order(n, Order::Die, State::Paused);
        let state = stage.order(n, Order::Die, State::Asleep);
        assert!(matches!(state, State::Killed | State::Done), "{state:?}");
        stage.ring(n);
    }

    pub(crate) fn state(&self, n: usize) -> State {
        self.world.stage.lock()[n].state
    }

    pub(crate) fn steps(&self, n: usize) -> u32 {
        self.world.stage.lock()[n].steps
    }

    /// Runs everybody to the end; says how many ticks it took because all slept.
    pub(crate) fn finish(&self) -> u32 {
        for ticks in 0..100 {
            while let Some(n) = self.find(State::Paused) {
                self.run_on(n);
            }
            if self.find(State::Asleep).is_none() {
                return ticks;
            }
            self.tick();
        }
        panic!("somebody sleeps for ever");
    }

    /// Wakes all sleepers as their tick would.
    pub(crate) fn tick(&self) {
        let mut actors = self.world.stage.lock();
        actors.iter_mut().filter(|a| a.state == State::Asleep).for_each(|a| a.wake(Waited::TimedOut));
    }

    fn find(&self, state: State) -> Option<usize> {
        self.world.stage.lock().iter().position(|actor| actor.state == state)
    }
}

impl<S> Drop for Director<S> {
    fn drop(&mut self) {
        for n in 0..self.threads.len() {
            self.world.stage.order(n, Order::Die, State::Paused);
            self.world.stage.order(n, Order::Die, State::Asleep);
        }
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Runs `scenario` with a kill at step 0, 1, 2, … of its victim until the victim lives to its end; says how many
/// kills that were. The scenario kills its victim after so many steps and says whether that was before its end.
pub(crate) fn at_every_step(mut scenario: impl FnMut(u32) -> bool) -> u32 {
    (0..ENDLESS).find(|&step| !scenario(step)).expect("the victim has an end")
}

/// Runs every schedule of at most `turns` turns of a world that `make` makes, then kills the thread `victim`, if any,
/// and hands the world to `check`; says how many runs that were.
///
/// A turn is a number of steps of one thread, so this is all of what can happen to sequentially consistent memory with
/// so many switches between threads before the kill.
pub(crate) fn explore<S: Send + Sync + 'static>(
    turns: usize,
    victim: Option<usize>,
    make: &dyn Fn() -> Director<S>,
    check: &dyn Fn(&mut Director<S>),
) -> u32 {
    let mut runs = 0;
    let mut run = |schedule: &[(usize, u32)]| {
        let mut d = make();
        let complete = schedule.iter().all(|&(n, steps)| {
            let before = d.steps(n);
            d.run(n, steps);
            d.steps(n) - before == steps
        });
        if complete {
            victim.into_iter().for_each(|n| d.kill(n));
            check(&mut d);
            runs += 1;
        }
        complete
    };
    extend(&mut Vec::new(), turns, make().threads.len(), &mut run);
    runs
}

/// Runs a schedule, which is turns of so many steps; whether each turn took all of its steps.
type Run<'a> = dyn FnMut(&[(usize, u32)]) -> bool + 'a;

/// Runs `schedule` and everything that begins with it; whether it was complete.
fn extend(schedule: &mut Vec<(usize, u32)>, turns: usize, threads: usize, run: &mut Run<'_>) -> bool {
    let complete = run(schedule);
    if complete && schedule.len() < turns {
        let last = schedule.last().map(|&(n, _)| n);
        for n in (0..threads).filter(|&n| Some(n) != last) {
            at_every_step(|more| {
                schedule.push((n, more + 1));
                let complete = extend(schedule, turns, threads, run);
                schedule.pop();
                complete
            });
        }
    }
    complete
}

/// Counts a step of the calling thread, if it belongs to a world: here it may stop, or die.
fn step() {
    if let Some((world, n)) = ME.with(|me| me.borrow().clone()) {
        world.stage().step(n);
    }
}

/// How many steps the calling thread has taken.
pub(crate) fn steps() -> u32 {
    let me = ME.with(|me| me.borrow().clone());
    me.map_or(0, |(world, n)| world.stage().lock()[n].steps)
}

/// The slot of the calling thread.
fn me() -> Option<usize> {
    ME.with(|me| me.borrow().as_ref().map(|(_, n)| *n))
}

fn act<S: Send + Sync + 'static>(world: &Arc<World<S>>, n: usize, body: impl FnOnce(&World<S>)) {
    let stages: Arc<dyn Stages> = Arc::<World<S>>::clone(world);
    ME.with(|me| *me.borrow_mut() = Some((stages, n)));
    let end = panic::catch_unwind(AssertUnwindSafe(|| {
        world.stage.begin(n);
        body(world);
    }));
    // From here on it takes no steps; the world must not keep itself alive through us.
    ME.with(|me| me.borrow_mut().take());
    let state = match end {
        Ok(()) => State::Done,
        Err(payload) if payload.is::<Killed>() => State::Killed,
        Err(_) => State::Failed,
    };
    world.stage.lock()[n].state = state;
    world.stage.rested.notify_one();
}

impl Actor {
    fn wake(&mut self, waited: Waited) {
        (self.state, self.waited) = (State::Paused, waited);
        self.words.clear();
    }
}

impl Stage {
    fn lock(&self) -> MutexGuard<'_, Vec<Actor>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order to a thread that is in the state `from`; returns the state where it comes to rest.
    fn order(&self, n: usize, order: Order, from: State) -> State {
        let mut actors = self.lock();
        if actors[n].state == from {
            actors[n].order = order;
            actors[n].state = State::Running;
            actors[n].ordered.notify_one();
        }
        let moving = |actors: &mut Vec<Actor>| actors[n].state == State::Running;
        let (actors, timeout) = self.rested.wait_timeout_while(actors, WATCHDOG, moving).unwrap();
        assert!(!timeout.timed_out(), "thread {n} does not come to rest");
        actors[n].state
    }

    fn begin(&self, n: usize) {
        drop(self.rest(n, self.lock()));
    }

    /// One step of thread `n`, when it may.
    fn step(&self, n: usize) {
        let mut actors = self.lock();
        if matches!(actors[n].order, Order::Go(0)) {
            (actors[n].order, actors[n].state) = (Order::Hold, State::Paused);
            self.rested.notify_one();
            actors = self.rest(n, actors);
        }
        if let Order::Go(steps) = actors[n].order {
            actors[n].order = Order::Go(steps - 1);
            actors[n].steps += 1;
        }
    }

    /// Waits for an order that lets thread `n` move.
    fn rest<'a>(&'a self, n: usize, actors: MutexGuard<'a, Vec<Actor>>) -> MutexGuard<'a, Vec<Actor>> {
        let holds = |actors: &mut Vec<Actor>| matches!(actors[n].order, Order::Hold | Order::Go(0));
        let ordered = Arc::clone(&actors[n].ordered);
        let actors = ordered.wait_while(actors, holds).unwrap_or_else(PoisonError::into_inner);
        if matches!(actors[n].order, Order::Die) {
            drop(actors);
            panic::resume_unwind(Box::new(Killed));
        }
        actors
    }
}
