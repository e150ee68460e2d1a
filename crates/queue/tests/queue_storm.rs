//! A storm: processes send and receive messages of all sizes and are killed at random, and others take their places.
//!
//! Whatever was sent with success is received, once and whole, but for one message at most that each killed receiver took
//! with it; and nothing else is received, but for one at most that each killed sender did not come to note.

mod crowd;
mod parcel;

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use crowd::{Crowd, LIMIT, MOST};
use parcel::received;
use procession_codec::{Bytes, Postcard};
use procession_queue::{Receiver, RecvError, SendError, Sender, bounded_as};
use procession_shm::{Atomic, Segment};
use procession_testkit::{Storm, guarded_for, role, roles};

type Tx = Sender<Bytes, Postcard>;
type Rx = Receiver<Bytes, Postcard>;
type Handed = crowd::Handed<Tx, Rx, Ledger>;
/// Records, how many were received, and how many faults were found.
type Ledger = (Segment, Atomic<u64>, Atomic<u64>);

impl crowd::Ledger for Ledger {
    fn n_done(&self) -> u64 {
        self.1.load()
    }

    fn n_faults(&self) -> u64 {
        self.2.load()
    }
}

fn message(sender: usize, number: usize) -> Bytes {
    crowd::message(sender, number, &[40, 40, 1000, 1000, 17 << 10, 17 << 10, 17 << 10, 300_000])
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

/// The last number of each sender that somebody has received.
type Last = HashMap<usize, usize>;

/// Notes a message; whether all is well with it.
fn note(bytes: &[u8], (records, n_received, n_faults): &Ledger, last: &mut Last) {
    let (sender, number) = crowd::origin(bytes);
    let is_whole = number < MOST && message(sender, number)[..] == *bytes;
    let is_later = last.insert(sender, number).is_none_or(|before| before < number);
    let at = crowd::place(sender, number);
    let is_new = is_whole && records.get::<u8>(at).is_ok_and(|seen| seen == 0);
    if is_whole && is_later && is_new {
        records.put(at, &1_u8).unwrap();
    } else {
        n_faults.fetch_add(1);
        let found = (sender, number, bytes.len());
        let _ = writeln!(std::io::stderr(), "{found:?}: whole {is_whole}, later {is_later}, new {is_new}");
    }
    n_received.fetch_add(1);
}

fn receive() {
    let (_, rx, ledger): Handed = received();
    let (rx, mut last) = (rx.unwrap(), Last::new());
    let _ = roles::hear();
    roles::say("in");
    for n in 0.. {
        match if n % 3 == 0 { rx.recv_timeout(Duration::from_micros(n % 500)) } else { rx.recv() } {
            Ok(bytes) => note(&bytes, &ledger, &mut last),
            Err(RecvError::TimedOut | RecvError::Contended { .. }) => {}
            Err(other) => {
                ledger.2.fetch_add(1);
                panic!("{other}");
            }
        }
    }
}

/// Messages that were noted by their sender and by nobody else, those of which the reverse is true, and all that were noted.
fn account(records: &Segment, n_senders: usize) -> (usize, usize, u64) {
    let (mut n_lost, mut n_more, mut n_sent) = (0, 0, 0);
    for sender in 0..n_senders {
        let (sent, before, after) = crowd::fate(records, sender);
        n_lost += before.iter().filter(|seen| **seen == 0).count();
        assert!(after.iter().skip(1).all(|seen| *seen == 0), "never sent");
        n_more += after.iter().filter(|seen| **seen != 0).count();
        n_sent += sent;
    }
    (n_lost, n_more, n_sent)
}

#[test]
fn nothing_is_lost_but_with_its_receiver() {
    match role().as_deref() {
        Some(crowd::SENDS) => return send(),
        Some(_) => return receive(),
        None => {}
    }
    guarded_for(LIMIT * 60, || {
        let (n_kills, mut storm) = (crowd::n_kills(), Storm::seeded());
        let number = || Atomic::new(0_u64).unwrap();
        let ledger = (crowd::records(n_kills), number(), number());
        let ends: (Tx, Rx) = bounded_as(50, 1 << 20).unwrap();
        let mut sea = Crowd::new(ends, ledger);
        let n_killed = sea.storm(n_kills, &mut storm);
        let mut last = Last::new();
        sea.rx.try_iter().for_each(|bytes| note(&bytes, &sea.ledger, &mut last));
        assert!(matches!(sea.rx.try_recv(), Err(RecvError::Empty)));
        let (n_lost, n_more, n_sent) = account(&sea.ledger.0, sea.n_senders);
        let _ = writeln!(
            std::io::stderr(),
            "{} kills of senders, {} of receivers; {n_sent} messages noted, {n_lost} lost, {n_more} more than noted",
            n_killed[0],
            n_killed[1]
        );
        assert_eq!(sea.ledger.2.load(), 0, "faults, seed {}", storm.seed());
        assert!(n_lost <= n_killed[1] && n_more <= n_killed[0], "seed {}", storm.seed());
        for number in 0..200 {
            sea.tx.try_send(message(1, number)).unwrap();
            assert!(sea.rx.try_recv().unwrap() == message(1, number));
        }
        drop(sea.tx);
        assert!(matches!(sea.rx.recv(), Err(RecvError::Disconnected)));
    });
}
