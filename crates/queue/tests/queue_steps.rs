//! Kill points: a process that sends, receives or closes is killed wherever something changed.
//!
//! Whatever the moment: the message is wholly there or not at all, all others are there in their order, who sleeps is woken
//! by what was done, everything goes through as before, and the pieces for large messages come back. `PROCESSION_LONG`
//! tries every instruction.

mod memory;
mod parcel;
mod sweeper;

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use memory::{HEAD, Memory, N_EXTENTS, TAIL};
use parcel::{hand, received};
use procession_codec::Bytes;
use procession_queue::{AsBytes, Receiver, RecvError, SendFault, Sender, bounded_as};
use procession_shm::Atomic;
use procession_shm::domain::TICK;
use procession_testkit::roles::Role;
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, role};
use sweeper::{LIMIT, NEVER};

type Tx = Sender<Bytes, AsBytes>;
type Rx = Receiver<Bytes, AsBytes>;

/// In a slot, in the ring of bytes, in a piece of its own, which is lent: that is sooner worth it than with a copy, and
/// has fewer instructions.
const LENGTHS: [usize; 3] = [8, 1000, 2000];

fn pass(tx: &Tx, bytes: &Bytes) -> Result<(), SendFault> {
    match bytes.len() {
        ..=1000 => tx.send(bytes.clone()).map_err(|error| error.into_parts().1),
        len => tx.send_with(len, |to| to.copy_from_slice(bytes)),
    }
}

fn try_pass(tx: &Tx, bytes: &Bytes) -> Result<(), SendFault> {
    match bytes.len() {
        ..=1000 => tx.try_send(bytes.clone()).map_err(|error| error.into_parts().1),
        len => tx.try_send_with(len, |to| to.copy_from_slice(bytes)),
    }
}

/// So many large messages have pieces, and one more does not.
const CAPACITY: usize = N_EXTENTS + 2;

#[derive(Clone)]
struct Place {
    tx: Tx,
    rx: Rx,
}

impl Place {
    fn new(capacity: usize, bytes: u64) -> Self {
        let (tx, rx) = bounded_as(capacity, bytes).unwrap();
        Self { tx, rx }
    }

    fn large() -> Self {
        Self::new(CAPACITY, (CAPACITY * LENGTHS[2]) as u64)
    }

    /// As many as fit, one after the other.
    fn fill(&self, len: usize) -> usize {
        (0..).take_while(|n| try_pass(&self.tx, &message(len, *n as u8)).is_ok()).count()
    }

    /// Receives all, which must be these.
    fn drain(&self, expected: &[Bytes]) {
        let found: Vec<_> = self.rx.try_iter().collect();
        assert!(found == expected, "{:?} instead of {:?}", sketch(&found), sketch(expected));
        assert!(matches!(self.rx.try_recv(), Err(RecvError::Empty)));
    }

    /// Everything goes through, and all pieces can be had.
    fn is_as_new(&self) {
        let fits = |len: &usize| *len as u64 <= self.tx.capacity_bytes();
        for len in LENGTHS.into_iter().filter(fits) {
            try_pass(&self.tx, &message(len, 5)).unwrap();
            self.drain(&[message(len, 5)]);
        }
        if self.tx.capacity() == CAPACITY {
            assert_eq!(self.fill(LENGTHS[2]), CAPACITY);
            assert_eq!(Memory::of(&self.tx).n_queued(), N_EXTENTS);
            let expected: Vec<_> = (0..CAPACITY).map(|n| message(LENGTHS[2], n as u8)).collect();
            self.drain(&expected);
            assert_eq!(Memory::of(&self.tx).n_queued(), 0);
        }
    }
}

fn message(len: usize, salt: u8) -> Bytes {
    let mut bytes = vec![salt; len];
    bytes.chunks_mut(97).enumerate().for_each(|(n, chunk)| chunk[0] = n as u8 ^ salt);
    Bytes::from(bytes)
}

fn sketch(messages: &[Bytes]) -> Vec<(usize, Option<&u8>)> {
    messages.iter().map(|bytes| (bytes.len(), bytes.first())).collect()
}

/// What the victim sends.
const SALT: u8 = 77;

/// What is done in the window; once on another queue before: what happens at the first use only is not what is looked at.
fn victim(role: &str) {
    if role.starts_with("sleeps") {
        let (_tx, rx, pid): (Tx, Rx, Atomic<u32>) = received();
        pid.store(std::process::id());
        step::here();
        let received = rx.recv();
        step::end();
        return assert_eq!(received.unwrap().len(), 8);
    }
    let (tx, rx): (Tx, Rx) = received();
    let warm = Place::new(2, 1 << 20);
    let (verb, len) = role.split_once(' ').unwrap();
    let len = len.parse().unwrap();
    let values = [(); 3].map(|()| message(len, SALT));
    let [one, two, value] = values;
    for value in [one, two] {
        pass(&warm.tx, &value).unwrap();
        drop(warm.rx.recv().unwrap());
    }
    match verb {
        "sends" => {
            step::here();
            let sent = pass(&tx, &value);
            step::end();
            sent.unwrap();
        }
        "receives" => {
            step::here();
            let received = rx.recv();
            step::end();
            assert_eq!(received.unwrap().len(), len);
        }
        "closes" => {
            step::here();
            tx.close();
            step::end();
        }
        other => panic!("no role {other}"),
    }
}

fn with(place: &Place, role: &str) -> std::process::Command {
    let ends = (place.tx.clone(), place.rx.clone());
    // Woken, and not by a tick.
    hand(Role::new(role), &ends).env(TICK, "600000").into_command()
}

/// Runs the sweeps, or what they kill.
fn sweeper(tick: &str, sweeps: impl FnOnce()) {
    sweeper::sweeper(tick, victim, sweeps);
}

/// A send behind `before`, with one more by a survivor before anything is received.
fn sweep_send(scenario: &str, place: &Place, len: usize, before: &[Bytes]) {
    let start = || {
        before.iter().for_each(|bytes| try_pass(&place.tx, bytes).unwrap());
        with(place, &format!("sends {len}"))
    };
    let mut n_there = 0;
    step::sweep_changes(scenario, start, |_, outcome| {
        let mut expected = before.to_vec();
        if place.tx.len() > before.len() {
            n_there += 1;
            expected.push(message(len, SALT));
        } else {
            assert_eq!(outcome, Outcome::Killed);
        }
        // Neither more nor less fits than if nobody had been killed.
        let n_bytes: usize = expected.iter().map(|bytes| bytes.len()).sum();
        let room = place.tx.capacity_bytes() as usize - n_bytes;
        if n_bytes > 0 {
            let fault = try_pass(&place.tx, &message(room + 1, 1)).unwrap_err();
            assert!(matches!(fault, SendFault::Full), "{fault}");
        }
        let more = message(room.min(len / 2), 1);
        match try_pass(&place.tx, &more) {
            Ok(()) => expected.push(more),
            Err(fault) => {
                assert!(matches!(fault, SendFault::Full), "{fault}");
                assert_eq!(expected.len(), place.tx.capacity());
            }
        }
        place.drain(&expected);
        place.is_as_new();
    });
    assert!(n_there > 0);
}

#[test]
fn a_send_that_nobody_waits_for() {
    sweeper(NEVER, || {
        let place = Place::large();
        for len in LENGTHS {
            sweep_send(&format!("{len} bytes"), &place, len, &[]);
            sweep_send(
                &format!("{len} bytes behind others"),
                &place,
                len,
                &LENGTHS.map(|len| message(len, 3)),
            );
        }
    });
}

/// The slot before the first message, and the bytes of those that are queued, are next to what is written.
#[test]
fn a_send_that_fills_the_queue() {
    sweeper(NEVER, || {
        for (capacity, len) in [(4, 8), (1, 8), (4, 1000), (2, 2000)] {
            // So few bytes that each sender has to look how far the receivers are.
            let place = Place::new(capacity, (capacity * len) as u64);
            let before: Vec<_> = (1..capacity).map(|n| message(len, n as u8)).collect();
            sweep_send(&format!("{len} bytes to the last of {capacity}"), &place, len, &before);
        }
    });
}

/// What a receiver finds: one message of this length first, and one that is large.
#[test]
fn a_receive_that_nobody_waits_for() {
    sweeper(NEVER, || {
        for len in LENGTHS {
            let place = Place::large();
            let all = [message(len, SALT), message(LENGTHS[2], 2)];
            let start = || {
                all.iter().for_each(|bytes| try_pass(&place.tx, bytes).unwrap());
                with(&place, &format!("receives {len}"))
            };
            let mut n_lost = 0;
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let n_taken = 2 - place.tx.len();
                n_lost += n_taken;
                assert!(outcome == Outcome::Killed || n_taken == 1);
                place.drain(&all[n_taken..]);
                place.is_as_new();
            });
            assert!(n_lost > 0);
        }
    });
}

/// Threads of the sweeper that sleep on a queue.
struct Sleepers {
    threads: Vec<JoinHandle<()>>,
    woken: mpsc::Receiver<Woken>,
}

#[derive(Debug)]
enum Woken {
    Received(Result<Bytes, RecvError>),
    Sent(Result<(), SendFault>),
}

impl Sleepers {
    fn start(n: usize, place: &Place, body: fn(&Place) -> Woken) -> Self {
        let (tell, woken) = mpsc::channel();
        let start = |_| {
            let (place, tell, (say, heard)) = (place.clone(), tell.clone(), mpsc::channel());
            let thread = thread::spawn(move || {
                say.send(rustix::thread::gettid()).unwrap();
                tell.send(body(&place)).unwrap();
            });
            until_asleep(&format!("/proc/self/task/{}", heard.recv().unwrap()));
            thread
        };
        Self { threads: (0..n).map(start).collect(), woken }
    }

    /// The next that was woken; there must be one.
    fn next(&self) -> Woken {
        self.woken.recv().unwrap()
    }

    fn join(self) {
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// Waits until a thread sleeps, or is gone.
fn until_asleep(task: &str) {
    let is_awake = || {
        let stat = std::fs::read_to_string(format!("{task}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['S', 'Z']))
    };
    while is_awake() {
        thread::yield_now();
    }
}

fn receive(place: &Place) -> Woken {
    Woken::Received(place.rx.recv())
}

fn send(place: &Place) -> Woken {
    Woken::Sent(place.tx.send(message(8, 9)).map_err(|error| error.into_parts().1))
}

/// Nobody's tick is long enough ago: who sleeps is woken by what the victim did, or by what is done after its death.
#[test]
fn a_send_that_receivers_sleep_for() {
    sweeper(NEVER, || {
        for len in [8, 1000] {
            let (place, sleepers) = (Place::large(), RefCell::new(None));
            let memory = Memory::of(&place.tx);
            let tail = RefCell::new(0);
            let start = || {
                sleepers.replace(Some(Sleepers::start(2, &place, receive)));
                tail.replace(memory.load(TAIL));
                with(&place, &format!("sends {len}"))
            };
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let was_sent = memory.load(TAIL) != *tail.borrow();
                assert!(was_sent || outcome == Outcome::Killed);
                let sleepers = sleepers.take().unwrap();
                let expect = |bytes: Bytes| match sleepers.next() {
                    Woken::Received(Ok(received)) => assert!(received == bytes),
                    other => panic!("{other:?}"),
                };
                if was_sent {
                    expect(message(len, SALT));
                }
                for _ in usize::from(was_sent)..2 {
                    place.tx.send(message(3, 4)).unwrap();
                    expect(message(3, 4));
                }
                sleepers.join();
                place.is_as_new();
            });
        }
    });
}

#[test]
fn a_receive_that_senders_sleep_for() {
    sweeper(NEVER, || {
        for len in [8, 1000] {
            let (place, sleepers) = (Place::new(2, 80_000), RefCell::new(None));
            let before = [message(len, SALT), message(len, 2)];
            let memory = Memory::of(&place.tx);
            let head = RefCell::new(0);
            let start = || {
                before.iter().for_each(|bytes| try_pass(&place.tx, bytes).unwrap());
                sleepers.replace(Some(Sleepers::start(2, &place, send)));
                head.replace(memory.load(HEAD));
                with(&place, &format!("receives {len}"))
            };
            step::sweep_changes(&format!("{len} bytes"), start, |_, outcome| {
                let n_taken = memory.load(HEAD).wrapping_sub(*head.borrow()) as usize;
                assert!(n_taken == 1 || outcome == Outcome::Killed);
                let sleepers = sleepers.take().unwrap();
                let sent = || assert!(matches!(sleepers.next(), Woken::Sent(Ok(()))));
                if n_taken == 1 {
                    sent();
                }
                for bytes in &before[n_taken..] {
                    assert!(place.rx.recv().unwrap() == *bytes);
                    sent();
                }
                sleepers.join();
                place.drain(&[message(8, 9), message(8, 9)]);
                place.is_as_new();
            });
        }
    });
}

#[test]
fn closing_while_others_sleep() {
    sweeper(NEVER, || {
        for (n_before, body) in [(0, receive as fn(&Place) -> Woken), (1, send)] {
            let running = RefCell::new(None);
            let start = || {
                let place = Place::new(1, 100);
                (0..n_before).for_each(|_| place.tx.send(message(8, 1)).unwrap());
                let command = with(&place, "closes 8");
                running.replace(Some((Sleepers::start(2, &place, body), place)));
                command
            };
            step::sweep_changes("two of a side", start, |_, outcome| {
                let (sleepers, place) = running.take().unwrap();
                assert!(place.tx.is_closed() || outcome == Outcome::Killed);
                if !place.tx.is_closed() {
                    place.tx.close();
                }
                for _ in 0..2 {
                    let woken = sleepers.next();
                    assert!(
                        matches!(
                            woken,
                            Woken::Received(Err(RecvError::Closed)) | Woken::Sent(Err(SendFault::Closed))
                        ),
                        "{woken:?}"
                    );
                }
                sleepers.join();
                assert!(place.rx.iter().count() <= 1);
                assert!(matches!(place.rx.recv(), Err(RecvError::Closed)));
            });
        }
    });
}

/// The victim sleeps, too, and dies with the wake that was meant for one of both; the other finds out at its tick.
#[test]
fn with_the_wake_that_was_meant_for_all() {
    sweeper("1", || {
        let (place, running) = (Place::new(2, 1000), RefCell::new(None));
        let start = || {
            let sleepers = Sleepers::start(1, &place, receive);
            let (ours, theirs) = (place.clone(), Atomic::new(0_u32).unwrap());
            let pid = theirs.clone();
            let helper = thread::spawn(move || {
                while pid.load() == 0 {
                    thread::yield_now();
                }
                until_asleep(&format!("/proc/{}", pid.load()));
                (0..2).for_each(|n| ours.tx.send(message(8, n)).unwrap());
            });
            running.replace(Some((sleepers, helper)));
            let ends = (place.tx.clone(), place.rx.clone(), theirs);
            hand(Role::new("sleeps 8"), &ends).env(TICK, "600000").into_command()
        };
        step::sweep_changes("both of a side", start, |_, outcome| {
            let (sleepers, helper) = running.take().unwrap();
            helper.join().unwrap();
            assert!(matches!(sleepers.next(), Woken::Received(Ok(bytes)) if bytes.len() == 8));
            sleepers.join();
            let n_left = place.rx.try_iter().count();
            assert!(n_left == 0 || n_left == 1 && outcome == Outcome::Killed);
            place.is_as_new();
        });
    });
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for len in LENGTHS {
            let place = Place::large();
            let run = |role: String| {
                let ends = (place.tx.clone(), place.rx.clone());
                hand(Role::new(&role), &ends).spawn().wait_with_output(LIMIT).expect_success();
            };
            run(format!("sends {len}"));
            place.drain(&[message(len, SALT)]);
            pass(&place.tx, &message(len, 1)).unwrap();
            run(format!("receives {len}"));
            assert!(place.tx.is_empty());
            run("closes 8".into());
            assert!(place.tx.is_closed());
        }
    });
}
