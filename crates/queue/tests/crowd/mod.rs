//! A crowd of processes at the two ends of a queue, which are killed at random, and others take their places.

use std::thread;
use std::time::Duration;

use procession_codec::{Bytes, Message};
use procession_queue::SendFault;
use procession_shm::Segment;
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, Storm};

use crate::parcel::hand;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// Processes at each end.
pub(crate) const N_EACH: usize = 3;
/// So many messages one sender sends, and then waits for its end.
pub(crate) const MOST: usize = 1 << 13;
/// The record of a sender: how many it sent, and a byte for each that says what became of it.
pub(crate) const RECORD: usize = 8 + MOST;
/// What a process at the sending end does; any other is at the receiving end.
pub(crate) const SENDS: &str = "sends";

/// What all of them share. A receiver has no sender, and the reverse.
pub(crate) type Handed<T, R, L> = (Option<T>, Option<R>, L);

/// Records of so many senders as these kills make necessary.
pub(crate) fn records(n_kills: usize) -> Segment {
    Segment::new((n_kills + N_EACH) * RECORD).unwrap()
}

/// The message of this number by this sender, which no other is equal to; its length is below one of `most`, and 16.
pub(crate) fn message(sender: usize, number: usize, most: &[u64]) -> Bytes {
    let mut storm = Storm::from_seed((sender << 20 | number) as u64);
    let most = *storm.pick(most);
    let mut bytes = vec![0; 16 + storm.below(most) as usize];
    bytes.chunks_mut(499).for_each(|chunk| chunk.fill(storm.bits() as u8));
    bytes[..8].copy_from_slice(&sender.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    Bytes::from(bytes)
}

/// By which sender a message says to be, and its number.
pub(crate) fn origin(bytes: &[u8]) -> (usize, usize) {
    let part = |at| bytes.get(at..at + 8).map_or(usize::MAX, |b| usize::from_le_bytes(b.try_into().unwrap()));
    (part(0), part(8))
}

/// Where in the records it stands what became of a message.
pub(crate) fn place(sender: usize, number: usize) -> usize {
    sender.wrapping_mul(RECORD).wrapping_add(8 + number)
}

/// How many a sender has noted, and what became of those, and of the others.
pub(crate) fn fate(records: &Segment, sender: usize) -> (u64, Vec<u8>, Vec<u8>) {
    let sent: u64 = records.get(sender * RECORD).unwrap();
    let mut before = records.read_vec(place(sender, 0), MOST).unwrap();
    let after = before.split_off(sent as usize);
    (sent, before, after)
}

/// A sender: `send` may wait for ever, or for so long.
pub(crate) fn send(
    records: &Segment,
    message: fn(usize, usize) -> Bytes,
    send: impl Fn(Bytes, Option<Duration>) -> Result<(), (Bytes, SendFault)>,
) {
    let me = roles::hear().unwrap().parse::<usize>().unwrap();
    roles::say("in");
    for number in 0..MOST {
        let mut value = message(me, number);
        let time = (number % 3 == 0).then(|| Duration::from_micros(number as u64 % 300));
        while let Err((back, fault)) = send(value, time) {
            assert!(matches!(fault, SendFault::TimedOut | SendFault::Contended { .. }), "{fault}");
            value = back;
        }
        records.put(me * RECORD, &(number as u64 + 1)).unwrap();
    }
    loop {
        thread::park();
    }
}

/// What they write down.
pub(crate) trait Ledger: Message + Clone {
    /// How many messages have come to where they belong.
    fn n_done(&self) -> u64;
    fn n_faults(&self) -> u64;
}

pub(crate) struct Crowd<T, R, L> {
    pub(crate) tx: T,
    pub(crate) rx: R,
    pub(crate) ledger: L,
    /// Each has a number.
    pub(crate) n_senders: usize,
}

impl<T: Message + Clone, R: Message + Clone, L: Ledger> Crowd<T, R, L> {
    pub(crate) fn new((tx, rx): (T, R), ledger: L) -> Self {
        Self { tx, rx, ledger, n_senders: 0 }
    }

    fn start(&mut self, is_sender: bool) -> RoleProcess {
        let tx = is_sender.then(|| self.tx.clone());
        let rx = (!is_sender).then(|| self.rx.clone());
        let role = Role::new(if is_sender { SENDS } else { "receives" });
        let handed: Handed<T, R, L> = (tx, rx, self.ledger.clone());
        let mut process = hand(role, &handed).spawn();
        process.say(&self.n_senders.to_string());
        self.n_senders += usize::from(is_sender);
        assert_eq!(process.hear(LIMIT).as_deref(), Some("in"));
        process
    }

    /// Until so many more were done, or nothing can be expected.
    fn wait(&self, n: u64) {
        let before = self.ledger.n_done();
        for _ in 0..20_000 {
            if self.ledger.n_done() - before >= n || self.ledger.n_faults() > 0 {
                return;
            }
            thread::yield_now();
        }
    }

    /// So many kills at least, of senders and of receivers; all that were started are dead then.
    pub(crate) fn storm(&mut self, n_kills: usize, storm: &mut Storm) -> [usize; 2] {
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
}

/// How many kills one test makes.
pub(crate) fn n_kills() -> usize {
    if std::env::var_os("PROCESSION_LONG").is_some() { 10_000 } else { 120 }
}
