//! Kill points: a process that takes, holds, gives back, waits or notifies is killed wherever something
//! changed.
//!
//! Whatever the moment: the survivors get the lock, all of them; what they find is whole, or they are told of the death
//! and of whose it was. `PROCESSION_LONG` tries every instruction.

mod support;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_shm::domain::TICK;
use procession_shm::{Atomic, Plain, Shared};
use procession_sync::{Condvar, Failed, Mutex, OrRepair, RLock};
use procession_sys::caps::{self, Capability};
use procession_testkit::roles::Role;
use procession_testkit::{guarded, guarded_for, need, role, step};
use support::{hand, received};

const LIMIT: Duration = Duration::from_secs(60);

/// Equal for whoever holds the lock.
#[derive(Clone, Copy, Debug, Default, Plain)]
struct Pair {
    a: u64,
    b: u64,
}

#[derive(Clone, Shared)]
struct Room {
    mutex: Mutex<Pair>,
    rlock: RLock,
    changed: Condvar,
    tickets: Atomic<u32>,
    /// How many survivors wait for a ticket.
    waiting: Atomic<u32>,
    /// 1 once the victim is where others shall go on, 2 once they did.
    stage: Atomic<u32>,
    /// Process numbers of the victim, and of the survivors.
    victim: Atomic<u32>,
    survivors: Atomic<u32>,
}

fn room() -> Room {
    let room = Room::create((Pair::default(), (), (), 0, 0, 0, 0, std::process::id())).unwrap();
    visit(&room);
    room
}

/// What is done in the window. Once outside of it before: what happens at the first use only is not what is looked at.
fn victim(role: &str) {
    let room: Room = received();
    room.victim.store(std::process::id());
    visit(&room);
    drop(room.rlock.lock().or_carry_on().unwrap());
    room.changed.notify_one();
    match role {
        "locks" => {
            step::here();
            change(&room);
            step::end();
        }
        "waits for its turn" => {
            room.stage.store(1);
            while room.stage.load() == 1 {
                thread::yield_now();
            }
            step::here();
            change(&room);
            step::end();
        }
        "unlocks" => {
            let guard = room.mutex.lock().unwrap();
            room.stage.store(1);
            while n_asleep(room.survivors.load()) < 2 {
                thread::yield_now();
            }
            step::here();
            drop(guard);
            step::end();
        }
        "comes back" => {
            step::here();
            let outer = room.rlock.lock().unwrap();
            let inner = room.rlock.lock().unwrap();
            drop(outer);
            drop(inner);
            step::end();
        }
        "waits" => {
            let mut guard = room.mutex.lock().unwrap();
            step::here();
            for _ in 0..2 {
                guard = room.changed.wait_timeout(guard, LIMIT).unwrap().0;
            }
            drop(guard);
            step::end();
        }
        "notifies" => {
            while room.waiting.load() < 2 {
                thread::yield_now();
            }
            step::here();
            let guard = room.mutex.lock().unwrap();
            room.tickets.store(2);
            drop(guard);
            room.changed.notify_one();
            room.changed.notify_all();
            step::end();
        }
        other => panic!("no role {other}"),
    }
}

fn change(room: &Room) {
    let mut pair = room.mutex.lock().unwrap();
    pair.a += 1;
    pair.b += 1;
}

/// How many threads of a process sleep on a lock; where the kernel has no call for just that, enough.
fn n_asleep(pid: u32) -> usize {
    let waits = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("syscall")).is_ok_and(|call| call.starts_with("449 "))
    };
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    if caps::has(Capability::Waitv) { tasks.flatten().filter(waits).count() } else { usize::MAX }
}

/// Takes the lock: what is there is whole, or the victim died with it.
fn visit(room: &Room) {
    let mut pair = match room.mutex.lock() {
        Ok(pair) => pair,
        Err(Failed::OwnerDied(died)) => {
            assert_eq!(died.dead().pid(), room.victim.load());
            step::death_told();
            died.repair(|pair, _| pair.b = pair.a)
        }
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(pair.a, pair.b, "torn, and nobody was told");
    pair.a += 1;
    pair.b += 1;
}

/// What the survivors do meanwhile.
type Survivor = fn(&Room, &AtomicBool);

/// Holds the lock until the victim sleeps for it, then wants it back.
fn be_in_the_way(room: &Room, stop: &AtomicBool) {
    while room.stage.load() == 0 && !stop.load(SeqCst) {
        thread::yield_now();
    }
    let guard = room.mutex.lock().or_carry_on().unwrap();
    room.stage.store(2);
    while n_asleep(room.victim.load()) == 0 && !stop.load(SeqCst) {
        thread::yield_now();
    }
    drop(guard);
    visit(room);
}

fn sleep_once(room: &Room, stop: &AtomicBool) {
    while room.stage.load() == 0 && !stop.load(SeqCst) {
        thread::yield_now();
    }
    visit(room);
}

fn come_and_go_again(room: &Room, stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        let told = |died: u32| {
            assert_eq!(died, room.victim.load());
            step::death_told();
        };
        drop(room.rlock.lock().or_repair(|(), dead| told(dead.pid())).unwrap());
    }
}

fn notify(room: &Room, stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        visit(room);
        room.changed.notify_one();
    }
}

fn wait_for_a_ticket(room: &Room, _stop: &AtomicBool) {
    visit(room);
    let mut guard = room.mutex.lock().or_carry_on().unwrap();
    room.waiting.fetch_add(1);
    while room.tickets.load() == 0 {
        guard = room.changed.wait(guard).or_carry_on().unwrap();
    }
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
        let room = room();
        let running = std::cell::RefCell::new(None);
        let start = || {
            running.replace(Some(Survivors::new(&room, self.survivors)));
            // Woken, and not by its tick: who is stepped is slow, and would do more at each than the survivors in all.
            hand(Role::new(self.role).env(TICK, "600000"), &room).into_command()
        };
        let kills = step::sweep_changes(&self.scenario(), start, |_, _| {
            running.take().expect("they were started").join(&room);
            visit(&room);
            drop(room.mutex.try_lock().unwrap());
            drop(room.rlock.lock().or_carry_on().unwrap());
            drop(room.rlock.try_lock().unwrap());
        });
        // To give back and to wake is one system call.
        assert!(kills.n_changes > 0, "{kills}");
    }

    fn scenario(&self) -> String {
        match self.survivors.len() {
            0 => self.role.to_owned(),
            n => format!("{}, {n} others", self.role),
        }
    }
}

struct Survivors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Survivors {
    fn new(room: &Room, bodies: &[Survivor]) -> Self {
        for word in [&room.tickets, &room.waiting, &room.stage, &room.victim] {
            word.store(0);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let start = |body: &Survivor| {
            let (room, stop, body) = (room.clone(), Arc::clone(&stop), *body);
            thread::spawn(move || body(&room, &stop))
        };
        Self { threads: bodies.iter().map(start).collect(), stop }
    }

    /// Nobody is stuck.
    fn join(self, room: &Room) {
        self.stop.store(true, SeqCst);
        visit(room);
        // If the victim did not.
        if room.tickets.load() == 0 {
            let guard = room.mutex.lock().or_carry_on().unwrap();
            room.tickets.store(1);
            drop(guard);
        }
        room.changed.notify_all();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Runs the sweep in a role of its own, so that the survivors' tick is short.
fn with_a_short_tick(sweep: &Sweep) {
    match role().as_deref() {
        Some("sweeper") => guarded_for(LIMIT * 60, || sweep.run()),
        Some(victim) => self::victim(victim),
        None => guarded_for(LIMIT * 60, || {
            let output = Role::new("sweeper").env(TICK, "1").spawn().wait_with_output(LIMIT * 60);
            let _ = write!(std::io::stderr(), "{}", output.expect_success().stderr);
        }),
    }
}

#[test]
fn a_lock_that_nobody_wants() {
    with_a_short_tick(&Sweep { role: "locks", survivors: &[] });
}

#[test]
fn a_lock_that_others_want() {
    with_a_short_tick(&Sweep { role: "waits for its turn", survivors: &[be_in_the_way, sleep_once] });
}

#[test]
fn giving_back_what_two_sleep_for() {
    with_a_short_tick(&Sweep { role: "unlocks", survivors: &[sleep_once, sleep_once] });
}

#[test]
fn a_recursive_lock() {
    with_a_short_tick(&Sweep { role: "comes back", survivors: &[come_and_go_again] });
}

#[test]
fn waiting() {
    with_a_short_tick(&Sweep { role: "waits", survivors: &[notify] });
}

#[test]
fn notifying() {
    with_a_short_tick(&Sweep { role: "notifies", survivors: &[wait_for_a_ticket, wait_for_a_ticket] });
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for (role, survivors) in [
            ("locks", &[][..]),
            ("unlocks", &[sleep_once as Survivor, sleep_once]),
            ("waits for its turn", &[be_in_the_way, sleep_once]),
            ("comes back", &[]),
            ("waits", &[notify]),
            ("notifies", &[wait_for_a_ticket, wait_for_a_ticket]),
        ] {
            let room = room();
            let survivors = Survivors::new(&room, survivors);
            hand(Role::new(role), &room).spawn().wait_with_output(LIMIT).expect_success();
            survivors.join(&room);
            drop(room.mutex.try_lock().unwrap());
        }
    });
}
