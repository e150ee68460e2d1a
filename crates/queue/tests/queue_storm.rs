//! A storm: processes send and receive messages of all sizes and are killed at random, and others take their places.
//!
//! Whatever was sent with success is received, once and whole, but for one message at most that each killed receiver took
//! with it; and nothing else is received, but for one at most that each killed sender did not come to note.

mod parcel;

use std::collections::HashMap;
use std::io::Write;
use std::thread;
use std::time::Duration;

use parcel::{hand, received};
use procession_codec::{Bytes, Postcard};
use procession_queue::{Receiver, RecvError, SendFault, Sender, bounded_as};
use procession_shm::{Atomic, Segment};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm, guarded_for, role};

const LIMIT: Duration = Duration::from_secs(60);
const N_EACH: usize = 3;
/// So many messages one sender sends, and then waits for its end.
const MOST: usize = 1 << 13;
/// The record of a sender: how many it sent, and a byte for each that was received.
const RECORD: usize = 8 + MOST;

/// What all of them share. A receiver has no sender, and the reverse.
type Handed = (Option<Tx>, Option<Rx>, Ledger);
type Tx = Sender<Bytes, Postcard>;
type Rx = Receiver<Bytes, Postcard>;
/// Records, how many were received, and how many faults were found.
type Ledger = (Segment, Atomic<u64>, Atomic<u64>);

/// The message of this number by this sender, which no other is equal to.
fn message(sender: usize, number: usize) -> Bytes {
    let mut storm = Storm::from_seed((sender << 20 | number) as u64);
    let most = *storm.pick(&[40, 40, 1000, 1000, 17 << 10, 17 << 10, 17 << 10, 300_000]);
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

/// The last number of each sender that somebody has received.
type Last = HashMap<usize, usize>;

/// Notes a message; whether all is well with it.
fn note(bytes: &[u8], (records, n_received, n_faults): &Ledger, last: &mut Last) {
    let part = |at| bytes.get(at..at + 8).map_or(usize::MAX, |b| usize::from_le_bytes(b.try_into().unwrap()));
    let (sender, number) = (part(0), part(8));
    let is_whole = number < MOST && message(sender, number)[..] == *bytes;
    let is_later = last.insert(sender, number).is_none_or(|before| before < number);
    let at = sender.wrapping_mul(RECORD).wrapping_add(8 + number);
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

struct Sea {
    tx: Tx,
    rx: Rx,
    ledger: Ledger,
    n_senders: usize,
}

impl Sea {
    fn new(n_kills: usize) -> Self {
        let (tx, rx) = bounded_as(50, 1 << 20).unwrap();
        let records = Segment::new((n_kills + N_EACH) * RECORD).unwrap();
        let number = || Atomic::new(0_u64).unwrap();
        Self { tx, rx, ledger: (records, number(), number()), n_senders: 0 }
    }

    fn start(&mut self, is_sender: bool) -> RoleProcess {
        let tx = is_sender.then(|| self.tx.clone());
        let rx = (!is_sender).then(|| self.rx.clone());
        let role = Role::new(if is_sender { "sends" } else { "receives" });
        let mut process = hand(role, &(tx, rx, self.ledger.clone())).spawn();
        process.say(&self.n_senders.to_string());
        self.n_senders += usize::from(is_sender);
        assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
        process
    }

    /// Until so many more were received, or nothing can be expected.
    fn wait(&self, n: u64) {
        let before = self.ledger.1.load();
        for _ in 0..20_000 {
            if self.ledger.1.load() - before >= n || self.ledger.2.load() > 0 {
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

    /// Messages that were noted by their sender and by nobody else, and those of which the reverse is true.
    fn account(&self) -> (usize, usize, u64) {
        let (mut n_lost, mut n_more, mut n_sent) = (0, 0, 0);
        for sender in 0..self.n_senders {
            let sent: u64 = self.ledger.0.get(sender * RECORD).unwrap();
            let seen = self.ledger.0.read_vec(sender * RECORD + 8, MOST).unwrap();
            let (before, after) = seen.split_at(sent as usize);
            n_lost += before.iter().filter(|seen| **seen == 0).count();
            assert!(after.iter().skip(1).all(|seen| *seen == 0), "never sent");
            n_more += after.iter().filter(|seen| **seen != 0).count();
            n_sent += sent;
        }
        (n_lost, n_more, n_sent)
    }
}

#[test]
fn nothing_is_lost_but_with_its_receiver() {
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
        let mut last = Last::new();
        sea.rx.try_iter().for_each(|bytes| note(&bytes, &sea.ledger, &mut last));
        assert!(matches!(sea.rx.try_recv(), Err(RecvError::Empty)));
        let (n_lost, n_more, n_sent) = sea.account();
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
