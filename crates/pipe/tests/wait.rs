//! Ends of pipes that are waited for together with others.

use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use procession_pipe::{
    At, Connection, Duplex, Readable, Waitable, Writable, channel, pipe, try_wait, wait, wait_timeout,
    wait_until,
};
use procession_testkit::counted;

const SOON: Duration = Duration::from_millis(5);
const FAR: Duration = Duration::from_secs(50);

#[test]
fn every_form_of_a_limit() {
    counted(|| {
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        let things: [&dyn Waitable; 1] = [&ours];
        assert!(try_wait(&things).unwrap().is_empty());
        assert!(wait(&things, SOON).unwrap().is_empty());
        assert!(wait(&things, Some(SOON)).unwrap().is_empty());
        assert!(wait(&things, Instant::now() + SOON).unwrap().is_empty());
        assert!(wait_timeout(&things, SOON).unwrap().is_empty());
        assert!(wait_until(&things, Instant::now()).unwrap().is_empty());
        assert_eq!(wait(&[&ours, &At(Instant::now() + SOON)], None).unwrap(), [1]);
        theirs.send(&1).unwrap();
        assert_eq!(wait(&things, None).unwrap(), [0]);
        assert_eq!(wait_timeout(&things, FAR).unwrap(), [0]);
        assert_eq!(wait(&things, procession_sys::Deadline::NEVER).unwrap(), [0]);
        // Nothing can ever be ready.
        assert!(wait(&[], None).unwrap().is_empty());
    });
}

#[test]
fn a_listener_is_ready_when_somebody_wants_to_be_accepted() {
    counted(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (ours, _theirs) = Connection::pair().unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|s| {
            let client = s.spawn(move || TcpStream::connect(address).unwrap());
            assert_eq!(wait(&[&ours, &listener], None).unwrap(), [1]);
            let (server, client) = (listener.accept().unwrap().0, client.join().unwrap());
            assert_eq!(wait(&[&Readable(&server), &Writable(&server)], FAR).unwrap(), [1]);
            drop(client);
            assert_eq!(wait(&[&ours, &server], None).unwrap(), [1]);
        });
    });
}

/// The next call on it answers at once, so nobody waits for it.
#[test]
fn an_end_that_was_moved_is_ready() {
    counted(|| {
        let (carrier, other) = pipe::<Duplex<u8, u8>, u8>().unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        carrier.send(&ours).unwrap();
        assert_eq!(wait(&[&theirs, &ours], None).unwrap(), [1]);
        drop(other);
    });
}

#[test]
fn an_end_moves_after_a_wait() {
    counted(|| {
        let (carrier, other) = pipe::<Duplex<u8, u8>, u8>().unwrap();
        let (ours, theirs) = pipe::<u8, u8>().unwrap();
        assert!(wait(&[&ours], SOON).unwrap().is_empty());
        carrier.send(&ours).unwrap();
        theirs.send(&1).unwrap();
        drop((other, theirs));
    });
}

#[test]
fn three_hundred_ends() {
    counted(|| {
        let (to, from): (Vec<_>, Vec<_>) = (0..300).map(|_| channel::<usize>().unwrap()).unzip();
        let things: Vec<&dyn Waitable> = from.iter().map(|from| from as &dyn Waitable).collect();
        thread::scope(|s| {
            s.spawn(|| to[222].send(&7).unwrap());
            assert_eq!(wait(&things, None).unwrap(), [222]);
        });
        to[3].send(&7).unwrap();
        assert_eq!(wait(&things, None).unwrap(), [3, 222]);
    });
}
