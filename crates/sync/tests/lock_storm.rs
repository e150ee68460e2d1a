//! A storm: processes take, nest, wait and notify until they are killed or stopped at random. What the survivors find is
//! whole, or they are told of the death; and in the end everybody who lives gets every lock.

mod support;

use std::io::Write;
use std::time::Duration;

use procession_shm::{Atomic, Plain, Shared};
use procession_sync::{Condvar, Dead, LockError, Mutex, OrRepair, RLock};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for, role};
use support::{hand, received};

const N_PROCESSES: u64 = 4;
const N_MUTEXES: u64 = 2;
const LIMIT: Duration = Duration::from_secs(60);

/// Equal for whoever holds the lock.
#[derive(Clone, Copy, Debug, Default, Plain)]
struct Pair {
    a: u64,
    b: u64,
}

#[derive(Clone, Shared)]
struct Sea {
    mutexes: [Mutex<Pair>; N_MUTEXES as usize],
    rlock: RLock,
    changed: Condvar,
    n_visits: Atomic<u32>,
    n_deaths: Atomic<u32>,
    n_faults: Atomic<u32>,
}

impl Sea {
    fn new() -> Self {
        Self::create(([Pair::default(); N_MUTEXES as usize], (), (), 0, 0, 0)).unwrap()
    }

    /// A process that may be killed a moment later cannot tell by failing.
    fn must(&self, holds: bool, what: &str) {
        if !holds {
            self.n_faults.fetch_add(1);
            panic!("{what}");
        }
    }

    fn told(&self, dead: &Dead) {
        self.must(dead.participant().is_some(), "a dead holder has a name");
        self.n_deaths.fetch_add(1);
    }

    fn visit(&self, storm: &mut Storm) -> Result<(), LockError> {
        let mutex = &self.mutexes[storm.below(N_MUTEXES) as usize];
        let mend = |pair: &mut Pair, dead: &Dead| {
            self.told(dead);
            pair.b = pair.a;
        };
        let mut pair = match storm.below(3) {
            0 => mutex.try_lock(),
            1 => mutex.lock_timeout(Duration::from_micros(storm.below(2000))),
            _ => mutex.lock(),
        }
        .or_repair(mend)?;
        self.must(pair.a == pair.b, "torn, and nobody was told");
        pair.a += 1;
        // Most are killed here.
        for _ in 0..storm.below(3000) {
            std::hint::spin_loop();
        }
        pair.b += 1;
        if storm.chance(1, 8) {
            let timeout = Duration::from_micros(storm.below(3000));
            pair = self.changed.wait_timeout(pair, timeout).or_repair(mend)?.0;
            self.must(pair.a == pair.b, "torn in a wait, and nobody was told");
        }
        drop(pair);
        match storm.below(4) {
            0 => self.changed.notify_all(),
            1 => self.changed.notify_n(2),
            _ => self.changed.notify_one(),
        }
        let depth = storm.below(4);
        let levels: Vec<_> =
            (0..depth).map(|_| self.rlock.lock().or_repair(|(), dead| self.told(dead))).collect();
        levels.into_iter().try_for_each(|level| level.map(drop))
    }
}

fn sail() {
    let sea: Sea = received();
    let mut storm = Storm::from_seed(roles::hear().unwrap().parse().unwrap());
    roles::say("out");
    loop {
        match sea.visit(&mut storm) {
            Ok(()) | Err(LockError::WouldBlock { .. } | LockError::TimedOut { .. }) => {}
            Err(other) => sea.must(false, &other.to_string()),
        }
        sea.n_visits.fetch_add(1);
    }
}

fn sailor(sea: &Sea, storm: &mut Storm) -> RoleProcess {
    let mut process = hand(Role::new("sailor"), sea).spawn();
    process.say(&storm.bits().to_string());
    assert_eq!(process.hear(LIMIT).as_deref(), Some("out"));
    process
}

#[test]
fn whoever_survives_goes_on() {
    if role().is_some() {
        return sail();
    }
    guarded_for(LIMIT * 30, || {
        let n_kills = if std::env::var_os("PROCESSION_LONG").is_some() { 3000 } else { 60 };
        let mut storm = Storm::seeded();
        let sea = Sea::new();
        let mut sailors: Vec<_> = (0..N_PROCESSES).map(|_| sailor(&sea, &mut storm)).collect();
        let mut stopped: Option<usize> = None;
        for _ in 0..n_kills {
            let index = storm.below(N_PROCESSES) as usize;
            if storm.chance(1, 4) && stopped.is_none() {
                sailors[index].signal(Signal::STOP);
                stopped = Some(index);
                continue;
            }
            // Who is stopped may hold what all wait for.
            if let Some(index) = stopped.take() {
                sailors[index].signal(Signal::CONT);
            }
            let (visits, patience) = (sea.n_visits.load(), storm.below(200) as u32);
            while sea.n_visits.load().wrapping_sub(visits) < patience && sea.n_faults.load() == 0 {
                std::thread::yield_now();
            }
            sailors[index].kill();
            sailors[index] = sailor(&sea, &mut storm);
        }
        drop(sailors);
        assert_eq!(sea.n_faults.load(), 0, "seed {}", storm.seed());
        for mutex in &sea.mutexes {
            let pair = mutex.lock().or_repair(|pair, _| pair.b = pair.a).unwrap();
            assert_eq!(pair.a, pair.b);
        }
        drop(sea.rlock.lock().or_carry_on().unwrap());
        let (visits, deaths) = (sea.n_visits.load(), sea.n_deaths.load());
        let _ =
            writeln!(std::io::stderr(), "{n_kills} kills and stops, {visits} visits, {deaths} deaths told");
    });
}
