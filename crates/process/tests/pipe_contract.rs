//! The contract of pipes with the other end in another process: `contract::pipe::duplex::spawn::<case>`. Its cases are
//! those of the crate that makes pipes; those that need a process to be killed or stopped are here.

#[path = "../../pipe/tests/suite/mod.rs"]
mod suite;

use std::time::Duration;

use procession_codec::{Bytes, Message};
use procession_pipe::{Duplex, RecvError, SendError, pipe};
use procession_process::{JoinError, Process, spawn};
use procession_testkit::processes::{Identity, Signal, State};
use suite::{FAR, Method, Peer, SOON, pattern};

/// The other end is a process of its own.
struct Processes;

impl Method for Processes {
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static,
    {
        let process = spawn(task, argument).unwrap();
        Peer(Box::new(move || process.join().unwrap()))
    }
}

suite::contract!(spawn, crate::Processes;
    killed::while_it_does_nothing
    killed::while_it_sends
    killed::while_it_receives
    killed::while_an_end_is_on_its_way
    stopped::a_stopped_process_is_only_slow
);

const LARGE: usize = 50 << 20;

fn large() -> Bytes {
    vec![7; LARGE].into()
}

/// Kills a child and waits until the kernel is through with it.
fn kill<R: Message + std::fmt::Debug>(process: Process<R>) {
    process.kill().unwrap();
    assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
}

mod killed {
    use super::*;

    fn answer_once_and_wait(end: Duplex<u8, u8>) {
        end.send(&end.recv().unwrap()).unwrap();
        let _ = end.recv();
    }

    pub(super) fn while_it_does_nothing() {
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let process = spawn(answer_once_and_wait, theirs).unwrap();
        ours.send(&1).unwrap();
        assert!(ours.wait_readable(FAR).unwrap());
        kill(process);
        assert_eq!(ours.recv().unwrap(), 1);
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        assert!(matches!(ours.try_recv(), Err(RecvError::Closed)));
        assert!(matches!(ours.send(&1), Err(SendError::Closed)));
    }

    fn send_small_and_large(end: Duplex<Bytes, u8>) {
        end.send(&pattern(9)).unwrap();
        end.send(&large()).unwrap();
    }

    pub(super) fn while_it_sends() {
        let (ours, theirs) = pipe::<u8, Bytes>().unwrap();
        let process = spawn(send_small_and_large, theirs).unwrap();
        assert_eq!(ours.recv().unwrap(), pattern(9));
        // The beginning of the large one is there, and most of it does not fit.
        assert!(ours.wait_readable(FAR).unwrap());
        kill(process);
        match ours.recv() {
            // Of so much: a byte for each, and their number.
            Err(RecvError::ClosedInside { got, of }) => {
                assert_eq!(of, LARGE as u64 + 4);
                assert!(0 < got && got < 1 << 20, "{got}");
            }
            other => panic!("{:?}", other.map(|bytes| bytes.len())),
        }
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    }

    /// Is inside of the large message when it says so: one that is refused is refused at its first packet.
    fn receive_some((say, end): (Duplex<(), ()>, Duplex<u8, Bytes>)) {
        let end = end.with_limit(1000);
        assert!(matches!(end.recv(), Err(RecvError::TooLarge { .. })));
        say.send(&()).unwrap();
        let _ = say.recv();
    }

    pub(super) fn while_it_receives() {
        for timeout in [None, Some(FAR)] {
            let (ours, theirs) = pipe::<Bytes, u8>().unwrap();
            let (heard, say) = pipe::<(), ()>().unwrap();
            let process = spawn(receive_some, (say, theirs)).unwrap();
            std::thread::scope(|s| {
                let sender = s.spawn(|| match timeout {
                    None => ours.send(&large()),
                    Some(timeout) => ours.send_timeout(&large(), timeout),
                });
                heard.recv().unwrap();
                kill(process);
                assert!(matches!(sender.join().unwrap(), Err(SendError::Closed)));
            });
            assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        }
    }

    /// Sends an end to itself, where it waits to be received.
    fn put_on_its_way((end, into, from): Ends) {
        into.send(&end).unwrap();
        end.send(&1).unwrap_err();
        into.send(&end).unwrap_err();
        let _ = from.wait_readable(FAR);
        std::process::abort();
    }

    type End = Duplex<u8, u8>;
    type Ends = (End, Duplex<End, u8>, Duplex<u8, End>);

    /// An end that nobody received and nobody can receive any more is closed.
    pub(super) fn while_an_end_is_on_its_way() {
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let (into, from) = pipe::<End, u8>().unwrap();
        let process = spawn(put_on_its_way, (theirs, into, from)).unwrap();
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
    }
}

mod stopped {
    use super::*;

    fn echo(end: Duplex<Bytes, Bytes>) {
        while let Ok(bytes) = end.recv() {
            end.send(&bytes).unwrap();
        }
    }

    pub(super) fn a_stopped_process_is_only_slow() {
        let (ours, theirs) = pipe::<Bytes, Bytes>().unwrap();
        let process = spawn(echo, theirs).unwrap();
        ours.send(&pattern(1)).unwrap();
        assert_eq!(ours.recv().unwrap(), pattern(1));
        let identity = Identity::of(process.pid()).unwrap();
        identity.kill(Signal::STOP).unwrap();
        while identity.state() != Some(State::Stopped) {
            std::thread::yield_now();
        }
        ours.send(&pattern(2)).unwrap();
        assert!(matches!(ours.recv_timeout(SOON), Err(RecvError::TimedOut)));
        assert!(matches!(ours.try_recv(), Err(RecvError::Empty)));
        assert!(!ours.wait_readable(SOON).unwrap());
        assert!(matches!(ours.send_timeout(&pattern(5 << 20), SOON), Err(SendError::TimedOut)));
        assert!(matches!(ours.try_send(&pattern(3)), Err(SendError::Full)));
        assert!(process.wait_timeout(Duration::ZERO).unwrap().is_none());
        identity.kill(Signal::CONT).unwrap();
        assert_eq!(ours.recv_timeout(FAR).unwrap(), pattern(2));
        ours.send(&pattern(4)).unwrap();
        assert_eq!(ours.recv().unwrap(), pattern(4));
        drop(ours);
        process.join().unwrap();
    }
}
