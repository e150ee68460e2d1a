//! The bars of queues.

use procession_codec::{Bytes, Postcard};
use procession_floor::cache_line::CacheLine;
use procession_floor::cpu::Placement;
use procession_floor::futex_lock::FutexLock;
use procession_floor::futex_ping_pong::PingPong;
use procession_floor::hybrid_ring::Hybrid;
use procession_floor::judge::Bar::{AtLeast, AtMost};
use procession_floor::kernel_pipe::Pipe;
use procession_floor::memory::Placed;
use procession_floor::ring::{echo, ring};
use procession_floor::scenario::{Effort, alone, one_way, round_trip, round_trip_of_threads, two_to_two};
use procession_floor::spin_ring::Spin;
use procession_queue::{AsBytes, AsPlain, Receiver, Sender, Wire, bounded_as};

use crate::python;
use crate::report::Report;

type Numbers = (Sender<u64, AsPlain>, Receiver<u64, AsPlain>);
type Blocks = (Sender<Bytes, AsBytes>, Receiver<Bytes, AsBytes>);

/// The room of a bare ring.
const ROOM: usize = 4 << 20;

pub(crate) fn all(report: &mut Report) {
    put_and_get(report);
    round_trips(report);
    round_trip_of_crossbeam(report);
    one_way_small(report);
    two_to_two_small(report);
    typed_bytes(report);
    one_way_loaned(report);
    round_trip_loaned(report);
}

fn numbers() -> Numbers {
    bounded_as(1024, 64 << 20).expect("a queue")
}

fn blocks() -> Blocks {
    bounded_as(64, 64 << 20).expect("a queue")
}

/// A message to oneself: at most 3.4 times the bare futex lock.
fn put_and_get(report: &mut Report) {
    let effort = report.effort();
    let ((tx, rx), futex) = (numbers(), Placed::new(FutexLock::default()));
    report.judge(
        "queue, put and get / futex lock",
        "ns",
        AtMost(3.4),
        &mut || {
            alone(&effort, || {
                tx.send(7).expect("room");
                assert_eq!(rx.recv().expect("a number"), 7);
            })
        },
        &mut || {
            alone(&effort, || {
                futex.lock();
                futex.unlock();
            })
        },
    );
}

fn ours_there_and_back(effort: &Effort, placement: Placement) -> f64 {
    let (there, back) = (numbers(), numbers());
    let ping = || {
        there.0.send(7).expect("room");
        assert_eq!(back.1.recv().expect("a number"), 7);
    };
    let pong = || back.0.send(there.1.recv().expect("a number")).expect("room");
    round_trip(effort, placement, ping, pong)
}

/// Eight bytes there and back: on two processors at most 2.8 times a line of cache, on one at most 1.3 times a futex.
fn round_trips(report: &mut Report) {
    let effort = report.effort();
    // Of those who spin, many fit into a batch.
    let many = Effort { trips: effort.trips * 20, ..effort };
    report.judge(
        "queue, 8 B there and back, cross / cache line",
        "µs",
        AtMost(2.8),
        &mut || ours_there_and_back(&many, Placement::Cross),
        &mut || {
            let line = Placed::new(CacheLine::default());
            round_trip(&many, Placement::Cross, || line.ping(), || line.pong())
        },
    );
    report.judge(
        "queue, 8 B there and back, same / futex",
        "µs",
        AtMost(1.3),
        &mut || ours_there_and_back(&effort, Placement::Same),
        &mut || {
            let words = Placed::new(PingPong::default());
            round_trip(&effort, Placement::Same, || words.ping(), || words.pong())
        },
    );
}

/// Eight bytes there and back between processes: at most 1.3 times crossbeam between threads.
fn round_trip_of_crossbeam(report: &mut Report) {
    let many = Effort { trips: report.effort().trips * 20, ..report.effort() };
    report.judge(
        "queue, 8 B there and back, cross / crossbeam, threads",
        "µs",
        AtMost(1.3),
        &mut || ours_there_and_back(&many, Placement::Cross),
        &mut || {
            let (there, come) = crossbeam_channel::bounded::<u64>(1024);
            let (go, back) = crossbeam_channel::bounded::<u64>(1024);
            let ping = || {
                there.send(7).expect("room");
                assert_eq!(back.recv().expect("a number"), 7);
            };
            let pong = || come.recv().is_ok_and(|number| number > 0 && go.send(number).is_ok());
            round_trip_of_threads(&many, Placement::Cross, ping, pong, || there.send(0).expect("room"))
        },
    );
}

/// Two senders and two receivers of eight bytes: at least twice a pipe of the kernel, and 30 times Python's `Queue`.
fn two_to_two_small(report: &mut Report) {
    let effort = report.effort();
    let mut ours = || {
        let (tx, rx) = numbers();
        two_to_two(&effort, || tx.send(7).expect("room"), || assert_eq!(rx.recv().expect("a number"), 7))
    };
    report.judge("queue, 8 B two to two / pipe", "M/s", AtLeast(2.0), &mut ours, &mut || {
        let pipe = Pipe::new();
        two_to_two(&effort, || pipe.send(7), || assert_eq!(pipe.recv(), 7))
    });
    let name = "queue, 8 B two to two / Python's Queue";
    if !report.wants(name) {
        return;
    }
    match python::two_to_two(effort.window) {
        Ok(_) => {
            let mut python = || python::two_to_two(effort.window).expect("it did a moment ago");
            report.judge(name, "M/s", AtLeast(30.0), &mut ours, &mut python);
        }
        Err(error) => println!("{name}: not measured, python3 does not do it: {error}"),
    }
}

/// Bytes as a value of `Bytes` through the codec: at most 1.25 times the bytes as they are.
fn typed_bytes(report: &mut Report) {
    fn there_and_back<W: Wire<Bytes>>(effort: &Effort, len: usize) -> f64 {
        let queue = || bounded_as::<Bytes, W>(64, 64 << 20).expect("a queue");
        let (there, back) = (queue(), queue());
        let mut message = Bytes::from(vec![7; len]);
        let ping = || {
            there.0.send(std::mem::take(&mut message)).expect("room");
            message = back.1.recv().expect("a message");
        };
        let pong = || back.0.send(there.1.recv().expect("a message")).expect("room");
        round_trip(effort, Placement::Cross, ping, pong)
    }
    let effort = report.effort();
    for (size, len) in [("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        report.judge(
            &format!("queue, {size} of `Bytes` there and back / raw bytes"),
            "µs",
            AtMost(1.25),
            &mut || there_and_back::<Postcard>(&effort, len),
            &mut || there_and_back::<AsBytes>(&effort, len),
        );
    }
}

fn floor_one_way(effort: &Effort, room: usize, bytes: &[u8]) -> f64 {
    let (mut to, mut from) = ring::<Hybrid>(room);
    one_way(effort, Placement::Cross, || to.send(bytes), || from.recv(|_| 1))
}

/// Eight bytes, one way: at least 0.35 times a bare ring that may sleep, many at once at least 1.3 times. Beside a ring that
/// is 256 times as large as the queue, and one that has room for as many messages: what fits into the caches of one
/// processor has to be fetched from there by the other.
fn one_way_small(report: &mut Report) {
    let effort = Effort { calls: report.effort().calls * 20, ..report.effort() };
    let mut single = || {
        let (tx, rx) = numbers();
        let recv = || {
            rx.recv().expect("a number");
            1
        };
        one_way(&effort, Placement::Cross, || tx.send(7).expect("room"), recv)
    };
    let mut many = || {
        let (tx, rx) = numbers();
        let mut numbers = Vec::new();
        let send = || _ = tx.send_many([7; 256]).expect("room");
        let recv = || {
            numbers.clear();
            rx.recv_many(&mut numbers, 256).expect("numbers") as u32
        };
        one_way(&effort, Placement::Cross, send, recv)
    };
    for (of, room) in [("hybrid ring", ROOM), ("hybrid ring of 16 KiB", 16 << 10)] {
        let mut floor = || floor_one_way(&effort, room, &[7; 8]);
        let name = format!("queue, 8 B one way / {of}");
        report.judge(&name, "M/s", AtLeast(0.35), &mut single, &mut floor);
        let name = format!("queue, 8 B one way, many at once / {of}");
        report.judge(&name, "M/s", AtLeast(1.3), &mut many, &mut floor);
    }
}

/// 64 KiB one way, written and read in place: at least 0.85 times a bare ring.
fn one_way_loaned(report: &mut Report) {
    let effort = report.effort();
    let message = vec![7; 64 << 10];
    report.judge(
        "queue, 64 KiB one way, loaned / hybrid ring",
        "M/s",
        AtLeast(0.85),
        &mut || {
            let (tx, rx) = blocks();
            let send = || tx.send_with(message.len(), |to| to.copy_from_slice(&message)).expect("room");
            let recv = || {
                assert_eq!(rx.recv_ref().expect("a message").len(), message.len());
                1
            };
            one_way(&effort, Placement::Cross, send, recv)
        },
        &mut || floor_one_way(&effort, ROOM, &message),
    );
}

/// 1 MiB there and back, written and read in place: at most 1.2 times a bare ring.
fn round_trip_loaned(report: &mut Report) {
    let effort = report.effort();
    let message = vec![7; 1 << 20];
    report.judge(
        "queue, 1 MiB there and back, loaned / spin ring",
        "µs",
        AtMost(1.2),
        &mut || {
            let (there, back) = (blocks(), blocks());
            let ping = || {
                there.0.send_with(message.len(), |to| to.copy_from_slice(&message)).expect("room");
                assert_eq!(back.1.recv_ref().expect("a message").len(), message.len());
            };
            let pong = || {
                let came = there.1.recv_ref().expect("a message");
                back.0.send_with(came.len(), |to| to.copy_from_slice(&came)).expect("room");
            };
            round_trip(&effort, Placement::Cross, ping, pong)
        },
        &mut || {
            let mut peer = echo::<Spin>(ROOM, Placement::Cross);
            alone(&Effort { calls: effort.trips, ..effort }, || peer.round_trip(&message)) / 1e3
        },
    );
}
