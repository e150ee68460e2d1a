//! A storm over the signals: processes read, write, take permits and tokens, set, meet and make what is made once, until
//! they are killed or stopped at random.
//!
//! What is read is whole or its reader is told; among the living there are never more inside than permits; the tokens add
//! up; all get the one value that was made; whoever is named as dead was killed. In the end the survivors come home, and
//! a fresh process can take everything.

mod sea;
mod support;

use std::io::Write;
use std::thread;
use std::time::Duration;

use procession_raw::{AcquireError, AttachError};
use procession_sync::{BarrierBroken, BarrierWaitResult, Broken, Failed, LockError, OrRepair};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for, role};
use sea::{Berth, N_LAZIES, N_PERMITS, N_SAILORS, Pair, Sea};
use support::{hand, received};

const LIMIT: Duration = Duration::from_secs(60);

/// A process on the sea.
struct Sailor {
    sea: Sea,
    me: usize,
    storm: Storm,
}

/// Who may be killed a moment later cannot tell by failing.
impl Drop for Sailor {
    fn drop(&mut self) {
        if thread::panicking() {
            self.sea.n_faults.fetch_add(1);
        }
    }
}

impl Sailor {
    fn sail(mut self) {
        while !self.sea.stop.load() {
            match self.storm.below(12) {
                0 | 1 => self.read(),
                2 | 3 => self.write(),
                4 => self.give_and_take(),
                5 => self.meet(),
                6 => self.make(),
                // Often enough that more want one than there are.
                _ => self.take_a_permit(),
            }
            self.signal();
            self.sea.n_visits.fetch_add(1);
        }
        self.sea.n_home.fetch_add(1);
    }

    /// Most are killed here.
    fn linger(&mut self) {
        for _ in 0..self.storm.below(3000) {
            std::hint::spin_loop();
        }
    }

    fn soon(&mut self) -> Duration {
        Duration::from_micros(self.storm.below(2000))
    }

    fn read(&mut self) {
        let sea = self.sea.clone();
        let pair = match self.storm.below(3) {
            0 => sea.pair.try_read(),
            1 => sea.pair.read_timeout(self.soon()),
            _ => sea.pair.read(),
        };
        match pair {
            Ok(pair) => {
                let before = *pair;
                assert!(before.a == before.b, "torn, and nobody was told");
                self.linger();
                // Whatever waits; and a writer that died before it could write has left its poison.
                let again = sea.pair.read();
                assert!(matches!(again, Ok(_) | Err(Failed::Poisoned(_))), "who reads may read again");
                assert!(*pair == before, "somebody wrote meanwhile");
            }
            Err(Failed::OwnerDied(died)) => sea.told(died.dead().participant()),
            Err(Failed::Poisoned(_) | Failed::WouldBlock { .. } | Failed::TimedOut { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn write(&mut self) {
        let sea = self.sea.clone();
        let taken = match self.storm.below(3) {
            0 => sea.pair.try_write(),
            1 => sea.pair.write_timeout(self.soon()),
            _ => sea.pair.write(),
        };
        let repaired = taken.or_repair(|pair, dead| {
            // Of a death that another was told, only the poison is left.
            dead.participant().into_iter().for_each(|dead| sea.told(Some(dead)));
            pair.b = pair.a;
        });
        let mut pair = match repaired {
            Ok(pair) => pair,
            Err(LockError::WouldBlock { .. } | LockError::TimedOut { .. }) => return,
            Err(other) => panic!("{other}"),
        };
        assert!(pair.a == pair.b, "torn, and nobody was told");
        pair.a += 1;
        self.linger();
        pair.b += 1;
        if self.storm.chance(1, 4) {
            let (written, pair) = (*pair, pair.downgrade());
            self.linger();
            assert!(*pair == written, "somebody wrote after a downgrade");
        }
        sea.n_written.fetch_add(1);
    }

    fn take_a_permit(&mut self) {
        let sea = self.sea.clone();
        let permit = match self.storm.below(3) {
            0 => sea.permits.try_acquire(),
            1 => sea.permits.acquire_timeout(self.soon()),
            _ => sea.permits.acquire(),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(AcquireError::TimedOut) => return,
            Err(other) => panic!("{other}"),
        };
        permit.left_by().into_iter().for_each(|dead| sea.told(Some(dead)));
        let inside = &sea.berths[self.me].inside;
        inside.fetch_add(1);
        self.count();
        self.linger();
        inside.fetch_add(1);
    }

    /// Nobody else knows who is alive: the others seen inside at one moment have to show it, by moving on.
    fn count(&self) {
        let berths = &self.sea.berths;
        let look = || berths.each_ref().map(|berth| (berth.kills.load(), berth.inside.load()));
        let seen = look();
        let inside = || (0..N_SAILORS).filter(|&n| seen[n].0.is_multiple_of(2) && seen[n].1 % 2 == 1);
        if inside().count() <= N_PERMITS as usize || look() != seen {
            return;
        }
        berths[self.me].inside.fetch_add(2);
        let lived = |n: usize| {
            let (kills, inside) = seen[n];
            while berths[n].inside.load() == inside && berths[n].kills.load() == kills {
                thread::yield_now();
            }
            berths[n].kills.load() == kills
        };
        let all_lived = inside().filter(|&n| n != self.me).all(lived);
        assert!(!all_lived, "more are inside than there are permits");
    }

    /// Who takes has given as many before, so there is one for everybody who waits.
    fn give_and_take(&mut self) {
        let sea = &self.sea;
        let n = 1 + self.storm.below(3) as u32;
        assert!(sea.tokens.release(n).is_ok(), "there is room for tokens");
        sea.n_given.fetch_add(n);
        for _ in 0..n {
            sea.tokens.acquire();
            sea.n_taken.fetch_add(1);
        }
    }

    fn signal(&mut self) {
        let event = self.sea.event.clone();
        match self.storm.below(8) {
            0 => event.clear(),
            1 => _ = event.wait_timeout(self.soon()),
            // Whoever watches the storm sets it all the time.
            2 => event.wait(),
            _ => event.set(),
        }
    }

    fn meet(&mut self) {
        let sea = self.sea.clone();
        let place = match self.storm.below(2) {
            0 => None,
            _ => match sea.gate.attach() {
                Ok(place) => Some(place),
                Err(AttachError::Full) => return self.reset_if_broken(),
                Err(other) => panic!("{other}"),
            },
        };
        let met = match self.storm.below(3) {
            0 => sea.gate.try_wait().transpose(),
            _ => Some(sea.gate.wait_timeout(self.soon())),
        };
        self.judge(met, place.as_ref().map(procession_sync::Attached::index));
        drop(place);
        if self.storm.chance(1, 50) {
            sea.gate.abort();
        }
        self.reset_if_broken();
    }

    fn judge(&self, met: Option<Result<BarrierWaitResult, BarrierBroken>>, place: Option<usize>) {
        match met {
            None => {}
            Some(Ok(met)) => {
                assert!(met.index() < 2, "there are two places");
                assert!(place.is_none_or(|place| place == met.index()), "who is attached meets there");
                self.sea.n_met.fetch_add(1);
            }
            Some(Err(BarrierBroken { died, cause, .. })) => {
                assert!(cause != Broken::Death || !died.is_empty(), "a death has a name");
                died.into_iter().for_each(|dead| self.sea.told(Some(dead)));
            }
        }
    }

    fn reset_if_broken(&mut self) {
        if self.sea.gate.is_broken() && self.storm.chance(1, 2) {
            self.sea.gate.reset();
        }
    }

    fn make(&mut self) {
        let sea = self.sea.clone();
        let n = sea.lazy.load() as usize;
        let made = sea.lazies[n].get_or_init(|| {
            sea.n_made.fetch_add(1);
            self.linger();
            let mine = u64::from(std::process::id());
            Pair { a: mine, b: mine }
        });
        let known = sea.lazies[n].get();
        assert!(made.is_ok() && made.ok() == known, "what is made stays");
        assert!(known.is_some_and(|made| made.a != 0 && made.a == made.b), "half made");
    }
}

/// A fresh process takes everything.
fn take_all(sea: &Sea) {
    drop(sea.pair.read().map(drop));
    let mut pair = sea.pair.write().or_repair(|pair, _| pair.b = pair.a).unwrap();
    assert_eq!(pair.a, pair.b);
    pair.a += 1;
    pair.b += 1;
    drop(pair);
    assert!(sea.pair.try_read().is_ok());
    assert_eq!(sea.permits.available(), N_PERMITS as usize);
    let all = [(); N_PERMITS as usize].map(|()| sea.permits.try_acquire().unwrap());
    assert!(sea.permits.try_acquire().is_err());
    drop(all);
    sea.tokens.release(1).unwrap();
    sea.tokens.acquire();
    sea.event.wait();
    sea.event.clear();
    assert!(!sea.event.is_set());
    let all_are_made = sea.lazies.iter().all(|lazy| lazy.get_or_init(|| Pair { a: 1, b: 1 }).is_ok());
    assert!(all_are_made);
    sea.gate.reset();
    let _place = sea.gate.attach().unwrap();
    thread::scope(|s| {
        let guest = s.spawn(|| sea.gate.wait().unwrap().index());
        assert_eq!((sea.gate.wait().unwrap().index(), guest.join().unwrap()), (0, 1));
    });
}

fn play(role: &str) {
    let sea: Sea = received();
    if role == "fresh" {
        return take_all(&sea);
    }
    let [seed, me] = [(); 2].map(|()| roles::hear().unwrap().parse::<u64>().unwrap());
    let me = me as usize;
    sea.berths[me].pid.store(std::process::id());
    roles::say("out");
    Sailor { sea, me, storm: Storm::from_seed(seed) }.sail();
}

fn sailor(sea: &Sea, storm: &mut Storm, me: usize) -> RoleProcess {
    let mut process = hand(Role::new("sailor"), sea).spawn();
    process.say(&storm.bits().to_string());
    process.say(&me.to_string());
    assert_eq!(process.hear(LIMIT).as_deref(), Some("out"));
    process
}

fn kill(berth: &Berth, mut sailor: RoleProcess) {
    berth.pid.store(0);
    berth.kills.fetch_add(1);
    sailor.kill();
    // It is reaped, so it is really not inside any more.
    drop(sailor);
    let _ = berth.inside.fetch_update(|inside| (inside % 2 == 1).then_some(inside + 1));
    berth.kills.fetch_add(1);
}

/// Kills and stops until there were so many; answers the sailors that live then, and how many were killed.
fn blow(sea: &Sea, storm: &mut Storm, n_rounds: u32) -> (Vec<RoleProcess>, u32) {
    let mut sailors: Vec<_> = (0..N_SAILORS).map(|me| sailor(sea, storm, me)).collect();
    let (mut n_kills, mut stopped) = (0, None::<usize>);
    for round in 0..n_rounds {
        sea.lazy.store((u64::from(round) * N_LAZIES as u64 / u64::from(n_rounds)) as u32);
        let index = storm.below(N_SAILORS as u64) as usize;
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
            sea.event.set();
            thread::yield_now();
        }
        if sea.n_faults.load() > 0 {
            break;
        }
        kill(&sea.berths[index], sailors.swap_remove(index));
        n_kills += 1;
        sailors.push(sailor(sea, storm, index));
        let last = sailors.len() - 1;
        sailors.swap(index, last);
    }
    if let Some(index) = stopped {
        sailors[index].signal(Signal::CONT);
    }
    (sailors, n_kills)
}

/// The counts differ only by what somebody had done and not yet counted when it was killed.
fn adds_up(sea: &Sea, n_kills: u32) {
    let written = sea.pair.write().or_repair(|pair, _| pair.b = pair.a).unwrap().a;
    let uncounted = written - sea.n_written.load();
    assert!(uncounted <= n_kills.into(), "{uncounted} writes by {n_kills} dead");
    let (given, taken) = (i64::from(sea.n_given.load()), i64::from(sea.n_taken.load()));
    let uncounted = i64::from(sea.tokens.available()) - (given - taken);
    let (most, least) = (3 * i64::from(n_kills), -i64::from(n_kills));
    assert!((least..=most).contains(&uncounted), "{uncounted} tokens by {n_kills} dead");
    let n_made = sea.n_made.load();
    let n_values = sea.lazies.iter().filter(|lazy| lazy.get().is_some()).count() as u32;
    assert!((n_values..=n_values + n_kills).contains(&n_made), "{n_values} values, {n_made} times begun");
}

#[test]
fn whoever_survives_goes_on() {
    if let Some(role) = role() {
        return play(&role);
    }
    guarded_for(LIMIT * 30, || {
        let n_rounds = if std::env::var_os("PROCESSION_LONG").is_some() { 3000 } else { 80 };
        let mut storm = Storm::seeded();
        let sea = Sea::new();
        let (sailors, n_kills) = blow(&sea, &mut storm, n_rounds);
        sea.stop.store(true);
        while sea.n_home.load() < N_SAILORS as u32 && sea.n_faults.load() == 0 {
            sea.event.set();
            thread::yield_now();
        }
        for sailor in sailors {
            let output = sailor.wait_with_output(LIMIT);
            output.expect_success();
        }
        adds_up(&sea, n_kills);
        sea.event.set();
        let fresh = hand(Role::new("fresh"), &sea).spawn();
        fresh.wait_with_output(LIMIT).expect_success();
        let text = format!(
            "{n_kills} kills in {n_rounds} rounds, {} visits, {} met, {} deaths told",
            sea.n_visits.load(),
            sea.n_met.load(),
            sea.n_deaths.load()
        );
        let _ = writeln!(std::io::stderr(), "{text}");
    });
}
