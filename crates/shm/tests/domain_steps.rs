//! Kill points: a thread that joins, takes over a dead thread's slot, or leaves, is killed wherever something changed.
//!
//! Whatever the moment: its id is dead, every slot can be taken by the survivors, and who sleeps on its life wakes up.
//! `PROCESSION_LONG` tries every instruction.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::Ordering::Acquire;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_raw::{Id, Owners, Park};
use procession_shm::domain::{Domain, JoinError, TICK};
use procession_sys::caps;
use procession_sys::futex::SharedPark;
use procession_sys::life::{LifeSlot, SLOT_SIZE};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::roles::{self, Role};
use procession_testkit::{guarded, guarded_for, need, role, step};

const LIMIT: Duration = Duration::from_secs(60);
/// The victim's and one more: so the survivors find out whether both can be had.
const N_SLOTS: u32 = 2;

fn descriptor(domain: &Domain) -> OwnedFd {
    domain.as_fd().try_clone_to_owned().unwrap()
}

/// What is done in the window.
fn victim(role: &str) {
    let domain = Domain::attach(roles::handed("domain")).unwrap();
    let mut other = Domain::with_slots(1).unwrap();
    // Once outside of the window: what happens at the first use only is not what is looked at.
    other.join().unwrap();
    match role {
        "joins" => {
            step::here();
            let _ = domain.join();
            step::end();
        }
        "leaves" => {
            domain.join().unwrap();
            other = Domain::with_slots(1).unwrap();
            step::here();
            // Without a handle of it, the next join leaves it.
            drop(domain);
            let _ = other.join();
            step::end();
        }
        "dies" => {
            let both_in = Barrier::new(2);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        domain.join().unwrap();
                        both_in.wait();
                        procession_sys::child::end_now(0);
                    });
                }
            });
        }
        other => panic!("no role {other}"),
    }
}

/// The ids that stand in the slots.
fn ids(domain: &Domain) -> Vec<Id> {
    let mapping = Mapping::shared(&Memfd::adopt(descriptor(domain)).unwrap()).unwrap();
    let words =
        (0..N_SLOTS as usize).map(|n| LifeSlot::at(&mapping, 4096 + n * SLOT_SIZE).id().load(Acquire));
    words.filter(|word| *word != 0).map(Id::from_bits).collect()
}

fn survivors_go_on(domain: &Domain, n: u64) {
    for id in ids(domain) {
        // Not at once where the kernel does not tell.
        while !domain.is_dead(id) {
            thread::yield_now();
        }
        step::death_told();
    }
    let before: HashSet<_> = ids(domain).into_iter().collect();
    let all_in = Barrier::new(N_SLOTS as usize + 1);
    thread::scope(|scope| {
        let join = || {
            let id = domain.join();
            all_in.wait();
            all_in.wait();
            id
        };
        let threads: Vec<_> = (0..N_SLOTS).map(|_| scope.spawn(join)).collect();
        all_in.wait();
        let more = domain.join();
        let revived = before.iter().find(|id| !domain.is_dead(**id)).copied();
        all_in.wait();
        assert_eq!((more, revived), (Err(JoinError::Full { n_slots: N_SLOTS }), None), "at {n}");
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        let new: HashSet<_> = joined.map(|id| id.unwrap_or_else(|e| panic!("at {n}: {e}"))).collect();
        assert!(
            new.len() == N_SLOTS as usize && new.is_disjoint(&before),
            "at {n}: {before:?}, then {new:?}"
        );
    });
}

/// Sleeps on the life of the first who joins, until its end.
fn sleeper(domain: Domain, timeout: Option<Duration>) -> JoinHandle<()> {
    thread::spawn(move || {
        let id = loop {
            match ids(&domain).first() {
                Some(id) => break *id,
                None => thread::yield_now(),
            }
        };
        while let Some((life, alive)) = domain.watch(id) {
            SharedPark.wait_any(&[(life, alive)], timeout);
        }
        domain.pass_on(id);
    })
}

struct Sweep {
    role: &'static str,
    /// Capabilities that the victim is without.
    without: &'static str,
    /// Both slots belong to dead threads when the victim comes.
    used: bool,
    n_sleepers: usize,
}

impl Sweep {
    fn run(&self) {
        if !need("ptrace") {
            return;
        }
        let domain = RefCell::new(Domain::with_slots(N_SLOTS).unwrap());
        let sleepers = RefCell::new(Vec::new());
        let start = || {
            let fresh = self.fresh();
            // Where the kernel does not tell, the sleepers look at ticks.
            let timeout = (!self.without.is_empty()).then_some(fresh.tick());
            sleepers.replace((0..self.n_sleepers).map(|_| sleeper(fresh.clone(), timeout)).collect());
            let command = self.victim(&fresh);
            domain.replace(fresh);
            command
        };
        let kills = step::sweep_changes(&self.scenario(), start, |n, _outcome| {
            sleepers.take().into_iter().for_each(|sleeper| sleeper.join().unwrap());
            survivors_go_on(&domain.borrow(), n);
        });
        assert!(kills.n_changes > 2, "{kills}");
    }

    fn scenario(&self) -> String {
        let used = if self.used { " into a used slot" } else { "" };
        let without =
            if self.without.is_empty() { String::new() } else { format!(", without {}", self.without) };
        format!("{}{used}{without}", self.role)
    }

    fn fresh(&self) -> Domain {
        let domain = Domain::with_slots(N_SLOTS).unwrap();
        if self.used {
            let dead = Role::new("dies").hand("domain", descriptor(&domain)).spawn();
            dead.wait_with_output(LIMIT).expect_success();
            assert_eq!(domain.occupancy().dead, N_SLOTS);
        }
        domain
    }

    fn victim(&self, domain: &Domain) -> Command {
        let role = Role::new(self.role).hand("domain", descriptor(domain));
        role.env(caps::SWITCH, self.without).into_command()
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
fn joining_a_fresh_table() {
    with_a_short_tick(&Sweep { role: "joins", without: "", used: false, n_sleepers: 0 });
}

#[test]
fn taking_over_a_dead_thread_s_slot() {
    with_a_short_tick(&Sweep { role: "joins", without: "", used: true, n_sleepers: 0 });
}

#[test]
fn joining_unknown_to_the_kernel() {
    with_a_short_tick(&Sweep { role: "joins", without: "robust_list", used: true, n_sleepers: 0 });
}

#[test]
fn leaving_with_two_asleep() {
    with_a_short_tick(&Sweep { role: "leaves", without: "", used: false, n_sleepers: 2 });
}

#[test]
fn leaving_unknown_to_the_kernel() {
    with_a_short_tick(&Sweep { role: "leaves", without: "robust_list", used: false, n_sleepers: 2 });
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for role in ["joins", "leaves"] {
            let domain = Domain::with_slots(N_SLOTS).unwrap();
            let process = Role::new(role).hand("domain", descriptor(&domain)).spawn();
            process.wait_with_output(LIMIT).expect_success();
            let ids = ids(&domain);
            assert_eq!(ids.len(), 1, "{role}");
            assert!(domain.is_dead(ids[0]), "{role}");
        }
    });
}
