//! Processes that share nothing but a descriptor see each other's death: by polling, and asleep, on every fallback.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use procession_raw::{Id, Owners, Park};
use procession_shm::domain::{Domain, OBITUARY, TICK};
use procession_sys::caps;
use procession_sys::futex::SharedPark;
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role, RoleProcess};

const LIMIT: Duration = Duration::from_secs(60);

fn descriptor(domain: &Domain) -> OwnedFd {
    domain.as_fd().try_clone_to_owned().unwrap()
}

/// Sleeps until the thread is dead, as a lock's waiters do: on its life word and on the obituary, in ticks.
fn sleep_until_dead(domain: &Domain, id: Id) {
    loop {
        let told = domain.obituary().load(SeqCst);
        let Some((life, alive)) = domain.watch(id) else { break };
        SharedPark.wait_any(&[(life, alive), (domain.obituary(), told)], Some(domain.tick()));
        if domain.is_dead(id) {
            break;
        }
    }
    domain.pass_on(id);
    assert!(domain.is_dead(id), "and stays dead");
}

fn heard_id() -> Option<Id> {
    Some(Id::from_bits(roles::hear()?.parse().expect("a number")))
}

/// Joins and says its id. Then hears ids, and says when each is dead.
fn peer() {
    let domain = Domain::attach(roles::handed("domain")).unwrap();
    roles::say(&domain.join().unwrap().to_bits().to_string());
    while let Some(id) = heard_id() {
        assert!(!domain.is_dead(id));
        roles::say("watching");
        sleep_until_dead(&domain, id);
        roles::say(&format!("{} is dead", id.to_bits()));
        roles::say(&domain.dead_owner(id).expect("nobody has its slot").pid.to_string());
    }
}

struct Peer {
    process: RoleProcess,
    id: Id,
}

impl Peer {
    fn new(domain: &Domain, role: Role) -> Self {
        let mut process = role.hand("domain", descriptor(domain)).spawn();
        let id = process.hear(LIMIT).expect("its id").parse().expect("a number");
        Self { process, id: Id::from_bits(id) }
    }

    fn watch(&mut self, other: &Self) {
        self.process.say(&other.id.to_bits().to_string());
        assert_eq!(self.process.hear(LIMIT).as_deref(), Some("watching"));
    }

    fn sees_the_death_of(&mut self, other: &Self) {
        assert_eq!(self.process.hear(LIMIT), Some(format!("{} is dead", other.id.to_bits())));
        assert_eq!(self.process.hear(LIMIT), Some(other.process.pid().to_string()));
    }
}

/// Two watchers and their victim; then one of the watchers is the victim.
fn each_sees_the_others_death(surroundings: &[(&str, &str)]) {
    let role =
        |name: &str| surroundings.iter().fold(Role::new(name), |role, (key, value)| role.env(key, value));
    let domain = Domain::create().unwrap();
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| Peer::new(&domain, role(name)));
    a.watch(&c);
    b.watch(&c);
    c.process.kill();
    a.sees_the_death_of(&c);
    b.sees_the_death_of(&c);
    a.watch(&b);
    b.process.kill();
    a.sees_the_death_of(&b);
    let mut d = Peer::new(&domain, role("d"));
    d.watch(&a);
    a.process.kill();
    d.sees_the_death_of(&a);
}

#[test]
fn with_all_that_the_kernel_gives() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| each_sees_the_others_death(&[]));
}

#[test]
fn with_each_capability_forced_off() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| {
        for off in ["waitv", "pidfd", "robust_list", "waitv,pidfd,robust_list"] {
            each_sees_the_others_death(&[(caps::SWITCH, off)]);
        }
    });
}

#[test]
fn with_the_obituary_off() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| each_sees_the_others_death(&[(OBITUARY, "off")]));
}

/// A tick that is longer than any test: the kernel's wake alone must do.
#[test]
fn with_a_tick_of_ten_seconds_and_of_ten_minutes() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| {
        for tick in ["10000", "600000"] {
            each_sees_the_others_death(&[(TICK, tick)]);
            each_sees_the_others_death(&[(TICK, tick), (OBITUARY, "off")]);
        }
    });
}

/// Without the kernel's mark, and with a tick that is longer than any test, who tells the death must do.
#[test]
fn a_told_death_wakes_where_the_kernel_is_silent() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| {
        let domain = Domain::create().unwrap();
        let role = |name| Role::new(name).env(caps::SWITCH, "robust_list").env(TICK, "600000");
        let [mut a, mut b] = ["a", "b"].map(|name| Peer::new(&domain, role(name)));
        a.watch(&b);
        b.process.kill();
        assert!(b.process.identity().wait_ended(LIMIT));
        domain.note_death(b.id);
        a.sees_the_death_of(&b);
    });
}

/// From the kill to the sleeper's return, over many kills. Bounds nothing: the number goes to the log.
#[test]
fn how_long_it_takes() {
    if roles::role().is_some() {
        return peer();
    }
    guarded(|| {
        let n_kills = if std::env::var_os("PROCESSION_LONG").is_some() { 1000 } else { 100 };
        let domain = Domain::create().unwrap();
        let mut took: Vec<Duration> = (0..n_kills).map(|_| one_kill(&domain)).collect();
        took.sort_unstable();
        let of = |percent: usize| took[(took.len() - 1) * percent / 100];
        let text = format!("{n_kills} kills: p50 {:?}, p99 {:?}, max {:?}", of(50), of(99), of(100));
        let _ = writeln!(std::io::stderr(), "from the kill to the sleeper's return, {text}");
    });
}

fn one_kill(domain: &Domain) -> Duration {
    let mut victim = Peer::new(domain, Role::of("how_long_it_takes", "victim"));
    let id = victim.id;
    thread::scope(|scope| {
        let sleeper = scope.spawn(move || {
            sleep_until_dead(domain, id);
            Instant::now()
        });
        // Asleep, once the bit is there and the thread waits in the kernel; near enough for a number.
        let (life, alive) = domain.watch(id).expect("it lives");
        while caps::has(caps::Capability::Waitv) && life.load(SeqCst) == alive && !sleeps(&sleeper) {
            thread::yield_now();
        }
        let killed = Instant::now();
        victim.process.kill();
        sleeper.join().unwrap().saturating_duration_since(killed)
    })
}

/// Whether some thread of this process waits in the kernel for one of several words (`futex_waitv`).
fn sleeps<T>(thread: &thread::ScopedJoinHandle<'_, T>) -> bool {
    !thread.is_finished()
        && std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|task| {
            std::fs::read_to_string(task.path().join("syscall")).is_ok_and(|call| call.starts_with("449 "))
        })
}
