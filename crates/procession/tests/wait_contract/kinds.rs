//! The kinds of things that are waited for: how each is made, how another process makes it ready, and what it then says.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use procession_codec::{Descriptor, Message};
use procession_pipe::{Connection, Duplex, RecvHalf, Waitable};
use procession_process::{JoinError, Process, spawn};
use procession_queue::{
    JobReceiver, JobSender, Queue, Receiver, RecvError, SendFault, Sender, bounded, jobs,
};
use procession_sync::Event;

/// A thing to wait for, and what another process needs to make it ready.
pub(crate) trait Kind: 'static {
    type Thing: Waitable;
    type Other: Message + Send + 'static;
    /// Whether the death of the only one who could make it ready does so.
    const DIES: bool;
    /// A thing that is not ready.
    fn make() -> (Self::Thing, Self::Other);
    /// Makes it ready, in another process.
    fn fire(other: Self::Other);
    /// What is there can be had without waiting.
    fn check(thing: &Self::Thing);
    /// What is said after the death.
    fn check_dead(thing: &Self::Thing) {
        let _ = thing;
    }
}

pub(crate) struct OfDuplex;
impl Kind for OfDuplex {
    type Thing = Duplex<u8, u64>;
    type Other = Duplex<u64, u8>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        procession_pipe::pipe().unwrap()
    }
    fn fire(other: Self::Other) {
        other.send(&7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap(), 7);
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(procession_pipe::RecvError::Closed)));
    }
}

pub(crate) struct OfConnection;
impl Kind for OfConnection {
    type Thing = Connection;
    type Other = Connection;
    const DIES: bool = true;
    fn make() -> (Connection, Connection) {
        Connection::pair().unwrap()
    }
    fn fire(other: Connection) {
        other.send_bytes(b"").unwrap();
    }
    fn check(thing: &Connection) {
        assert_eq!(thing.try_recv_bytes().unwrap(), b"");
    }
    fn check_dead(thing: &Connection) {
        assert!(matches!(thing.try_recv_bytes(), Err(procession_pipe::RecvError::Closed)));
    }
}

pub(crate) struct OfChannel;
impl Kind for OfChannel {
    type Thing = procession_pipe::Receiver<u64>;
    type Other = procession_pipe::Sender<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (to, from) = procession_pipe::channel().unwrap();
        (from, to)
    }
    fn fire(other: Self::Other) {
        other.send(&7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap(), 7);
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(procession_pipe::RecvError::Closed)));
    }
}

pub(crate) struct OfChannelRoom;
impl Kind for OfChannelRoom {
    type Thing = procession_pipe::Sender<u64>;
    type Other = procession_pipe::Receiver<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (to, from) = procession_pipe::channel().unwrap();
        while to.try_send(&1).is_ok() {}
        (to, from)
    }
    fn fire(other: Self::Other) {
        while other.try_recv().is_ok() {}
    }
    fn check(thing: &Self::Thing) {
        match thing.try_send(&7) {
            Ok(()) | Err(procession_pipe::SendError::Closed) => {}
            other => panic!("{other:?}"),
        }
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_send(&7), Err(procession_pipe::SendError::Closed)));
    }
}

pub(crate) struct OfHalf;
impl Kind for OfHalf {
    type Thing = RecvHalf<u64>;
    type Other = Duplex<u64, u8>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (ours, theirs) = procession_pipe::pipe::<u8, u64>().unwrap();
        (ours.split().1, theirs)
    }
    fn fire(other: Self::Other) {
        other.send(&7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap(), 7);
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(procession_pipe::RecvError::Closed)));
    }
}

pub(crate) struct OfQueue;
impl Kind for OfQueue {
    type Thing = Receiver<u64>;
    type Other = Sender<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (tx, rx) = bounded(4).unwrap();
        (rx, tx)
    }
    fn fire(other: Self::Other) {
        other.send(7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap(), 7);
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(RecvError::Disconnected)));
    }
}

pub(crate) struct OfClosedQueue;
impl Kind for OfClosedQueue {
    type Thing = Receiver<u64>;
    type Other = Sender<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        OfQueue::make()
    }
    fn fire(other: Self::Other) {
        other.close();
    }
    fn check(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(RecvError::Closed)));
    }
}

pub(crate) struct OfQueueRoom;
impl Kind for OfQueueRoom {
    type Thing = Sender<u64>;
    type Other = Receiver<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (tx, rx) = bounded(2).unwrap();
        (0..2).for_each(|n| tx.send(n).unwrap());
        (tx, rx)
    }
    fn fire(other: Self::Other) {
        assert_eq!(other.recv().unwrap(), 0);
        // The only receiver goes away with this process: that is a second reason, and no other answer.
    }
    fn check(thing: &Self::Thing) {
        match thing.try_send(7).map_err(|e| e.into_parts().1) {
            Ok(()) | Err(SendFault::Disconnected) => {}
            other => panic!("{other:?}"),
        }
    }
    fn check_dead(thing: &Self::Thing) {
        let error = thing.try_send(7).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Disconnected | SendFault::Full), "{error}");
    }
}

pub(crate) struct OfBothEnds;
impl Kind for OfBothEnds {
    type Thing = Queue<u64>;
    type Other = Queue<u64>;
    const DIES: bool = false;
    fn make() -> (Self::Thing, Self::Other) {
        let queue = Queue::new(4).unwrap();
        (queue.clone(), queue)
    }
    fn fire(other: Self::Other) {
        other.send(7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap(), 7);
    }
}

pub(crate) struct OfJobs;
impl Kind for OfJobs {
    type Thing = JobReceiver<u64>;
    type Other = JobSender<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (tx, rx) = jobs(4).unwrap();
        (rx, tx)
    }
    fn fire(other: Self::Other) {
        other.send(7).unwrap();
    }
    fn check(thing: &Self::Thing) {
        assert_eq!(thing.try_recv().unwrap().into_inner(), 7);
    }
    fn check_dead(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(RecvError::Disconnected)));
    }
}

pub(crate) struct OfClosedJobs;
impl Kind for OfClosedJobs {
    type Thing = JobReceiver<u64>;
    type Other = JobSender<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        OfJobs::make()
    }
    fn fire(other: Self::Other) {
        other.close();
    }
    fn check(thing: &Self::Thing) {
        assert!(matches!(thing.try_recv(), Err(RecvError::Closed)));
    }
}

pub(crate) struct OfJobRoom;
impl Kind for OfJobRoom {
    type Thing = JobSender<u64>;
    type Other = JobReceiver<u64>;
    const DIES: bool = true;
    fn make() -> (Self::Thing, Self::Other) {
        let (tx, rx) = jobs(2).unwrap();
        (0..2).for_each(|n| tx.send(n).unwrap());
        (tx, rx)
    }
    fn fire(other: Self::Other) {
        assert_eq!(other.recv().unwrap().into_inner(), 0);
    }
    fn check(thing: &Self::Thing) {
        match thing.try_send(7).map_err(|e| e.into_parts().1) {
            Ok(()) | Err(SendFault::Disconnected) => {}
            other => panic!("{other:?}"),
        }
    }
    fn check_dead(thing: &Self::Thing) {
        let error = thing.try_send(7).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Disconnected), "{error}");
    }
}

pub(crate) struct OfEvent;
impl Kind for OfEvent {
    type Thing = Event;
    type Other = Event;
    const DIES: bool = false;
    fn make() -> (Event, Event) {
        let event = Event::new().unwrap();
        (event.clone(), event)
    }
    fn fire(other: Event) {
        other.set();
    }
    fn check(thing: &Event) {
        assert!(thing.try_wait());
    }
}

/// A process that ends when an event is set.
pub(crate) struct OfProcess;
impl Kind for OfProcess {
    type Thing = Process<u64>;
    type Other = Event;
    const DIES: bool = false;
    fn make() -> (Self::Thing, Event) {
        let event = Event::new().unwrap();
        let wait = |event: Event| {
            event.wait();
            7
        };
        (spawn(wait, event.clone()).unwrap(), event)
    }
    fn fire(other: Event) {
        other.set();
    }
    fn check(thing: &Self::Thing) {
        match thing.try_join() {
            Ok(Some(7)) | Err(JoinError::AlreadyTaken { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct OfForeign;
impl Kind for OfForeign {
    type Thing = UnixStream;
    type Other = Descriptor;
    const DIES: bool = true;
    fn make() -> (UnixStream, Descriptor) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, OwnedFd::from(theirs).into())
    }
    fn fire(other: Descriptor) {
        UnixStream::from(other.into_owned().unwrap()).write_all(b"x").unwrap();
    }
    fn check(mut thing: &UnixStream) {
        assert_eq!(thing.read(&mut [0]).unwrap(), 1);
    }
    fn check_dead(mut thing: &UnixStream) {
        assert_eq!(thing.read(&mut [0]).unwrap(), 0);
    }
}
