//! A storm: processes read, write, split, send themselves parts and lose messages, and are killed at any moment. Nobody
//! ever sees anybody else write what it has, and the array can always be had.

mod parcel;

use std::io::Write;
use std::thread;
use std::time::Duration;

use parcel::{Parcel, pack};
use procession_shm::{Array, Atomic, Part};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for};

const LIMIT: Duration = Duration::from_secs(60);
const N_PROCESSES: usize = 3;
const N_ITEMS: usize = 512;

struct Ledger {
    array: Array<u64>,
    rounds: Atomic<u64>,
    faults: Atomic<u64>,
}

type Sent = (Array<u64>, Atomic<u64>, Atomic<u64>);

/// Writes something that nobody else writes, and looks whether it stays.
fn fill(items: &mut [u64], mark: u64, ledger: &Ledger) {
    items.fill(mark);
    thread::yield_now();
    if items.iter().any(|item| *item != mark) {
        ledger.faults.fetch_add(1);
    }
}

fn round(ledger: &Ledger, storm: &mut Storm) {
    let (array, mark) = (&ledger.array, storm.bits());
    match storm.below(6) {
        0 => fill(&mut array.write(), mark, ledger),
        1 => array.split(1 + storm.below(5) as usize).for_each(|mut part| fill(&mut part, mark, ledger)),
        2 => thread::scope(|scope| {
            for mut part in array.split(2) {
                scope.spawn(move || fill(&mut part, mark, ledger));
            }
        }),
        3 => array.chunks(200).for_each(|part| {
            let parcel = pack(&part).unwrap();
            // Lost on its way, or received.
            if storm.chance(1, 2) {
                parcel.unpack::<Part<u64>>().unwrap().iter_mut().for_each(|item| *item = mark);
            }
        }),
        4 => array.write().mark_consistent(),
        _ => {
            let items = array.read();
            let before = items.to_vec();
            thread::yield_now();
            if items[..] != before[..] {
                ledger.faults.fetch_add(1);
            }
        }
    }
    ledger.rounds.fetch_add(1);
}

fn member() {
    let (array, rounds, faults): Sent = Parcel::handed().unpack().unwrap();
    let ledger = Ledger { array, rounds, faults };
    let mut storm = Storm::from_seed(roles::hear().unwrap().parse().unwrap());
    roles::say("in");
    thread::scope(|scope| {
        for _ in 0..2 {
            let (ledger, mut storm) = (&ledger, Storm::from_seed(storm.bits()));
            scope.spawn(move || {
                loop {
                    round(ledger, &mut storm);
                }
            });
        }
    });
}

fn start(ledger: &Ledger, storm: &mut Storm) -> RoleProcess {
    let sent = (ledger.array.clone(), ledger.rounds.clone(), ledger.faults.clone());
    let mut process = pack(&sent).unwrap().hand_to(Role::new("member")).spawn();
    process.say(&storm.bits().to_string());
    assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
    process
}

#[test]
fn nobody_writes_what_another_has_and_nothing_stays_taken() {
    if roles::role().is_some() {
        return member();
    }
    guarded_for(Duration::from_secs(600), || {
        let mut storm = Storm::seeded();
        let number = || Atomic::new(0_u64).unwrap();
        let ledger = Ledger { array: Array::zeroed(N_ITEMS).unwrap(), rounds: number(), faults: number() };
        let mut members: Vec<_> = (0..N_PROCESSES).map(|_| start(&ledger, &mut storm)).collect();
        let n_kills = if std::env::var_os("PROCESSION_LONG").is_some() { 2000 } else { 40 };
        for _ in 0..n_kills {
            let (rounds, patience) = (ledger.rounds.load(), storm.below(100));
            while ledger.rounds.load() - rounds < patience && ledger.faults.load() == 0 {
                thread::yield_now();
            }
            let at = storm.below(N_PROCESSES as u64) as usize;
            if storm.chance(1, 4) {
                members[at].signal(Signal::STOP);
                thread::yield_now();
                members[at].signal(if storm.chance(1, 2) { Signal::CONT } else { Signal::KILL });
            }
            members[at].kill();
            members[at] = start(&ledger, &mut storm);
        }
        drop(members);
        assert_eq!(ledger.faults.load(), 0, "seed {}", storm.seed());
        ledger.array.write().mark_consistent();
        assert_eq!((ledger.array.split(7).len(), ledger.array.is_consistent()), (7, true));
        let _ = writeln!(std::io::stderr(), "{n_kills} kills, {} whole rounds", ledger.rounds.load());
    });
}
