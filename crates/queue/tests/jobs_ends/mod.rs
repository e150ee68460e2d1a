//! The ends of a queue of jobs as those of a channel of numbers: what is received is done at once.

use std::time::Duration;

use procession_queue::{Job, JobReceiver, JobSender, RecvError, SendError, SendFault};

use crate::suite::{Closes, Fault, Gauge, Rx, Tx};

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

impl Tx for JobSender<u64> {
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

impl Rx for JobReceiver<u64> {
    fn recv(&self) -> Result<u64, Fault> {
        Self::recv(self).map(Job::into_inner).map_err(fault)
    }

    fn try_recv(&self) -> Result<u64, Fault> {
        Self::try_recv(self).map(Job::into_inner).map_err(fault)
    }

    fn recv_timeout(&self, time: Duration) -> Result<u64, Fault> {
        Self::recv_timeout(self, time).map(Job::into_inner).map_err(fault)
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        Self::iter(self).map(Job::into_inner)
    }

    fn try_iter(&self) -> impl Iterator<Item = u64> {
        std::iter::from_fn(|| Self::try_recv(self).ok()).map(Job::into_inner)
    }

    fn into_iter(self) -> impl Iterator<Item = u64> {
        IntoIterator::into_iter(self).map(Job::into_inner)
    }
}

macro_rules! both_ends {
    ($($end:ident)*) => { $(
        impl Gauge for $end<u64> {
            fn gauge(&self) -> (usize, bool, bool, usize) {
                (self.len(), self.is_empty(), self.len() == self.capacity(), self.capacity())
            }
        }

        impl Closes for $end<u64> {
            fn close(&self) {
                Self::close(self);
            }

            fn is_closed(&self) -> bool {
                Self::is_closed(self)
            }
        }
    )* };
}

both_ends!(JobSender JobReceiver);
