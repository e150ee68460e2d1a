//! Round trips: the same bytes there and back, over a [`Duplex`] and over what it is made of or could be.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use procession_codec::{Bytes, Descriptor};
use procession_floor::cpu::Placement;
use procession_floor::hybrid_ring::Hybrid;
use procession_floor::ring::{self, Peer};
use procession_pipe::{Duplex, pipe};
use procession_process::{Process, spawn};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

/// A near end whose far end sends everything back.
pub trait Echo: Sized {
    /// What it is called in results.
    const NAME: &'static str;

    /// For messages of `len` bytes each.
    fn new(len: usize) -> Self;

    /// Sends `bytes` there and waits until they are back.
    fn round_trip(&mut self, bytes: &Bytes);
}

/// A typed end; the other is in a process.
#[derive(Debug)]
pub struct Typed {
    end: Option<Duplex<Bytes, Bytes>>,
    process: Option<Process>,
}

#[allow(clippy::needless_pass_by_value, reason = "a task takes its argument by value")]
fn echo_values(end: Duplex<Bytes, Bytes>) {
    while let Ok(bytes) = end.recv() {
        if end.send(&bytes).is_err() {
            return;
        }
    }
}

impl Echo for Typed {
    const NAME: &'static str = "duplex";

    fn new(_len: usize) -> Self {
        let (ours, theirs) = pipe().expect("a pipe");
        Self { end: Some(ours), process: Some(spawn(echo_values, theirs).expect("a process")) }
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        let end = self.end.as_ref().expect("open until dropped");
        end.send(bytes).expect("sending");
        assert_eq!(end.recv().expect("receiving").len(), bytes.len());
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        drop(self.end.take());
        self.process.take().map(Process::join);
    }
}

/// The most bytes that go into one packet of a bare socket.
const PACKET: usize = 128 << 10;

/// The sockets that a [`Duplex`] is made of, bare: packets into a buffer that is there; the other end is in a process.
#[derive(Debug)]
pub struct Packets {
    socket: Option<OwnedFd>,
    buffer: Vec<u8>,
    process: Option<Process>,
}

fn send_packets(socket: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    for packet in bytes.chunks(PACKET) {
        rustix::net::send(&socket, packet, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Fills `buffer`; `false` at the end.
fn recv_packets(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<bool> {
    let mut got = 0;
    while got < buffer.len() {
        match rustix::net::recv(&socket, &mut buffer[got..], RecvFlags::empty())? {
            (_, 0) => return Ok(false),
            (_, n) => got += n,
        }
    }
    Ok(true)
}

fn echo_packets((socket, len): (Descriptor, usize)) {
    let mut buffer = vec![0; len];
    while let Ok(true) = recv_packets(&socket, &mut buffer) {
        if send_packets(&socket, &buffer).is_err() {
            return;
        }
    }
}

impl Echo for Packets {
    const NAME: &'static str = "seqpacket";

    fn new(len: usize) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair of sockets");
        let process = spawn(echo_packets, (theirs.into(), len)).expect("a process");
        Self { socket: Some(ours), buffer: vec![0; len], process: Some(process) }
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        let socket = self.socket.as_ref().expect("open until dropped");
        send_packets(socket, bytes).expect("sending");
        assert!(recv_packets(socket, &mut self.buffer).expect("receiving"));
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        drop(self.socket.take());
        self.process.take().map(Process::join);
    }
}

fn echo_bytes(mut from: impl Read, mut to: impl Write, len: usize) {
    let mut buffer = vec![0; len];
    while from.read_exact(&mut buffer).is_ok() && to.write_all(&buffer).is_ok() {}
}

/// The standard library's stream sockets; the other end is in a process.
#[derive(Debug)]
pub struct Stream {
    stream: Option<UnixStream>,
    buffer: Vec<u8>,
    process: Option<Process>,
}

fn echo_stream((stream, len): (Descriptor, usize)) {
    let stream = UnixStream::from(stream.into_owned().expect("a descriptor"));
    echo_bytes(&stream, &stream, len);
}

impl Echo for Stream {
    const NAME: &'static str = "stream";

    fn new(len: usize) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let process = spawn(echo_stream, (OwnedFd::from(theirs).into(), len)).expect("a process");
        Self { stream: Some(ours), buffer: vec![0; len], process: Some(process) }
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        let mut stream = self.stream.as_ref().expect("open until dropped");
        stream.write_all(bytes).expect("sending");
        stream.read_exact(&mut self.buffer).expect("receiving");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.stream.take());
        self.process.take().map(Process::join);
    }
}

/// The standard library's pipes, one for each direction; the other ends are in a process.
#[derive(Debug)]
pub struct Pipes {
    ends: Option<(PipeWriter, PipeReader)>,
    buffer: Vec<u8>,
    process: Option<Process>,
}

fn echo_pipes((from, to, len): (Descriptor, Descriptor, usize)) {
    let from = PipeReader::from(from.into_owned().expect("a descriptor"));
    let to = PipeWriter::from(to.into_owned().expect("a descriptor"));
    echo_bytes(from, to, len);
}

impl Echo for Pipes {
    const NAME: &'static str = "pipes";

    fn new(len: usize) -> Self {
        let (from, ours) = io::pipe().expect("a pipe");
        let (theirs, to) = io::pipe().expect("a pipe");
        let argument = (OwnedFd::from(from).into(), OwnedFd::from(to).into(), len);
        let process = spawn(echo_pipes, argument).expect("a process");
        Self { ends: Some((ours, theirs)), buffer: vec![0; len], process: Some(process) }
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        let (to, from) = self.ends.as_mut().expect("open until dropped");
        to.write_all(bytes).expect("sending");
        from.read_exact(&mut self.buffer).expect("receiving");
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        drop(self.ends.take());
        self.process.take().map(Process::join);
    }
}

/// The floor: a ring by hand in shared memory; the other end is in a forked process.
impl Echo for Peer<Hybrid> {
    const NAME: &'static str = "floor_hybrid_ring";

    fn new(len: usize) -> Self {
        ring::echo((4 * len).next_power_of_two().max(1 << 16), Placement::Anywhere)
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        Peer::round_trip(self, bytes);
    }
}

/// The standard library's channels, and a thread instead of a process; bytes are copied once each way.
#[derive(Debug)]
pub struct Channels {
    ends: Option<ChannelEnds>,
    thread: Option<JoinHandle<()>>,
}

type ChannelEnds = (mpsc::Sender<Vec<u8>>, mpsc::Receiver<Vec<u8>>);

impl Echo for Channels {
    const NAME: &'static str = "mpsc_threads";

    fn new(_len: usize) -> Self {
        let (ours, from) = mpsc::channel::<Vec<u8>>();
        let (to, theirs) = mpsc::channel();
        let thread =
            thread::spawn(move || from.iter().try_for_each(|bytes| to.send(bytes.clone())).unwrap_or(()));
        Self { ends: Some((ours, theirs)), thread: Some(thread) }
    }

    fn round_trip(&mut self, bytes: &Bytes) {
        let (to, from) = self.ends.as_ref().expect("open until dropped");
        to.send(bytes.to_vec()).expect("sending");
        assert_eq!(from.recv().expect("receiving").len(), bytes.len());
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        drop(self.ends.take());
        self.thread.take().map(JoinHandle::join);
    }
}
