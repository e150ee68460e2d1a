//! A storm: processes change values and are killed at random. What belongs together stays together, and what a process
//! has told is there.
#![forbid(unsafe_code)]

mod handed;

use std::os::fd::AsFd;
use std::time::Duration;

use handed::{got, role_with};
use procession_shm::{Encoded, Plain, Segment, Value};
use procession_testkit::roles::{self, RoleProcess};
use procession_testkit::{Storm, guarded_for, role};

const LIMIT: Duration = Duration::from_secs(60);
const N_PROCESSES: usize = 3;

/// The second is the first times three, and the rest is the first.
#[derive(Clone, Copy, Debug, PartialEq, Plain)]
struct Counted {
    n: u64,
    tripled: u64,
    echo: [u64; 6],
}

fn counted(n: u64) -> Counted {
    Counted { n, tripled: n * 3, echo: [n; 6] }
}

/// Adds until it is killed. Each thing that is done is told in a word of the process's own, after it was done.
fn adds() {
    let value: Value<Counted> = got();
    let told = Segment::try_from(roles::handed("told")).unwrap();
    let map = Encoded::<(u64, String)>::try_from(roles::handed("map")).unwrap();
    let at: usize = roles::hear().unwrap().parse().unwrap();
    roles::say("in");
    let mut n_told: u64 = told.get(at * 8).unwrap();
    loop {
        if n_told.is_multiple_of(2) {
            value.update(|v| *v = counted(v.n + 1)).unwrap();
        } else {
            let mut guard = value.lock().unwrap();
            guard.n += 1;
            guard.tripled += 3;
            guard.echo = [guard.n; 6];
        }
        n_told += 1;
        told.put(at * 8, &n_told).unwrap();
        if n_told.is_multiple_of(16) {
            map.update(|(n, text)| (*n, *text) = (*n + 1, (*n + 1).to_string())).unwrap();
        }
    }
}

struct Storming {
    value: Value<Counted>,
    told: Segment,
    map: Encoded<(u64, String)>,
}

impl Storming {
    fn member(&self, at: usize) -> RoleProcess {
        let duplicate = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned().unwrap();
        let role = role_with("adds", &self.value);
        let mut process = role.hand("told", duplicate(&self.told)).hand("map", duplicate(&self.map)).spawn();
        process.say(&at.to_string());
        assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
        process
    }

    fn n_told(&self) -> u64 {
        (0..N_PROCESSES).map(|at| self.told.get::<u64>(at * 8).unwrap()).sum()
    }

    fn look(&self) -> u64 {
        let seen = self.value.get();
        assert_eq!(seen, counted(seen.n));
        let (n, text) = self.map.get().unwrap();
        assert_eq!(n.to_string(), text);
        seen.n
    }
}

#[test]
fn what_belongs_together_stays_together_and_what_was_told_is_there() {
    if role().is_some() {
        return adds();
    }
    guarded_for(Duration::from_secs(600), || {
        let n_kills = if std::env::var_os("PROCESSION_LONG").is_some() { 3000 } else { 100 };
        let mut storm = Storm::seeded();
        let storming = Storming {
            value: Value::new(counted(0)).unwrap(),
            told: Segment::new(N_PROCESSES * 8).unwrap(),
            map: Encoded::with_capacity(64, &(0, "0".into())).unwrap(),
        };
        let mut members: Vec<_> = (0..N_PROCESSES).map(|at| storming.member(at)).collect();
        for n in 0..n_kills {
            let (before, patience) = (storming.n_told(), storm.below(300));
            while storming.n_told() - before < patience {
                storming.look();
            }
            let at = storm.below(N_PROCESSES as u64) as usize;
            members[at].kill();
            assert!(members[at].identity().wait_ended(LIMIT));
            if n % 5 == 0 {
                // A survivor of the same process that looks, takes part in nothing and adds nothing.
                assert_eq!(storming.value.update(|v| *v == counted(v.n)), Ok(true));
            }
            members[at] = storming.member(at);
        }
        for member in &mut members {
            member.kill();
            assert!(member.identity().wait_ended(LIMIT));
        }
        let (n, n_told) = (storming.look(), storming.n_told());
        assert_eq!(storming.value.try_update(|v| v.n), Ok(n));
        // Each kill may have come between doing and telling, once.
        assert!((n_told..=n_told + n_kills + N_PROCESSES as u64).contains(&n), "{n} done, {n_told} told");
        assert!(n > 100, "{n}");
    });
}
