//! Kill points of messages with handles: a process that sends, receives or sweeps is killed wherever something changed.
//!
//! Whatever the moment: the message is wholly there, with its descriptors, or not at all; all others have theirs and never
//! another's; who waits for room gets it; and no descriptor stays on its way that belongs to no message.

mod memory;
mod parcel;
mod sweeper;

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;

use memory::{HEAD, LUGGAGE, Memory};
use parcel::{hand, pack, received};
use procession_codec::{Bytes, Descriptor};
use procession_queue::{Receiver, RecvError, SendFault, Sender, bounded};
use procession_shm::domain::TICK;
use procession_sys::{Deadline, socket};
use procession_testkit::roles::Role;
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, role};
use sweeper::{LIMIT, NEVER};

/// Its number, files that say it, and bytes.
type Item = (u64, Vec<Descriptor>, Bytes);

/// In the ring of bytes, and in a piece of its own; with one descriptor, and with more than a packet carries.
const SIZES: [(usize, usize); 3] = [(1, 10), (1, 20_000), (254, 10)];

/// Those to sweep: the others take tens of thousands of instructions each, and minutes.
fn sizes() -> Vec<(usize, usize)> {
    let n = if std::env::var_os("PROCESSION_LONG").is_some() { SIZES.len() } else { 1 };
    SIZES[..n].to_vec()
}

/// What the victim sends.
const SALT: u64 = 77;

#[derive(Clone)]
struct Place {
    tx: Sender<Item>,
    rx: Receiver<Item>,
}

/// A file, once for each descriptor of a message, and the other end: it tells whether the file is still there.
struct Witness(File);

fn item(n: u64, (n_files, len): (usize, usize)) -> (Item, Witness) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    (0..n_files).for_each(|_| writer.write_all(&n.to_le_bytes()).unwrap());
    let file = Descriptor::from(OwnedFd::from(reader));
    ((n, vec![file; n_files], Bytes::from(vec![n as u8; len])), Witness(OwnedFd::from(writer).into()))
}

fn nothing() -> Item {
    (0, vec![], Bytes::default())
}

impl Witness {
    /// Nobody has the file any more, not even a message.
    fn sees_the_end(mut self) {
        assert_eq!(self.0.write(b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

/// Each file is that of its message.
fn check((n, files, bytes): Item, expected: u64) {
    assert_eq!(n, expected);
    for file in files {
        let mut says = [0; 8];
        File::from(file.into_owned().unwrap()).read_exact(&mut says).unwrap();
        assert_eq!(u64::from_le_bytes(says), n);
    }
    assert!(bytes.iter().all(|byte| *byte == n as u8));
}

impl Place {
    fn new(capacity: usize) -> Self {
        let (tx, rx) = bounded(capacity).unwrap();
        Self { tx, rx }
    }

    fn drain(&self, expected: &[u64]) {
        expected.iter().for_each(|n| check(self.rx.try_recv().unwrap(), *n));
        assert!(matches!(self.rx.try_recv(), Err(RecvError::Empty)));
    }

    /// Sends a message with one handle and one without.
    fn send_two(&self, n: u64) {
        self.tx.try_send(item(n, (1, 5)).0).unwrap();
        self.tx.try_send((n + 1, vec![], Bytes::default())).unwrap();
    }

    /// A packet that belongs to no message, with a file.
    fn leave_a_packet(&self) -> Witness {
        let memory = Memory::of(&self.tx);
        let number = memory.load(LUGGAGE) + 1;
        memory.store(LUGGAGE, number);
        let ((_, mut files, _), witness) = item(1000, (1, 0));
        let fd = files.remove(0).into_owned().unwrap();
        let label = [&u64::from(number).to_le_bytes()[..], &1_u32.to_le_bytes()].concat();
        let end = pack(&self.tx).descriptors.remove(0);
        let descriptors = [std::os::fd::AsFd::as_fd(&fd)];
        socket::send_packet(end, &[IoSlice::new(&label)], &descriptors, Deadline::NEVER).unwrap();
        witness
    }
}

/// What is done in the window; once on another queue before: what happens at the first use only is not what is looked at.
fn victim(role: &str) {
    let (tx, rx, mut item): (Sender<Item>, Receiver<Item>, Item) = received();
    let (verb, n_files) = role.split_once(' ').unwrap();
    // One file, so that it is closed once.
    item.1 = item.1.iter().cycle().take(n_files.parse().unwrap()).cloned().collect();
    let warm = Place::new(2);
    for _ in 0..2 {
        warm.tx.send((1, item.1.clone(), item.2.clone())).unwrap();
        warm.rx.recv().unwrap();
        drop(warm.leave_a_packet());
        assert!(warm.rx.try_recv().is_err());
    }
    match verb {
        "sends" => {
            step::here();
            let sent = tx.send(item);
            step::end();
            sent.unwrap();
        }
        "receives" => {
            step::here();
            let received = rx.recv();
            step::end();
            received.unwrap();
        }
        "sweeps" => {
            step::here();
            let received = rx.try_recv();
            step::end();
            assert!(matches!(received, Err(RecvError::Empty)));
        }
        other => panic!("no role {other}"),
    }
}

fn with(place: &Place, verb: &str, item: Item) -> Role {
    let role = Role::new(&format!("{verb} {}", item.1.len()));
    let item = (item.0, item.1.into_iter().take(1).collect::<Vec<_>>(), item.2);
    hand(role, &(place.tx.clone(), place.rx.clone(), item)).env(TICK, NEVER)
}

/// Runs the sweeps, or what they kill.
fn sweeper(sweeps: impl FnOnce()) {
    sweeper::sweeper(NEVER, victim, sweeps);
}

#[test]
fn a_send() {
    sweeper(|| {
        for size in sizes() {
            // With so many it takes long enough once.
            for before in [false, true].into_iter().take(if size.0 == 1 { 2 } else { 1 }) {
                let (place, witness) = (Place::new(10), RefCell::new(None));
                let start = || {
                    if before {
                        place.send_two(5);
                    }
                    let (item, sees) = item(SALT, size);
                    witness.replace(Some(sees));
                    with(&place, "sends", item).into_command()
                };
                let mut n_there = 0;
                let scenario = format!("{} files, {} bytes, behind others: {before}", size.0, size.1);
                step::sweep_changes(&scenario, start, |_, outcome| {
                    let mut expected = if before { vec![5, 6] } else { vec![] };
                    if place.tx.len() > expected.len() {
                        n_there += 1;
                        expected.push(SALT);
                    } else {
                        assert_eq!(outcome, Outcome::Killed);
                    }
                    place.send_two(8);
                    expected.extend([8, 9]);
                    place.drain(&expected);
                    witness.take().unwrap().sees_the_end();
                });
                assert!(n_there > 0);
            }
        }
    });
}

/// As above, and nobody sends anything more: what the dead left is swept.
#[test]
fn a_send_and_nothing_after_it() {
    sweeper(|| {
        let (place, witness) = (Place::new(10), RefCell::new(None));
        let start = || {
            let (item, sees) = item(SALT, SIZES[0]);
            witness.replace(Some(sees));
            with(&place, "sends", item).into_command()
        };
        step::sweep_changes("an empty queue", start, |_, _| {
            place.drain(if place.tx.is_empty() { &[] } else { &[SALT] });
            witness.take().unwrap().sees_the_end();
        });
    });
}

#[test]
fn a_receive() {
    sweeper(|| {
        for size in sizes() {
            for left_before in [false, true].into_iter().take(if size.0 == 1 { 2 } else { 1 }) {
                let (place, witnesses) = (Place::new(10), RefCell::new(vec![]));
                let start = || {
                    if left_before {
                        witnesses.borrow_mut().push(place.leave_a_packet());
                    }
                    let (item, sees) = item(SALT, size);
                    witnesses.borrow_mut().push(sees);
                    place.tx.try_send(item).unwrap();
                    place.send_two(8);
                    with(&place, "receives", nothing()).into_command()
                };
                let mut n_lost = 0;
                let scenario = format!("{} files, {} bytes, behind a packet: {left_before}", size.0, size.1);
                step::sweep_changes(&scenario, start, |_, outcome| {
                    let n_taken = 3 - place.tx.len();
                    n_lost += n_taken;
                    assert!(outcome == Outcome::Killed || n_taken == 1);
                    place.drain(&[SALT, 8, 9][n_taken..]);
                    witnesses.take().into_iter().for_each(Witness::sees_the_end);
                    place.send_two(3);
                    place.drain(&[3, 4]);
                });
                assert!(n_lost > 0);
            }
        }
    });
}

#[test]
fn a_sweep() {
    sweeper(|| {
        let (place, witnesses) = (Place::new(10), RefCell::new(vec![]));
        let start = || {
            witnesses.replace((0..3).map(|_| place.leave_a_packet()).collect());
            with(&place, "sweeps", nothing()).into_command()
        };
        step::sweep_changes("three packets of no message", start, |n, _| {
            if n % 2 == 0 {
                place.send_two(3);
                place.drain(&[3, 4]);
            }
            place.drain(&[]);
            witnesses.take().into_iter().for_each(Witness::sees_the_end);
        });
    });
}

/// A thread of the sweeper waits for room in the socket: it gets it by what the victim did, or by what is done after.
#[test]
fn a_receive_that_a_sender_waits_for() {
    sweeper(|| {
        let (place, running) = (Place::new(1000), RefCell::new(None));
        let (fits, memory, head) = (RefCell::new(0), Memory::of(&place.tx), RefCell::new(0));
        let start = || {
            let full = |n: &u64| match place.tx.try_send(item(*n, (1, 0)).0) {
                Ok(()) => false,
                Err(error) => matches!(error.fault(), SendFault::Full),
            };
            fits.replace((0..).find(full).unwrap());
            let (sender, (tell, sleeps), last) = (place.clone(), mpsc::channel(), *fits.borrow());
            let thread = thread::spawn(move || {
                tell.send(rustix::thread::gettid()).unwrap();
                sender.tx.send(item(last, (1, 0)).0).unwrap();
            });
            until_asleep(sleeps.recv().unwrap());
            running.replace(Some(thread));
            head.replace(memory.load(HEAD));
            with(&place, "receives", nothing()).into_command()
        };
        step::sweep_changes("a full socket", start, |_, outcome| {
            // Each message is in the queue, was taken by the victim, or is still to be sent.
            let n_taken = u64::from(memory.load(HEAD).wrapping_sub(*head.borrow()));
            let fits = fits.take();
            assert!(outcome == Outcome::Killed || n_taken == 1);
            check(place.rx.recv().unwrap(), n_taken);
            running.take().unwrap().join().unwrap();
            (n_taken + 1..=fits).for_each(|n| check(place.rx.recv().unwrap(), n));
            place.drain(&[]);
        });
    });
}

/// Waits until a thread sleeps.
fn until_asleep(thread: rustix::thread::Pid) {
    let is_awake = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('S'))
    };
    while is_awake() {
        thread::yield_now();
    }
}

#[test]
fn the_victims_do_what_they_say() {
    if let Some(role) = role() {
        return victim(&role);
    }
    guarded(|| {
        for size in SIZES {
            let place = Place::new(10);
            let run = |role: &str, item: Item| {
                with(&place, role, item).spawn().wait_with_output(LIMIT).expect_success();
            };
            let (one, sees) = item(SALT, size);
            run("sends", one);
            place.drain(&[SALT]);
            sees.sees_the_end();
            let (one, sees) = item(SALT, size);
            place.tx.send(one).unwrap();
            run("receives", nothing());
            sees.sees_the_end();
            let sees = place.leave_a_packet();
            run("sweeps", nothing());
            sees.sees_the_end();
        }
    });
}
