//! The bars of pipes: round trips of ours against the bare sockets they are made of, in one run, each with its verdict.
//!
//! `cargo bench --package procession-benches --bench pipe_bars` measures all; the arguments and the verdicts are those of
//! the bench `bars`. Below each verdict are the medians of all batches, with the least and the most. The two sides are
//! two processes, started as users start theirs: `cross` on a processor each, `same` on one. Both contenders' processes
//! live as long as a bar is measured, and their batches take turns.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "bars/report.rs"]
mod report;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::time::Instant;

use procession_codec::{Bytes, Descriptor};
use procession_floor::cpu::{self, Placement, Side};
use procession_floor::judge::Bar::AtMost;
use procession_pipe::{Connection, Duplex, pipe};
use procession_process::{Process, spawn};
use report::Report;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

/// The most bytes of one packet of the bare sockets.
const PACKET: usize = 128 << 10;

/// What a round trip costs beside its bytes, in bytes: fewer trips make a batch of longer messages.
const WEIGHT: usize = 8 << 10;

fn main() {
    let mut report = Report::from_args();
    for (len, size) in [(8, "8 B"), (1 << 10, "1 KiB"), (64 << 10, "64 KiB"), (1 << 20, "1 MiB")] {
        for placement in [Placement::Cross, Placement::Same] {
            let place = if placement == Placement::Cross { "cross" } else { "same" };
            let what = format!("{size}, {place} / seqpacket");
            against_sockets::<Typed>(&mut report, &format!("duplex, {what}"), placement, len);
            against_sockets::<Raw>(&mut report, &format!("connection, {what}"), placement, len);
        }
    }
    report.end();
}

/// Our side of a pair, the other being a process that sends back what comes.
trait Near: Sized {
    fn start(placement: Placement, len: usize) -> (Self, Process);
    fn round_trip(&mut self);
}

/// Round trips of ours: at most 1.15 times those of bare sockets.
fn against_sockets<N: Near>(report: &mut Report, name: &str, placement: Placement, len: usize) {
    if !report.wants(name) {
        return;
    }
    let effort = report.effort();
    cpu::pin(Placement::Anywhere, Side::Near); // what is started finds both processors
    let trips = (effort.trips as usize * WEIGHT).div_ceil(len + WEIGHT).max(2);
    let ((mut ours, process), (mut bare, floor_process)) =
        (N::start(placement, len), Bare::start(placement, len));
    cpu::pin(placement, Side::Near);
    let all = [(); 2].map(|()| RefCell::new(Vec::new()));
    {
        let mut ours = || batches(effort.batches, trips, &all[0], || ours.round_trip());
        let mut floor = || batches(effort.batches, trips, &all[1], || bare.round_trip());
        report.judge(name, "µs", AtMost(1.15), &mut ours, &mut floor);
    }
    for (name, times) in ["ours", "floor"].iter().zip(&all) {
        let times = &mut *times.borrow_mut();
        times.sort_by(f64::total_cmp);
        let [least, median, most] = [0, times.len() / 2, times.len() - 1].map(|i| times[i]);
        println!("    {name}: {median:.2} µs ({least:.2} to {most:.2})");
    }
    drop((ours, bare));
    process.join().expect("an echo");
    floor_process.join().expect("an echo");
}

/// The median over batches of the microseconds that a round trip takes; adds each batch to `all`.
fn batches(n: usize, trips: usize, all: &RefCell<Vec<f64>>, mut round_trip: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..n)
        .map(|_| {
            let began = Instant::now();
            (0..trips).for_each(|_| round_trip());
            began.elapsed().as_secs_f64() * 1e6 / trips as f64
        })
        .collect();
    all.borrow_mut().extend_from_slice(&times);
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn place(cross: bool) {
    cpu::pin(if cross { Placement::Cross } else { Placement::Same }, Side::Far);
}

/// A typed end.
struct Typed {
    end: Duplex<Bytes, Bytes>,
    bytes: Bytes,
}

#[allow(clippy::needless_pass_by_value, reason = "a task takes its argument by value")]
fn echo_values((end, cross): (Duplex<Bytes, Bytes>, bool)) {
    place(cross);
    while let Ok(bytes) = end.recv() {
        end.send(&bytes).expect("sending");
    }
}

impl Near for Typed {
    fn start(placement: Placement, len: usize) -> (Self, Process) {
        let (end, theirs) = pipe().expect("a pipe");
        let process = spawn(echo_values, (theirs, placement == Placement::Cross)).expect("a process");
        (Self { end, bytes: vec![7; len].into() }, process)
    }

    fn round_trip(&mut self) {
        self.end.send(&self.bytes).expect("sending");
        assert_eq!(self.end.recv().expect("receiving").len(), self.bytes.len());
    }
}

/// An end of bytes, received into a buffer that is there.
struct Raw {
    end: Connection,
    buffer: Vec<u8>,
}

#[allow(clippy::needless_pass_by_value, reason = "a task takes its argument by value")]
fn echo_bytes((end, len, cross): (Connection, usize, bool)) {
    place(cross);
    let mut buffer = vec![0; len];
    while let Ok(n) = end.recv_bytes_into(&mut buffer) {
        end.send_bytes(&buffer[..n]).expect("sending");
    }
}

impl Near for Raw {
    fn start(placement: Placement, len: usize) -> (Self, Process) {
        let (end, theirs) = Connection::pair().expect("a pipe");
        let process = spawn(echo_bytes, (theirs, len, placement == Placement::Cross)).expect("a process");
        (Self { end, buffer: vec![7; len] }, process)
    }

    fn round_trip(&mut self) {
        self.end.send_bytes(&self.buffer).expect("sending");
        assert_eq!(self.end.recv_bytes_into(&mut self.buffer).expect("receiving"), self.buffer.len());
    }
}

/// The sockets that a pipe is made of, bare: packets into a buffer that is there.
struct Bare {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    for packet in bytes.chunks(PACKET) {
        rustix::net::send(socket, packet, SendFlags::NOSIGNAL).expect("sending");
    }
}

/// Fills `buffer`; `false` at the end.
fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> bool {
    let mut got = 0;
    while got < buffer.len() {
        match rustix::net::recv(socket, &mut buffer[got..], RecvFlags::empty()).expect("receiving") {
            (_, 0) => return false,
            (_, n) => got += n,
        }
    }
    true
}

fn echo_packets((socket, len, cross): (Descriptor, usize, bool)) {
    place(cross);
    let (socket, mut buffer) = (socket.into_owned().expect("a descriptor"), vec![0; len]);
    while recv(&socket, &mut buffer) {
        send(&socket, &buffer);
    }
}

impl Near for Bare {
    fn start(placement: Placement, len: usize) -> (Self, Process) {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair of sockets");
        let argument = (theirs.into(), len, placement == Placement::Cross);
        (Self { socket, buffer: vec![7; len] }, spawn(echo_packets, argument).expect("a process"))
    }

    fn round_trip(&mut self) {
        send(&self.socket, &self.buffer);
        assert!(recv(&self.socket, &mut self.buffer), "the echo has ended");
    }
}
