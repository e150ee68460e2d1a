//! A storm: fifty clients use the same objects, and half of them are killed at random. What they did is there whole and in
//! order, what they had is free, and nothing of them is left.

use std::thread;
use std::time::Duration;

use procession_manager::{Dict, List, LockFailed, Manager, Mutex, Semaphore, Value};
use procession_pipe::{Sender, channel};
use procession_process::spawn;
use procession_testkit::{Storm, guarded_for};

const N_CLIENTS: u64 = 50;
const N_PERMITS: u64 = 5;
const LIMIT: Duration = Duration::from_secs(100);

/// The long run has more.
fn n_rounds() -> u64 {
    if std::env::var_os("PROCESSION_LONG").is_some() { 1000 } else { 20 }
}

type Sea = (Dict<u64, u64>, List<(u64, u64)>, Value<u64>, Mutex<(u64, u64)>, Semaphore);

/// One client. What it must not see makes it fail, which the survivors may not.
fn sail((me, n_rounds, told, sea): (u64, u64, Sender<u64>, Sea)) {
    let (rounds, log, sum, pair, seats) = sea;
    for round in 1..=n_rounds {
        rounds.insert(me, round).unwrap();
        log.push((me, round)).unwrap();
        sum.update(|sum, by| *sum += by, 1).unwrap();
        let seat = seats.acquire().unwrap();
        let mut pair = match pair.lock() {
            Ok(guard) | Err(LockFailed::OwnerDied { guard, .. }) => guard,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(pair.0, pair.1);
        pair.0 += 1;
        pair.1 += 1;
        drop((pair, seat));
        // Who waits for the last word of a doomed one kills it then.
        let _ = told.send(&round);
    }
}

#[test]
fn fifty_clients_half_of_them_killed() {
    guarded_for(LIMIT, || {
        let mut storm = Storm::seeded();
        let manager = Manager::start().unwrap();
        let sea: Sea = (
            manager.dict().unwrap(),
            manager.list().unwrap(),
            manager.value(0).unwrap(),
            manager.mutex((0, 0)).unwrap(),
            manager.semaphore(N_PERMITS).unwrap(),
        );
        thread::scope(|scope| {
            for me in 0..N_CLIENTS {
                let (told, hears) = channel().unwrap();
                let child = spawn(sail, (me, n_rounds(), told, sea.clone())).unwrap();
                let doom = storm.chance(1, 2).then(|| 1 + storm.below(n_rounds()));
                scope.spawn(move || {
                    for round in hears.iter() {
                        if Some(round) == doom {
                            child.kill().unwrap();
                        }
                    }
                    match doom {
                        // It may have been quicker.
                        Some(_) => drop(child.join()),
                        None => child.join().unwrap(),
                    }
                });
            }
        });
        while manager.counts().unwrap().clients > 1 {
            thread::yield_now();
        }
        judge(&sea);
        assert_eq!(manager.counts().unwrap().objects, 5);
        drop(sea);
        while manager.counts().unwrap().objects > 0 {
            thread::yield_now();
        }
    });
}

/// What all have left.
fn judge((rounds, log, sum, pair, seats): &Sea) {
    let log = log.to_vec().unwrap();
    let mut n_whole = 0;
    for me in 0..N_CLIENTS {
        let mine: Vec<u64> = log.iter().filter(|(who, _)| *who == me).map(|(_, round)| *round).collect();
        assert_eq!(mine, (1..=mine.len() as u64).collect::<Vec<_>>(), "client {me}: in order, each once");
        let begun = rounds.get(&me).unwrap().unwrap_or(0);
        assert!(begun - mine.len() as u64 <= 1, "client {me} began {begun} and wrote {}", mine.len());
        n_whole += u64::from(mine.len() as u64 == n_rounds());
    }
    assert!(n_whole >= N_CLIENTS / 4, "only {n_whole} clients came to their end");
    let (sum, n_lines) = (sum.get().unwrap(), log.len() as u64);
    assert!(sum <= n_lines && sum + N_CLIENTS >= n_lines, "{sum} of {n_lines}");
    let pair = match pair.try_lock() {
        Ok(guard) | Err(LockFailed::OwnerDied { guard, .. }) => *guard,
        Err(other) => panic!("{other}"),
    };
    assert!(pair.0 == pair.1 && pair.0 <= sum && pair.0 + N_CLIENTS >= sum, "{pair:?} of {sum}");
    assert_eq!(seats.available().unwrap(), N_PERMITS);
}
