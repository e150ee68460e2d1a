//! Ours as a channel of numbers.

use std::time::Duration;

use procession_queue::{Receiver, RecvError, SendError, SendFault, Sender};

use super::{Closes, Fault, Gauge, Rx, Tx};

fn unsent(error: SendError<u64>) -> (u64, Fault) {
    let (n, fault) = error.into_parts();
    let fault = match fault {
        SendFault::Full => Fault::Full,
        SendFault::TimedOut => Fault::TimedOut,
        SendFault::Closed => Fault::Closed,
        SendFault::Disconnected => Fault::Disconnected,
        _ => Fault::Other,
    };
    (n, fault)
}

fn fault(error: RecvError) -> Fault {
    match error {
        RecvError::Empty => Fault::Empty,
        RecvError::TimedOut => Fault::TimedOut,
        RecvError::Closed => Fault::Closed,
        RecvError::Disconnected => Fault::Disconnected,
        _ => Fault::Other,
    }
}

impl Tx for Sender<u64> {
    fn send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::send(self, n).map_err(unsent)
    }

    fn try_send(&self, n: u64) -> Result<(), (u64, Fault)> {
        Self::try_send(self, n).map_err(unsent)
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Option<Result<(), (u64, Fault)>> {
        Some(Self::send_timeout(self, n, time).map_err(unsent))
    }
}

impl Rx for Receiver<u64> {
    fn recv(&self) -> Result<u64, Fault> {
        Self::recv(self).map_err(fault)
    }

    fn try_recv(&self) -> Result<u64, Fault> {
        Self::try_recv(self).map_err(fault)
    }

    fn recv_timeout(&self, time: Duration) -> Result<u64, Fault> {
        Self::recv_timeout(self, time).map_err(fault)
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

impl Gauge for Sender<u64> {
    fn gauge(&self) -> (usize, bool, bool, usize) {
        (self.len(), self.is_empty(), self.is_full(), self.capacity())
    }
}

impl Gauge for Receiver<u64> {
    fn gauge(&self) -> (usize, bool, bool, usize) {
        (self.len(), self.is_empty(), self.is_full(), self.capacity())
    }
}

impl Closes for Sender<u64> {
    fn close(&self) {
        Self::close(self);
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

impl Closes for Receiver<u64> {
    fn close(&self) {
        Self::close(self);
    }

    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}
