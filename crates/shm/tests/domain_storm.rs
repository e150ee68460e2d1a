//! A storm: threads join and leave, processes are killed and stopped at random. No id ever names two living threads,
//! and afterwards every slot can be taken.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use procession_raw::{Id, Owners};
use procession_shm::domain::{Domain, JoinError};
use procession_sys::caps;
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for};

const N_SLOTS: u32 = 12;
const N_PROCESSES: usize = 5;
const N_THREADS: u64 = 3;

/// Beside the domain: who says that it has which slot, and what went wrong.
struct Ledger {
    memory: Memfd,
    page: Arc<Mapping>,
}

impl Ledger {
    fn of(memory: Memfd) -> Self {
        let page = Arc::new(Mapping::shared(&memory).unwrap());
        Self { memory, page }
    }

    fn n_faults(&self) -> &AtomicU32 {
        self.page.atomic_u32(0)
    }

    fn n_joins(&self) -> &AtomicU32 {
        self.page.atomic_u32(4)
    }

    /// The id that was in a slot last, by its owner's own word; all ones before the first.
    fn holder(&self, id: Id) -> &AtomicU32 {
        self.page.atomic_u32(64 + id.slot() as usize * 4)
    }

    /// A process that may be killed a moment later cannot tell by failing.
    fn must(&self, holds: bool, what: &str) {
        if !holds {
            self.n_faults().fetch_add(1, SeqCst);
            panic!("{what}");
        }
    }
}

/// One stay: in, a look around, and out by the thread's end.
fn stay(domain: &Domain, ledger: &Ledger, mut storm: Storm) {
    let id = match domain.join() {
        Ok(id) => id,
        Err(JoinError::Full { .. }) => return,
        Err(e) => panic!("{e}"),
    };
    let bits = id.to_bits();
    let before = ledger.holder(id).swap(bits, SeqCst);
    ledger.must(before != bits, "an id was given twice");
    ledger.must(
        before == u32::MAX || domain.is_dead(Id::from_bits(before)),
        "a slot was taken from the living",
    );
    for _ in 0..storm.below(50) {
        ledger.must(!domain.is_dead(id), "we live");
        ledger.must(domain.watch(id).is_some(), "we can be watched");
        ledger.must(ledger.holder(id).load(SeqCst) == bits, "somebody else is in our slot");
        let other =
            Id::from_bits(ledger.page.atomic_u32(64 + storm.below(N_SLOTS.into()) as usize * 4).load(SeqCst));
        if domain.watch(other).is_none() {
            ledger.must(domain.is_dead(other), "the dead stay dead");
        }
        thread::yield_now();
    }
    ledger.n_joins().fetch_add(1, SeqCst);
}

/// Threads come and go until the process is killed.
fn come_and_go() {
    let domain = Domain::attach(roles::handed("domain")).unwrap();
    let ledger = Ledger::of(Memfd::adopt(roles::handed("ledger")).unwrap());
    let mut storm = Storm::from_seed(roles::hear().unwrap().parse().unwrap());
    roles::say("in");
    loop {
        thread::scope(|scope| {
            for _ in 0..=storm.below(N_THREADS) {
                let seed = Storm::from_seed(storm.bits());
                scope.spawn(|| stay(&domain, &ledger, seed));
            }
        });
    }
}

fn member(domain: &Domain, ledger: &Ledger, storm: &mut Storm, without: &[&str]) -> RoleProcess {
    let fd = |of: &dyn AsFd| -> OwnedFd { of.as_fd().try_clone_to_owned().unwrap() };
    let role = Role::new("member").hand("domain", fd(domain)).hand("ledger", fd(&ledger.memory));
    let mut process = role.env(caps::SWITCH, storm.pick(without)).spawn();
    process.say(&storm.bits().to_string());
    assert_eq!(process.hear(Duration::from_secs(60)).as_deref(), Some("in"));
    process
}

/// Kills and replaces members; each has lived for a few joins of anybody's before the next choice.
fn rage(domain: &Domain, ledger: &Ledger, storm: &mut Storm, without: &[&str], n_kills: u32) {
    let mut members: Vec<_> = (0..N_PROCESSES).map(|_| member(domain, ledger, storm, without)).collect();
    let mut stopped = None;
    for _ in 0..n_kills {
        let (joins, patience) = (ledger.n_joins().load(SeqCst), storm.below(20) as u32);
        while ledger.n_joins().load(SeqCst).wrapping_sub(joins) < patience
            && ledger.n_faults().load(SeqCst) == 0
        {
            thread::yield_now();
        }
        if let Some(index) = stopped.take() {
            let member: &mut RoleProcess = &mut members[index];
            member.signal(if storm.chance(1, 2) { Signal::CONT } else { Signal::KILL });
            if !member.identity().is_alive() {
                members[index] = self::member(domain, ledger, storm, without);
            }
        }
        let index = storm.below(N_PROCESSES as u64) as usize;
        if storm.chance(1, 4) {
            members[index].signal(Signal::STOP);
            stopped = Some(index);
        } else {
            members[index].kill();
            members[index] = member(domain, ledger, storm, without);
        }
    }
    drop(members);
}

/// As many threads as there are slots get one each, and one more does not.
fn every_slot_can_be_taken(domain: &Domain) {
    let n = N_SLOTS as usize;
    let all_in = Barrier::new(n + 1);
    thread::scope(|scope| {
        let join = || {
            let id = domain.join();
            all_in.wait();
            all_in.wait();
            id
        };
        let threads: Vec<_> = (0..n).map(|_| scope.spawn(join)).collect();
        all_in.wait();
        let more = domain.join();
        all_in.wait();
        let ids: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let slots: HashSet<_> = ids.iter().map(|id| id.expect("its slot was lost").slot()).collect();
        assert_eq!(slots.len(), n);
        assert_eq!(more, Err(JoinError::Full { n_slots: N_SLOTS }));
    });
}

fn storm(without: &[&str], n_kills: u32) {
    let mut storm = Storm::seeded();
    let domain = Domain::with_slots(N_SLOTS).unwrap();
    let ledger = Ledger::of(Memfd::sealed("ledger", 4096).unwrap());
    (0..N_SLOTS).for_each(|slot| ledger.holder(Id::new(slot, 0)).store(u32::MAX, SeqCst));
    rage(&domain, &ledger, &mut storm, without, n_kills);
    assert_eq!(ledger.n_faults().load(SeqCst), 0, "seed {}", storm.seed());
    every_slot_can_be_taken(&domain);
    let n_joins = ledger.n_joins().load(SeqCst);
    let _ = writeln!(std::io::stderr(), "{n_kills} kills and stops, {n_joins} whole stays");
}

fn kills(short: u32, long: u32) -> u32 {
    if std::env::var_os("PROCESSION_LONG").is_some() { long } else { short }
}

#[test]
fn no_id_names_two_and_no_slot_is_lost() {
    if roles::role().is_some() {
        return come_and_go();
    }
    guarded_for(Duration::from_secs(600), || storm(&[""], kills(150, 5000)));
}

/// Members whom the kernel knows beside members whom it does not.
#[test]
fn the_same_where_the_kernel_tells_some_deaths_only() {
    if roles::role().is_some() {
        return come_and_go();
    }
    guarded_for(Duration::from_secs(600), || {
        storm(&["", "robust_list", "robust_list,pidfd"], kills(60, 2000));
    });
}
