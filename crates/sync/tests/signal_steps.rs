//! Kill points: a process that sets, takes, gives, meets, reads, writes or does something once is killed wherever
//! something changed.
//!
//! Whatever the moment: nobody is stuck, no permit is lost, all who were in a meeting agree how it ended, what is read is
//! whole or its reader is told, and what is to be done once is done. `PROCESSION_LONG` tries every
//! instruction.

mod support;

use std::cell::RefCell;
use std::io::Write;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_shm::domain::TICK;
use procession_shm::{Atomic, Plain, Shared};
use procession_sync::{
    Barrier, Broken, Event, Failed, LazyShared, OrRepair, RwLock, Semaphore, SignalSemaphore,
};
use procession_testkit::roles::Role;
use procession_testkit::{guarded, guarded_for, need, role, step};
use support::{hand, received};

const LIMIT: Duration = Duration::from_secs(60);

/// Equal for whoever holds the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
struct Pair {
    a: u64,
    b: u64,
}

#[derive(Clone, Shared)]
struct Board {
    event: Event,
    permits: Semaphore,
    tokens: SignalSemaphore,
    gate: Barrier,
    pair: RwLock<Pair>,
    lazy: LazyShared<Pair>,
    /// Whether all is over for the survivors.
    stop: Atomic<bool>,
    /// The process number of the victim.
    victim: Atomic<u32>,
    /// How many survivors are where the victim wants them.
    there: Atomic<u32>,
}

fn board() -> Board {
    let zero = Pair::default();
    Board::create(((), 2, [0, 9], 3, zero, ((), zero), false, 0, 0)).unwrap()
}

fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// What is done in the window. Once outside of it before, on others: what happens at the first use only is not what is
/// looked at.
fn victim(role: &str) {
    act(role, &board(), &|| (), &|| ());
    let board: Board = received();
    drop(board.permits.try_acquire());
    board.victim.store(std::process::id());
    act(role, &board, &step::here, &step::end);
}

fn act(role: &str, board: &Board, here: &dyn Fn(), end: &dyn Fn()) {
    let rehearsal = board.victim.load() == 0;
    let others = |n: u32| until(|| rehearsal || board.there.load() >= n);
    match role {
        "sets" => {
            others(2);
            here();
            board.event.set();
            end();
        }
        "takes" => {
            here();
            drop(board.permits.acquire().unwrap());
            end();
        }
        "takes all" => {
            here();
            let both = [board.permits.acquire().unwrap(), board.permits.acquire().unwrap()];
            board.there.fetch_add(1);
            drop(both);
            end();
        }
        "gives" => {
            let both = [board.permits.acquire().unwrap(), board.permits.acquire().unwrap()];
            board.there.fetch_add(1);
            others(3);
            here();
            drop(both);
            end();
        }
        "gives tokens" => {
            others(2);
            here();
            board.tokens.release(2).unwrap();
            end();
        }
        "meets" => {
            last_to_arrive(rehearsal, &board.gate);
            here();
            let place = board.gate.attach();
            let _ = board.gate.wait();
            drop(place);
            end();
        }
        "meets as a guest" => {
            last_to_arrive(rehearsal, &board.gate);
            here();
            let _ = board.gate.wait();
            end();
        }
        "reads" => {
            here();
            let pair = board.pair.read().unwrap();
            board.there.fetch_add(1);
            drop(pair);
            end();
        }
        "writes" => {
            here();
            let mut pair = board.pair.write().unwrap();
            board.there.fetch_add(1);
            change(&mut pair);
            drop(pair);
            end();
        }
        "does it once" => {
            here();
            let _ = board.lazy.get_or_init(|| {
                board.there.fetch_add(1);
                Pair { a: 7, b: 7 }
            });
            end();
        }
        other => panic!("no role {other}"),
    }
}

/// The survivors have arrived, so whoever stands in for the victim takes nobody else's place. A rehearsal meets nobody.
fn last_to_arrive(rehearsal: bool, gate: &Barrier) {
    if rehearsal {
        gate.abort();
    }
    until(|| rehearsal || gate.n_waiting() == 2);
}

fn change(pair: &mut Pair) {
    pair.a += 1;
    pair.b += 1;
}

/// What the survivors do meanwhile.
type Survivor = fn(&Board);

fn wait_for_it(board: &Board) {
    board.there.fetch_add(1);
    board.event.wait();
}

fn take_once(board: &Board) {
    until(|| board.there.load() > 0 || board.stop.load());
    board.there.fetch_add(1);
    check_permit(board);
}

fn check_permit(board: &Board) {
    let permit = board.permits.acquire().unwrap();
    assert!(permit.left_by().is_none_or(|dead| told(board, dead.pid())));
}

fn take_a_token(board: &Board) {
    board.there.fetch_add(1);
    board.tokens.acquire();
}

/// Says how it ended: 1 for a meeting, 100 for a death.
fn meet(board: &Board) {
    let met = board.gate.wait();
    board.there.fetch_add(match met {
        Ok(_) => 1,
        Err(broken) => {
            let died: Vec<_> = broken.died.iter().map(procession_sync::Participant::pid).collect();
            assert_eq!((died, broken.cause), (vec![board.victim.load()], Broken::Death));
            step::death_told();
            100
        }
    });
}

/// Once the victim has the lock: one that must win it back from others, step by step, may never come to its end.
fn victim_has_it(board: &Board) {
    until(|| board.there.load() > 0 || board.stop.load());
}

fn write(board: &Board) {
    victim_has_it(board);
    change(&mut board.pair.write().or_repair(|pair, dead| repair(board, pair, dead.pid())).unwrap());
}

fn read(board: &Board) {
    victim_has_it(board);
    match board.pair.read() {
        Ok(pair) => assert_eq!(pair.a, pair.b, "torn, and nobody was told"),
        Err(Failed::OwnerDied(died)) => assert!(told(board, died.dead().pid())),
        Err(Failed::Poisoned(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// Once the victim does it: else there is nothing left for it to do.
fn get_late(board: &Board) {
    victim_has_it(board);
    get(board);
}

fn repair(board: &Board, pair: &mut Pair, dead: u32) {
    // Of a death that another was told, only the poison is left.
    assert!(dead == 0 || told(board, dead));
    pair.b = pair.a;
}

fn get(board: &Board) {
    assert_eq!(board.lazy.get_or_init(|| Pair { a: 7, b: 7 }), Ok(Pair { a: 7, b: 7 }));
}

/// Whether the death that a survivor was told of is the victim's.
fn told(board: &Board, dead: u32) -> bool {
    step::death_told();
    dead == board.victim.load()
}

struct Sweep {
    role: &'static str,
    survivors: &'static [Survivor],
}

impl Sweep {
    fn run(&self) {
        if !need("ptrace") {
            return;
        }
        let running = RefCell::new(None);
        let start = || {
            let survivors = Survivors::new(self.survivors);
            let command = hand(Role::new(self.role).env(TICK, "600000"), &survivors.board).into_command();
            running.replace(Some(survivors));
            command
        };
        let scenario = match self.survivors.len() {
            0 => self.role.to_owned(),
            n => format!("{}, {n} others", self.role),
        };
        let kills =
            step::sweep_changes(&scenario, start, |_, _| running.take().expect("they were started").join());
        assert!(kills.n_changes > 0, "{kills}");
    }
}

struct Survivors {
    board: Board,
    threads: Vec<JoinHandle<()>>,
}

impl Survivors {
    fn new(bodies: &[Survivor]) -> Self {
        let board = board();
        let start = |body: &Survivor| {
            let (board, body) = (board.clone(), *body);
            thread::spawn(move || body(&board))
        };
        Self { threads: bodies.iter().map(start).collect(), board }
    }

    /// Nobody is stuck, and all goes on.
    fn join(self) {
        let board = &self.board;
        board.stop.store(true);
        board.event.set();
        let meets = board.gate.n_waiting() > 0 || board.gate.is_broken();
        board.tokens.release(2).unwrap();
        until(|| {
            // In the place of a guest that did not come.
            let _ = board.gate.try_wait();
            self.threads.iter().all(JoinHandle::is_finished)
        });
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        all_goes_on(board, meets);
    }
}

fn all_goes_on(board: &Board, meets: bool) {
    assert!(!meets || matches!(board.there.load(), 2 | 200), "they disagree: {}", board.there.load());
    assert!(board.event.is_set());
    assert_eq!(board.permits.available(), 2);
    let both = [(); 2].map(|()| board.permits.try_acquire().unwrap());
    assert!(both.iter().all(|p| p.left_by().is_none_or(|dead| told(board, dead.pid()))));
    assert!(board.permits.try_acquire().is_err());
    assert!(matches!(board.tokens.available(), 0 | 2 | 4), "some tokens were given");
    let mut pair = board.pair.write().or_repair(|pair, dead| repair(board, pair, dead.pid())).unwrap();
    assert_eq!(pair.a, pair.b);
    change(&mut pair);
    drop(pair);
    drop(board.pair.try_read().unwrap());
    get(board);
    board.gate.reset();
    thread::scope(|s| {
        let all = [(); 3].map(|()| s.spawn(|| board.gate.wait().map(|met| met.index())));
        let mut all = all.map(|thread| thread.join().unwrap().unwrap());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

/// Runs the sweep in a role of its own, so that the survivors' tick is short.
fn with_a_short_tick(role_played: &'static str, survivors: &'static [Survivor]) {
    match role().as_deref() {
        Some("sweeper") => guarded_for(LIMIT * 60, || Sweep { role: role_played, survivors }.run()),
        Some(victim) => self::victim(victim),
        None => guarded_for(LIMIT * 60, || {
            let output = Role::new("sweeper").env(TICK, "1").spawn().wait_with_output(LIMIT * 60);
            let _ = write!(std::io::stderr(), "{}", output.expect_success().stderr);
        }),
    }
}

#[test]
fn setting_an_event() {
    with_a_short_tick("sets", &[wait_for_it, wait_for_it]);
}

#[test]
fn taking_a_permit_that_others_want() {
    with_a_short_tick("takes all", &[take_once]);
}

#[test]
fn taking_a_free_permit() {
    with_a_short_tick("takes", &[]);
}

#[test]
fn giving_permits_that_two_sleep_for() {
    with_a_short_tick("gives", &[take_once, take_once]);
}

#[test]
fn giving_tokens() {
    with_a_short_tick("gives tokens", &[take_a_token, take_a_token]);
}

#[test]
fn meeting() {
    with_a_short_tick("meets", &[meet, meet]);
}

#[test]
fn meeting_as_a_guest() {
    with_a_short_tick("meets as a guest", &[meet, meet]);
}

#[test]
fn reading() {
    with_a_short_tick("reads", &[write]);
}

#[test]
fn writing() {
    with_a_short_tick("writes", &[read, write]);
}

#[test]
fn doing_it_once() {
    with_a_short_tick("does it once", &[get_late, get_late]);
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for (role, survivors) in [
            ("sets", &[wait_for_it as Survivor, wait_for_it][..]),
            ("takes", &[]),
            ("takes all", &[take_once]),
            ("gives", &[take_once, take_once]),
            ("gives tokens", &[take_a_token, take_a_token]),
            ("meets", &[meet, meet]),
            ("meets as a guest", &[meet, meet]),
            ("reads", &[write]),
            ("writes", &[read, write]),
            ("does it once", &[get_late, get_late]),
        ] {
            let survivors = Survivors::new(survivors);
            hand(Role::new(role), &survivors.board).spawn().wait_with_output(LIMIT).expect_success();
            survivors.join();
        }
    });
}
