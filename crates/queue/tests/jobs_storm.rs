//! A storm: processes send and do jobs of all sizes and are killed at random, and others take their places.
//!
//! Every job that was sent with success is finished, once, or was finished by somebody who was killed before it could note
//! that; no job is received by anybody after that; the number of deliveries is right; in the end nothing is left, and
//! `join` says so.

mod parcel;

use std::io::Write;
use std::thread;
use std::time::Duration;

use parcel::{hand, received};
use procession_codec::{Bytes, Postcard};
use procession_queue::{JobOptions, JobReceiver, JobSender, RecvError, SendFault};
use procession_shm::{Atomic, Segment};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for, role};

const LIMIT: Duration = Duration::from_secs(60);
const N_EACH: usize = 3;
/// So many jobs one sender sends, and then waits for its end.
const MOST: usize = 1 << 13;
/// The record of a sender: how many it sent, and a byte for each that says how far it came.
const RECORD: usize = 8 + MOST;

/// How far a job came: somebody is about to finish it; somebody has.
const ENDING: u8 = 1;
const DONE: u8 = 2;

type Handed = (Option<Tx>, Option<Rx>, Ledger);
type Tx = JobSender<Bytes, Postcard>;
type Rx = JobReceiver<Bytes, Postcard>;
/// Records, how many were finished, how many came again, and how many faults were found.
type Ledger = (Segment, Atomic<u64>, Atomic<u64>, Atomic<u64>);

/// The job of this number by this sender, which no other is equal to.
fn message(sender: usize, number: usize) -> Bytes {
    let mut storm = Storm::from_seed((sender << 20 | number) as u64);
    let most = *storm.pick(&[40, 40, 40, 1000, 17 << 10, 300_000]);
    let mut bytes = vec![0; 16 + storm.below(most) as usize];
    bytes.chunks_mut(499).for_each(|chunk| chunk.fill(storm.bits() as u8));
    bytes[..8].copy_from_slice(&sender.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    Bytes::from(bytes)
}

fn send() {
    let (tx, _, (records, ..)): Handed = received();
    let (tx, me) = (tx.unwrap(), roles::hear().unwrap().parse::<usize>().unwrap());
    roles::say("in");
    for number in 0..MOST {
        let mut value = message(me, number);
        let time = Duration::from_micros(number as u64 % 300);
        while let Err(error) = if number % 3 == 0 { tx.send_timeout(value, time) } else { tx.send(value) } {
            let (back, fault) = error.into_parts();
            assert!(matches!(fault, SendFault::TimedOut | SendFault::Contended { .. }), "{fault}");
            value = back;
        }
        records.put(me * RECORD, &(number as u64 + 1)).unwrap();
    }
    loop {
        thread::park();
    }
}

/// Does a job; whether all is well with it.
fn work(job: procession_queue::Job<Bytes>, (records, n_done, n_again, n_faults): &Ledger) {
    let part = |at| job.get(at..at + 8).map_or(usize::MAX, |b| usize::from_le_bytes(b.try_into().unwrap()));
    let (sender, number) = (part(0), part(8));
    let is_whole = number < MOST && message(sender, number)[..] == **job;
    let at = sender.wrapping_mul(RECORD).wrapping_add(8 + number);
    // Its last worker may have been killed just before it finished it, but not after.
    let stage = if is_whole { records.get::<u8>(at).unwrap() } else { u8::MAX };
    let again = job.is_redelivered();
    if stage == 0 || stage == ENDING && again {
        n_again.fetch_add(u64::from(again));
        records.put(at, &ENDING).unwrap();
        job.done();
        records.put(at, &DONE).unwrap();
    } else {
        n_faults.fetch_add(1);
        let found = (sender, number, job.len());
        let _ =
            writeln!(std::io::stderr(), "{found:?}: whole {is_whole}, stage {stage}, {}", job.deliveries());
    }
    n_done.fetch_add(1);
}

fn receive() {
    let (_, rx, ledger): Handed = received();
    let rx = rx.unwrap();
    let _ = roles::hear();
    roles::say("in");
    for n in 0.. {
        match if n % 3 == 0 { rx.recv_timeout(Duration::from_micros(n % 500)) } else { rx.recv() } {
            Ok(job) if n % 11 == 0 => job.put_back(),
            Ok(job) if n % 5 == 0 => {
                thread::yield_now();
                work(job, &ledger);
            }
            Ok(job) => work(job, &ledger),
            Err(RecvError::TimedOut | RecvError::Contended { .. }) => {}
            Err(other) => {
                ledger.3.fetch_add(1);
                panic!("{other}");
            }
        }
    }
}

struct Sea {
    tx: Tx,
    rx: Rx,
    ledger: Ledger,
    n_senders: usize,
}

impl Sea {
    fn new(n_kills: usize) -> Self {
        let options = JobOptions::new(50).bytes(1 << 20).deliver_without_limit();
        let (tx, rx) = options.create_as().unwrap();
        let records = Segment::new((n_kills + N_EACH) * RECORD).unwrap();
        let number = || Atomic::new(0_u64).unwrap();
        Self { tx, rx, ledger: (records, number(), number(), number()), n_senders: 0 }
    }

    fn start(&mut self, is_sender: bool) -> RoleProcess {
        let tx = is_sender.then(|| self.tx.clone());
        let rx = (!is_sender).then(|| self.rx.clone());
        let role = Role::new(if is_sender { "sends" } else { "works" });
        let mut process = hand(role, &(tx, rx, self.ledger.clone())).spawn();
        process.say(&self.n_senders.to_string());
        self.n_senders += usize::from(is_sender);
        assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
        process
    }

    /// Until so many more were done, or nothing can be expected.
    fn wait(&self, n: u64) {
        let before = self.ledger.1.load();
        for _ in 0..20_000 {
            if self.ledger.1.load() - before >= n || self.ledger.3.load() > 0 {
                return;
            }
            thread::yield_now();
        }
    }

    fn storm(&mut self, n_kills: usize, storm: &mut Storm) -> [usize; 2] {
        let mut all: Vec<_> = (0..2 * N_EACH).map(|n| self.start(usize::is_multiple_of(n, 2))).collect();
        let (mut n_killed, mut stopped) = ([0; 2], None::<usize>);
        while n_killed.iter().sum::<usize>() < n_kills {
            self.wait(storm.below(60));
            let index = storm.below(all.len() as u64) as usize;
            if let Some(index) = stopped.take() {
                all[index].signal(Signal::CONT);
            } else if storm.chance(1, 8) {
                all[index].signal(Signal::STOP);
                stopped = Some(index);
                continue;
            }
            all[index].kill();
            n_killed[index % 2] += 1;
            all[index] = self.start(index.is_multiple_of(2));
        }
        // Their drops kill them, after all.
        n_killed.each_mut().into_iter().for_each(|n| *n += N_EACH);
        n_killed
    }

    /// How many were sent; sent and not done for all that is known; and done without their sender's having noted them.
    fn account(&self) -> (u64, usize, usize) {
        let (mut n_sent, mut n_open, mut n_more) = (0, 0, 0);
        for sender in 0..self.n_senders {
            let sent: u64 = self.ledger.0.get(sender * RECORD).unwrap();
            let seen = self.ledger.0.read_vec(sender * RECORD + 8, MOST).unwrap();
            let (before, after) = seen.split_at(sent as usize);
            assert!(before.iter().all(|stage| *stage != 0), "sent, and never done, by {sender}");
            n_open += before.iter().filter(|stage| **stage == ENDING).count();
            assert!(after.iter().skip(1).all(|stage| *stage == 0), "never sent");
            n_more += after.iter().filter(|stage| **stage != 0).count();
            n_sent += sent;
        }
        (n_sent, n_open, n_more)
    }
}

#[test]
fn every_job_is_done_once() {
    match role().as_deref() {
        Some("sends") => return send(),
        Some(_) => return receive(),
        None => {}
    }
    guarded_for(LIMIT * 60, || {
        let n_kills = if std::env::var_os("PROCESSION_LONG").is_some() { 10_000 } else { 120 };
        let mut storm = Storm::seeded();
        let mut sea = Sea::new(n_kills);
        let n_killed = sea.storm(n_kills, &mut storm);
        // All others are dead: what they left comes here.
        while let Ok(job) = sea.rx.recv_timeout(Duration::from_millis(5)) {
            work(job, &sea.ledger);
        }
        sea.tx.try_join().unwrap();
        let (n_sent, n_open, n_more) = sea.account();
        let _ = writeln!(
            std::io::stderr(),
            "{} kills of senders, {} of workers; {n_sent} jobs noted, {n_more} more, {} again, {n_open} done unnoted",
            n_killed[0],
            n_killed[1],
            sea.ledger.2.load(),
        );
        assert_eq!(sea.ledger.3.load(), 0, "faults, seed {}", storm.seed());
        assert!(n_open <= n_killed[1] && n_more <= n_killed[0], "seed {}", storm.seed());
        assert!(sea.ledger.2.load() > 0);
        for number in 0..200 {
            sea.tx.try_send(message(1, number)).unwrap();
            assert!(*sea.rx.try_recv().unwrap() == message(1, number));
        }
        assert_eq!((sea.tx.unfinished(), sea.tx.dead_letters().len()), (0, 0));
        drop(sea.tx);
        assert!(matches!(sea.rx.recv(), Err(RecvError::Disconnected)));
    });
}
