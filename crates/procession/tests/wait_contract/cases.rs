//! What is true of each kind of thing.

use std::thread;
use std::time::Duration;

use procession_pipe::{try_wait, wait, wait_timeout};
use procession_process::{JoinError, spawn};
use procession_sync::Event;

use crate::kinds::Kind;

/// A time for what is expected not to happen.
pub(crate) const SOON: Duration = Duration::from_millis(5);
/// A time that nothing here takes.
const FAR: Duration = Duration::from_secs(50);

/// Both ways, asleep and on its way there, are right.
pub(crate) fn until_others_most_likely_sleep() {
    for _ in 0..200 {
        thread::yield_now();
    }
}

pub(crate) fn ready_before<K: Kind>() {
    let (thing, other) = K::make();
    assert!(try_wait(&[&thing]).unwrap().is_empty());
    spawn(K::fire, other).unwrap().join().unwrap();
    // Of a process it is only the end that comes a little later.
    assert_eq!(wait(&[&thing], None).unwrap(), [0]);
    assert_eq!(try_wait(&[&thing]).unwrap(), [0]);
    assert_eq!(try_wait(&[&thing, &thing]).unwrap(), [0, 1]);
    K::check(&thing);
}

fn fire_when_told<K: Kind>((go, other): (Event, K::Other)) {
    go.wait();
    until_others_most_likely_sleep();
    K::fire(other);
}

pub(crate) fn becomes_ready_while_waiting<K: Kind>() {
    for _ in 0..3 {
        let (thing, other) = K::make();
        let (never, go) = (Event::new().unwrap(), Event::new().unwrap());
        let peer = spawn(fire_when_told::<K>, (go.clone(), other)).unwrap();
        go.set();
        assert_eq!(wait(&[&thing], FAR).unwrap(), [0]);
        // Together with words and with descriptors.
        let (_to, pipe) = procession_pipe::channel::<u8>().unwrap();
        assert_eq!(wait(&[&never, &thing], None).unwrap(), [1]);
        assert_eq!(wait(&[&pipe, &thing, &never], None).unwrap(), [1]);
        peer.join().unwrap();
        K::check(&thing);
    }
}

pub(crate) fn timeout<K: Kind>() {
    let (thing, other) = K::make();
    let (never, (_to, pipe)) = (Event::new().unwrap(), procession_pipe::channel::<u8>().unwrap());
    assert!(wait_timeout(&[&thing], SOON).unwrap().is_empty());
    assert!(wait_timeout(&[&thing, &never], SOON).unwrap().is_empty());
    assert!(wait(&[&pipe, &thing], SOON).unwrap().is_empty());
    assert!(wait(&[&pipe, &thing, &never], std::time::Instant::now() + SOON).unwrap().is_empty());
    spawn(K::fire, other).unwrap().join().unwrap();
    assert_eq!(wait(&[&pipe, &thing, &never], Some(FAR)).unwrap(), [1]);
}

fn hold<K: Kind>((there, _other): (Event, K::Other)) {
    there.set();
    loop {
        thread::park();
    }
}

pub(crate) fn peer_killed_while_waiting<K: Kind>() {
    for is_mixed in [false, true] {
        let (thing, other) = K::make();
        let (there, (_to, pipe)) = (Event::new().unwrap(), procession_pipe::channel::<u8>().unwrap());
        let peer = spawn(hold::<K>, (there.clone(), other)).unwrap();
        there.wait();
        let killed = thread::scope(|s| {
            let killer = s.spawn(|| {
                until_others_most_likely_sleep();
                peer.kill().unwrap();
                peer.wait().unwrap();
            });
            let limit = if K::DIES { FAR } else { 4 * SOON };
            let ready = if is_mixed { wait(&[&thing, &pipe], limit) } else { wait(&[&thing], limit) };
            killer.join().unwrap();
            ready.unwrap()
        });
        assert_eq!(killed, if K::DIES { vec![0] } else { vec![] });
        assert!(matches!(peer.join(), Err(JoinError::Killed { .. })));
        K::check_dead(&thing);
    }
}

pub(crate) fn never_ready_hides_nothing<K: Kind>() {
    let (never, _other) = K::make();
    let (thing, go) = K::make();
    let (event, (to, pipe)) = (Event::new().unwrap(), procession_pipe::channel::<u8>().unwrap());
    to.send(&1).unwrap();
    assert_eq!(wait(&[&never, &pipe], None).unwrap(), [1]);
    event.set();
    assert_eq!(wait(&[&event, &never, &pipe], None).unwrap(), [0, 2]);
    let peer = spawn(K::fire, go).unwrap();
    assert_eq!(wait(&[&never, &thing], None).unwrap(), [1]);
    peer.join().unwrap();
    K::check(&thing);
    assert!(try_wait(&[&never]).unwrap().is_empty());
}
