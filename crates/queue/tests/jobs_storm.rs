//! A storm: processes send and do jobs of all sizes and are killed at random, and others take their places.
//!
//! Every job that was sent with success is finished, once, or was finished by somebody who was killed before it could note
//! that; no job is received by anybody after that; the number of deliveries is right; in the end nothing is left, and
//! `join` says so.

mod crowd;
mod parcel;

use std::io::Write;
use std::thread;
use std::time::Duration;

use crowd::{Crowd, LIMIT, MOST};
use parcel::received;
use procession_codec::{Bytes, Postcard};
use procession_queue::{Job, JobOptions, JobReceiver, JobSender, RecvError, SendError};
use procession_shm::{Atomic, Segment};
use procession_testkit::{Storm, guarded_for, role, roles};

/// How far a job came: somebody is about to finish it; somebody has.
const ENDING: u8 = 1;
const DONE: u8 = 2;

type Tx = JobSender<Bytes, Postcard>;
type Rx = JobReceiver<Bytes, Postcard>;
type Handed = crowd::Handed<Tx, Rx, Ledger>;
/// Records, how many were finished, how many came again, and how many faults were found.
type Ledger = (Segment, Atomic<u64>, Atomic<u64>, Atomic<u64>);

impl crowd::Ledger for Ledger {
    fn n_done(&self) -> u64 {
        self.1.load()
    }

    fn n_faults(&self) -> u64 {
        self.3.load()
    }
}

fn message(sender: usize, number: usize) -> Bytes {
    crowd::message(sender, number, &[40, 40, 40, 1000, 17 << 10, 300_000])
}

fn send() {
    let (tx, _, (records, ..)): Handed = received();
    let tx = tx.unwrap();
    crowd::send(&records, message, |value, time| {
        match time {
            Some(time) => tx.send_timeout(value, time),
            None => tx.send(value),
        }
        .map_err(SendError::into_parts)
    });
}

/// Does a job; whether all is well with it.
fn work(job: Job<Bytes>, (records, n_done, n_again, n_faults): &Ledger) {
    let (sender, number) = crowd::origin(&job);
    let is_whole = number < MOST && message(sender, number)[..] == **job;
    let at = crowd::place(sender, number);
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

/// How many were sent; sent and not done for all that is known; and done without their sender's having noted them.
fn account(records: &Segment, n_senders: usize) -> (u64, usize, usize) {
    let (mut n_sent, mut n_open, mut n_more) = (0, 0, 0);
    for sender in 0..n_senders {
        let (sent, before, after) = crowd::fate(records, sender);
        assert!(before.iter().all(|stage| *stage != 0), "sent, and never done, by {sender}");
        n_open += before.iter().filter(|stage| **stage == ENDING).count();
        assert!(after.iter().skip(1).all(|stage| *stage == 0), "never sent");
        n_more += after.iter().filter(|stage| **stage != 0).count();
        n_sent += sent;
    }
    (n_sent, n_open, n_more)
}

#[test]
fn every_job_is_done_once() {
    match role().as_deref() {
        Some(crowd::SENDS) => return send(),
        Some(_) => return receive(),
        None => {}
    }
    guarded_for(LIMIT * 60, || {
        let (n_kills, mut storm) = (crowd::n_kills(), Storm::seeded());
        let number = || Atomic::new(0_u64).unwrap();
        let ledger = (crowd::records(n_kills), number(), number(), number());
        let options = JobOptions::new(50).bytes(1 << 20).deliver_without_limit();
        let ends: (Tx, Rx) = options.create_as().unwrap();
        let mut sea = Crowd::new(ends, ledger);
        let n_killed = sea.storm(n_kills, &mut storm);
        // All others are dead: what they left comes here.
        while let Ok(job) = sea.rx.recv_timeout(Duration::from_millis(5)) {
            work(job, &sea.ledger);
        }
        sea.tx.try_join().unwrap();
        let (n_sent, n_open, n_more) = account(&sea.ledger.0, sea.n_senders);
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
