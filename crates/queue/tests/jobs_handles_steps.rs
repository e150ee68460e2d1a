//! Kill points of jobs with handles: a process that sends, leases, adopts, ends or puts back is killed wherever something
//! changed.
//!
//! Whatever the moment: a job that is there has its descriptors and never another's, each time it is delivered; and none stays
//! anywhere when all are done.

mod parcel;
mod sweeper;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use parcel::{hand, received};
use procession_codec::Descriptor;
use procession_queue::{Job, JobReceiver, JobSender, RecvError, jobs};
use procession_shm::domain::TICK;
use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, role};
use sweeper::{LIMIT, NEVER};

/// What the victim has to do with.
const SALT: u64 = 77;

/// Its number, and a file that says it.
type Item = (u64, Option<Descriptor>);

#[derive(Clone)]
struct Place {
    tx: JobSender<Item>,
    rx: JobReceiver<Item>,
}

/// The other end of a file: it tells whether that is still somewhere.
struct Witness(File);

fn item(n: u64) -> (Item, Witness) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // For each delivery.
    (0..8).for_each(|_| writer.write_all(&n.to_le_bytes()).unwrap());
    ((n, Some(OwnedFd::from(reader).into())), Witness(OwnedFd::from(writer).into()))
}

impl Witness {
    fn sees_the_end(mut self) {
        assert_eq!(self.0.write(b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

fn check(job: &Job<Item>) {
    let mut says = [0; 8];
    let file = job.1.clone().expect("each has one");
    File::from(file.into_owned().unwrap()).read_exact(&mut says).unwrap();
    assert_eq!(u64::from_le_bytes(says), job.0);
}

impl Place {
    fn new() -> Self {
        let (tx, rx) = jobs(8).unwrap();
        Self { tx, rx }
    }

    #[must_use]
    fn send(&self, n: u64) -> Witness {
        let (item, witness) = item(n);
        self.tx.try_send(item).unwrap();
        witness
    }

    /// All that is unfinished, in the order of the numbers.
    fn receive_all(&self) -> Vec<Job<Item>> {
        let mut all: Vec<_> = (0..self.tx.unfinished()).map(|_| self.rx.recv().unwrap()).collect();
        all.iter().for_each(check);
        all.sort_by_key(|job| job.0);
        all
    }

    /// Nothing is left, in the queue or on its way, and everything goes through.
    fn is_as_new(&self, witnesses: Vec<Witness>) {
        self.tx.try_join().unwrap();
        let none = self.rx.recv_timeout(Duration::from_micros(1)).unwrap_err();
        assert!(matches!(none, RecvError::TimedOut), "{none}");
        witnesses.into_iter().for_each(Witness::sees_the_end);
        let witnesses = [self.send(5), self.send(6)];
        assert_eq!(self.receive_all().iter().map(|job| job.0).collect::<Vec<_>>(), [5, 6]);
        assert!(self.rx.try_recv().is_err());
        witnesses.into_iter().for_each(Witness::sees_the_end);
    }
}

/// What is done in the window; once on another queue before: what happens at the first use only is not what is looked at.
fn victim(role: &str) {
    let (tx, rx, item): (JobSender<Item>, JobReceiver<Item>, Item) = received();
    if role == "holds" {
        std::mem::forget(rx.recv().unwrap());
        roles::say("has it");
        let _ = roles::hear();
        std::process::exit(0);
    }
    let warm = Place::new();
    for _ in 0..2 {
        let _witness = [warm.send(1), warm.send(2)];
        let held = warm.rx.recv().unwrap();
        warm.rx.recv().unwrap().put_back();
        drop((warm.rx.recv().unwrap(), held));
        assert!(warm.rx.try_recv().is_err());
    }
    match role {
        "sends" => {
            step::here();
            let sent = tx.send(item);
            step::end();
            sent.unwrap();
        }
        "receives" | "leases" | "adopts" => {
            // Then it has a seat, which is the matter of `jobs_steps.rs`.
            match role {
                "leases" => rx.recv().unwrap().done(),
                "adopts" => rx.recv().unwrap().put_back(),
                _ => {}
            }
            step::here();
            let job = rx.recv();
            step::end();
            std::mem::forget(job.unwrap());
        }
        "finishes" => {
            let job = rx.recv().unwrap();
            step::here();
            drop(job);
            step::end();
        }
        "returns" => {
            let job = rx.recv().unwrap();
            step::here();
            job.put_back();
            step::end();
        }
        other => panic!("no role {other}"),
    }
}

fn with(place: &Place, role: &str, item: Item) -> Role {
    hand(Role::new(role), &(place.tx.clone(), place.rx.clone(), item)).env(TICK, NEVER)
}

/// A process receives the next job and ends.
fn leave_with_a_dead_worker(place: &Place) {
    let mut process = with(place, "holds", (0, None)).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("has it"));
    process.kill();
}

/// Runs the sweeps, or what they kill.
fn sweeper(sweeps: impl FnOnce()) {
    sweeper::sweeper(NEVER, victim, sweeps);
}

#[test]
fn a_send() {
    sweeper(|| {
        let (place, witnesses, n_sent) = (Place::new(), RefCell::new(vec![]), Cell::new(0));
        let start = || {
            let (item, witness) = item(SALT);
            witnesses.replace(vec![place.send(1), witness]);
            with(&place, "sends", item).into_command()
        };
        step::sweep_changes("behind another", start, |_, outcome| {
            let is_sent = place.tx.len() == 2;
            assert!(is_sent || outcome == Outcome::Killed);
            n_sent.set(n_sent.get() + u32::from(is_sent));
            witnesses.borrow_mut().push(place.send(200));
            let found = place.receive_all();
            let numbers: Vec<_> = found.iter().map(|job| job.0).collect();
            assert_eq!(numbers, if is_sent { vec![1, SALT, 200] } else { vec![1, 200] });
            drop(found);
            place.is_as_new(witnesses.take());
        });
        assert!(n_sent.get() > 0);
    });
}

/// Sweeps what a worker does with a job behind one that somebody else has and ahead of another; `prepare` comes before.
fn sweep_worker(scenario: &str, verb: &str, prepare: impl Fn(&Place), n: [u32; 2]) {
    let (place, held, witnesses) = (Place::new(), RefCell::new(None), RefCell::new(vec![]));
    let start = || {
        let first = place.send(1);
        held.replace(Some(place.rx.recv().unwrap()));
        if verb == "leases" {
            place.tx.try_send((0, None)).unwrap();
        }
        witnesses.replace(vec![first, place.send(SALT)]);
        prepare(&place);
        witnesses.borrow_mut().push(place.send(200));
        with(&place, verb, (0, None)).into_command()
    };
    let seen = Cell::new([0; 2]);
    step::sweep_changes(scenario, start, |nth, _| {
        let held = held.take().unwrap();
        check(&held);
        let found: Vec<_> = (1..place.tx.unfinished()).map(|_| place.rx.recv().unwrap()).collect();
        found.iter().for_each(check);
        match found.iter().find(|job| job.0 == SALT) {
            Some(job) => {
                assert!((n[0]..=n[1]).contains(&job.deliveries()), "{}", job.deliveries());
                let which = usize::from(job.deliveries() == n[1] && n[0] < n[1]);
                let mut counts = seen.get();
                counts[which] += 1;
                seen.set(counts);
            }
            None => assert_eq!(verb, "finishes"),
        }
        assert!(found.iter().any(|job| job.0 == 200));
        // In this order and in the other.
        if nth % 2 == 0 {
            drop((held, found));
        } else {
            drop((found, held));
        }
        place.is_as_new(witnesses.take());
    });
    assert!(!seen.get()[..1 + usize::from(n[0] < n[1])].contains(&0), "{:?}", seen.get());
}

#[test]
fn a_lease() {
    sweeper(|| sweep_worker("behind one that is leased", "leases", |_| {}, [1, 2]));
}

#[test]
fn a_job_that_came_back_is_adopted() {
    sweeper(|| sweep_worker("behind one that is leased", "adopts", |_| {}, [2, 3]));
}

/// With what comes before: a seat is taken, and a death is proved, which takes minutes.
#[test]
fn a_first_receive() {
    sweeper(|| {
        if std::env::var_os("PROCESSION_LONG").is_some() {
            sweep_worker("behind one that is leased", "receives", |_| {}, [1, 2]);
            sweep_worker("of the job of a dead worker", "receives", leave_with_a_dead_worker, [2, 3]);
        }
    });
}

#[test]
fn the_end_of_a_job() {
    sweeper(|| sweep_worker("behind one that is not done", "finishes", |_| {}, [2, 2]));
}

#[test]
fn a_job_that_is_put_back() {
    sweeper(|| sweep_worker("behind one that is leased", "returns", |_| {}, [2, 2]));
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        let place = Place::new();
        let run = |verb: &str, item: Item| {
            with(&place, verb, item).spawn().wait_with_output(LIMIT).expect_success();
        };
        let (one, witness) = item(SALT);
        run("sends", one);
        run("returns", (0, None));
        run("receives", (0, None));
        run("adopts", (0, None));
        leave_with_a_dead_worker(&place);
        let all = place.receive_all();
        assert_eq!((all.len(), all[0].deliveries()), (1, 6));
        all.into_iter().for_each(Job::put_back);
        run("finishes", (0, None));
        place.is_as_new(vec![witness]);
    });
}
