//! The bars of pipes: round trips of ours against the bare sockets they are made of, in one run, each with its verdict.
//!
//! `cargo bench --package procession-benches --bench pipe_bars` measures all; the arguments and the verdicts are those of
//! the bench `bars`. The two sides are two processes: `cross` on a processor each, `same` on one.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "bars/report.rs"]
mod report;

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use procession_codec::Bytes;
use procession_floor::cpu::Placement;
use procession_floor::judge::Bar::AtMost;
use procession_floor::scenario::{Effort, round_trip};
use procession_pipe::pipe;
use report::Report;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

/// The most bytes of one packet of the bare sockets.
const PACKET: usize = 128 << 10;

fn main() {
    let mut report = Report::from_args();
    for (len, name, bar) in
        [(8, "8 B", 1.15), (1 << 10, "1 KiB", 1.15), (64 << 10, "64 KiB", 1.15), (1 << 20, "1 MiB", 1.15)]
    {
        for (placement, place) in [(Placement::Cross, "cross"), (Placement::Same, "same")] {
            let name = format!("duplex, {name}, {place} / seqpacket");
            typed(&mut report, &name, placement, len, bar);
        }
    }
    report.end();
}

fn typed(report: &mut Report, name: &str, placement: Placement, len: usize, bar: f64) {
    let effort = report.effort();
    let mut ours = || {
        let (near, far) = pipe::<Bytes, Bytes>().expect("a pipe");
        let bytes = Bytes::from(vec![7; len]);
        let ping = || {
            near.send(&bytes).expect("sending");
            assert_eq!(near.recv().expect("receiving").len(), len);
        };
        let pong = || far.send(&far.recv().expect("receiving")).expect("sending");
        round_trip(&effort, placement, ping, pong)
    };
    let mut floor = || bare(&effort, placement, len);
    report.judge(name, "µs", AtMost(bar), &mut ours, &mut floor);
}

fn bare(effort: &Effort, placement: Placement, len: usize) -> f64 {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("a pair of sockets");
    let buffers = [(); 2].map(|()| RefCell::new(vec![7_u8; len]));
    let ping = || {
        send(&near, &buffers[0].borrow());
        recv(&near, &mut buffers[0].borrow_mut());
    };
    let pong = || {
        recv(&far, &mut buffers[1].borrow_mut());
        send(&far, &buffers[1].borrow());
    };
    round_trip(effort, placement, ping, pong)
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    for packet in bytes.chunks(PACKET) {
        rustix::net::send(socket, packet, SendFlags::NOSIGNAL).expect("sending");
    }
}

fn recv(socket: &OwnedFd, buffer: &mut [u8]) {
    let mut got = 0;
    while got < buffer.len() {
        got += rustix::net::recv(socket, &mut buffer[got..], RecvFlags::empty()).expect("receiving").1;
    }
}
