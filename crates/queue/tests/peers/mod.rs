//! The channels of threads, which say what is expected of ours.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crossbeam_channel as crossbeam;
use procession_codec::Message;

use crate::suite::{Ends, Fault, Gauge, Peer, Rx, Tx, World};

/// Runs a task in a thread.
pub(crate) fn start<A: Send + 'static, R: Send + 'static>(task: fn(A) -> R, argument: A) -> Peer<R> {
    let thread = thread::spawn(move || task(argument));
    Peer(Box::new(move || thread.join().unwrap()))
}

pub(crate) struct Crossbeam;
pub(crate) struct Mpsc;

impl World for Crossbeam {
    type Tx = crossbeam::Sender<u64>;
    type Rx = crossbeam::Receiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        crossbeam::bounded(n)
    }

    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R> {
        start(task, ends)
    }
}

impl World for Mpsc {
    type Tx = mpsc::SyncSender<u64>;
    type Rx = mpsc::Receiver<u64>;

    fn make(n: usize) -> (Self::Tx, Self::Rx) {
        mpsc::sync_channel(n)
    }

    fn start<R: Message + Send + 'static>(task: fn(Ends<Self>) -> R, ends: Ends<Self>) -> Peer<R> {
        start(task, ends)
    }
}

impl Tx for crossbeam::Sender<u64> {
    fn send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::send(self, n).map_err(|crossbeam::SendError(n)| (n, Fault::Disconnected))
    }

    fn try_send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::try_send(self, n).map_err(|error| match error {
            crossbeam::TrySendError::Full(n) => (n, Fault::Full),
            crossbeam::TrySendError::Disconnected(n) => (n, Fault::Disconnected),
        })
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Option<Result<(), (u64, Fault)>> {
        Some(Self::send_timeout(self, n, time).map_err(|error| match error {
            crossbeam::SendTimeoutError::Timeout(n) => (n, Fault::TimedOut),
            crossbeam::SendTimeoutError::Disconnected(n) => (n, Fault::Disconnected),
        }))
    }
}

impl Rx for crossbeam::Receiver<u64> {
    fn recv(&self) -> Result<u64, Fault> {
        Self::recv(self).map_err(|_| Fault::Disconnected)
    }

    fn try_recv(&self) -> Result<u64, Fault> {
        Self::try_recv(self).map_err(|error| match error {
            crossbeam::TryRecvError::Empty => Fault::Empty,
            crossbeam::TryRecvError::Disconnected => Fault::Disconnected,
        })
    }

    fn recv_timeout(&self, time: Duration) -> Result<u64, Fault> {
        Self::recv_timeout(self, time).map_err(|error| match error {
            crossbeam::RecvTimeoutError::Timeout => Fault::TimedOut,
            crossbeam::RecvTimeoutError::Disconnected => Fault::Disconnected,
        })
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        Self::iter(self)
    }

    fn try_iter(&self) -> impl Iterator<Item = u64> {
        Self::try_iter(self)
    }

    fn into_iter(self) -> impl Iterator<Item = u64> {
        IntoIterator::into_iter(self)
    }
}

impl Gauge for crossbeam::Sender<u64> {
    fn gauge(&self) -> (usize, bool, bool, usize) {
        (self.len(), self.is_empty(), self.is_full(), self.capacity().unwrap())
    }
}

impl Gauge for crossbeam::Receiver<u64> {
    fn gauge(&self) -> (usize, bool, bool, usize) {
        (self.len(), self.is_empty(), self.is_full(), self.capacity().unwrap())
    }
}

impl Tx for mpsc::SyncSender<u64> {
    fn send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::send(self, n).map_err(|mpsc::SendError(n)| (n, Fault::Disconnected))
    }

    fn try_send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::try_send(self, n).map_err(|error| match error {
            mpsc::TrySendError::Full(n) => (n, Fault::Full),
            mpsc::TrySendError::Disconnected(n) => (n, Fault::Disconnected),
        })
    }

    fn send_timeout(&self, _: u64, _: Duration) -> Option<Result<(), (u64, Fault)>> {
        None
    }
}

impl Rx for mpsc::Receiver<u64> {
    fn recv(&self) -> Result<u64, Fault> {
        Self::recv(self).map_err(|_| Fault::Disconnected)
    }

    fn try_recv(&self) -> Result<u64, Fault> {
        Self::try_recv(self).map_err(|error| match error {
            mpsc::TryRecvError::Empty => Fault::Empty,
            mpsc::TryRecvError::Disconnected => Fault::Disconnected,
        })
    }

    fn recv_timeout(&self, time: Duration) -> Result<u64, Fault> {
        Self::recv_timeout(self, time).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Fault::TimedOut,
            mpsc::RecvTimeoutError::Disconnected => Fault::Disconnected,
        })
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        Self::iter(self)
    }

    fn try_iter(&self) -> impl Iterator<Item = u64> {
        Self::try_iter(self)
    }

    fn into_iter(self) -> impl Iterator<Item = u64> {
        IntoIterator::into_iter(self)
    }
}
