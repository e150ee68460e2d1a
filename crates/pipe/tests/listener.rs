//! The contract of listeners and clients: the same at every kind of address, with a key and without.

mod meet;

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread;
use std::time::Instant;

use meet::{KINDS, Kind, Place, Raw, SOON, everywhere, expect_refusal};
use procession_codec::{Descriptor, EncodeError, HandleError};
use procession_pipe::{
    AcceptError, Address, ConnectFault, Connection, Duplex, ListenFault, Peer, RecvError, Refusal, SendError,
    pipe,
};
use procession_testkit::counted;

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn what_is_sent_arrives() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            for len in [0, 1, 2000, 200_000, 3 << 20] {
                thread::scope(|s| {
                    s.spawn(|| ours.send_bytes(&pattern(len)).unwrap());
                    let got = theirs.recv_bytes().unwrap();
                    theirs.send_bytes(&(got.len() as u64).to_le_bytes()).unwrap();
                    assert!(got == pattern(len));
                });
                assert_eq!(ours.recv_bytes().unwrap(), (len as u64).to_le_bytes());
            }
            ours.send_bytes(b"last").unwrap();
            drop(ours);
            assert_eq!(theirs.recv_bytes().unwrap(), b"last");
            assert!(matches!(theirs.recv_bytes(), Err(RecvError::Closed)));
            assert!(matches!(theirs.send_bytes(&pattern(9 << 20)), Err(SendError::Closed)));
        });
    });
}

#[test]
fn values_of_types() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            thread::scope(|s| {
                let client = s.spawn(|| {
                    let end =
                        place.client().connect_as::<(u32, String), Option<i64>>(listener.address()).unwrap();
                    end.send(&(7, "seven".into())).unwrap();
                    end.recv().unwrap()
                });
                let end = listener.accept_as::<Option<i64>, (u32, String)>().unwrap();
                assert_eq!(end.recv().unwrap(), (7, "seven".into()));
                end.send(&Some(-7)).unwrap();
                assert_eq!(client.join().unwrap(), Some(-7));
            });
        });
    });
}

/// Handles travel between processes of one machine; a stream refuses them before anything is sent.
#[test]
fn handles_travel_or_are_refused() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            let ours: Duplex<(Descriptor, u8), ()> = ours.into_duplex();
            let theirs: Duplex<(), (Descriptor, u8)> = theirs.into_duplex();
            let (reader, writer) = std::io::pipe().unwrap();
            let sent = ours.send(&(OwnedFd::from(writer).into(), 1));
            if place.kind.is_local() {
                sent.unwrap();
                let (writer, _) = theirs.recv().unwrap();
                File::from(writer.into_owned().unwrap()).write_all(b"through").unwrap();
                assert_eq!(std::io::read_to_string(reader).unwrap(), "through");
            } else {
                assert!(matches!(sent, Err(SendError::Encode(EncodeError::Handle(HandleError::NotCarried)))));
                assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
                // An end in such a message is still ours.
                let (ours, theirs): (Duplex<Duplex<u8, u8>, ()>, _) =
                    (Connection::from(ours).into_duplex(), theirs);
                let (a, b) = pipe::<u8, u8>().unwrap();
                assert!(ours.send(&a).is_err());
                a.send(&1).unwrap();
                assert_eq!(b.recv().unwrap(), 1);
                drop(theirs);
            }
        });
    });
}

#[test]
fn every_form_of_accepting_gives_up() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            assert!(matches!(listener.try_accept(), Err(AcceptError::Empty)));
            assert!(matches!(listener.accept_timeout(SOON), Err(AcceptError::TimedOut)));
            assert!(matches!(listener.accept_until(Instant::now()), Err(AcceptError::TimedOut)));
            // The same client is met by a later call.
            thread::scope(|s| {
                let client = s.spawn(|| place.client().connect(listener.address()).unwrap());
                let end = loop {
                    match listener.try_accept() {
                        Err(AcceptError::Empty) => thread::yield_now(),
                        accepted => break accepted.unwrap(),
                    }
                };
                end.send_bytes(b"met").unwrap();
                assert_eq!(client.join().unwrap().recv_bytes().unwrap(), b"met");
            });
            assert_eq!(listener.n_refused(), 0);
        });
    });
}

#[test]
fn a_client_gives_up_where_nobody_accepts() {
    counted(|| {
        everywhere(|place| {
            let listener = place.builder().backlog(1).bind(place.address()).unwrap();
            // Enough to fill what the kernel keeps, so that connecting itself has to wait.
            let waiting: Vec<_> = match place.kind.is_local() {
                true => (0..2).map(|_| Raw::connect(listener.address())).collect(),
                false => Vec::new(),
            };
            let error = place.client().timeout(SOON).connect(listener.address()).unwrap_err();
            assert!(matches!(error.why, ConnectFault::TimedOut), "{error}");
            assert_eq!(&error.address, listener.address());
            drop(waiting);
        });
    });
}

#[test]
fn nobody_listens() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let address = listener.address().clone();
            drop(listener);
            let error = place.client().connect(&address).unwrap_err();
            assert!(matches!(error.why, ConnectFault::NobodyListens), "{error}");
            assert!(error.to_string().ends_with("nobody listens there"));
        });
    });
}

#[test]
fn one_address_has_one_listener() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let again = place.builder().bind(listener.address());
            assert!(matches!(again.unwrap_err().why, ListenFault::InUse));
            let address = listener.address().clone();
            drop(listener);
            drop(place.builder().bind(&address).unwrap());
        });
    });
}

/// Forty at a time, two of whom accept; everybody speaks to everybody's own.
#[test]
fn many_clients_at_a_time() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            thread::scope(|s| {
                for n in 0..40_u64 {
                    let (place, address) = (&place, listener.address());
                    s.spawn(move || {
                        let end = place.client().connect_as::<u64, u64>(address).unwrap();
                        end.send(&n).unwrap();
                        assert_eq!(end.recv().unwrap(), n * n);
                    });
                }
                for _ in 0..2 {
                    s.spawn(|| {
                        for _ in 0..20 {
                            let end = listener.accept_as::<u64, u64>().unwrap();
                            end.send(&end.recv().unwrap().pow(2)).unwrap();
                        }
                    });
                }
            });
            assert_eq!(listener.n_refused(), 0);
        });
    });
}

/// More silent clients than there are places: the oldest go, and who speaks is let in.
#[test]
fn the_silent_are_in_nobodys_way() {
    counted(|| {
        everywhere(|place| {
            let listener = place.builder().max_handshakes(3).bind(place.address()).unwrap();
            let silent: Vec<_> = (0..8).map(|_| Raw::connect(listener.address())).collect();
            for _ in 0..2 {
                let (ours, theirs) = place.meet(&listener);
                ours.send_bytes(b"hello").unwrap();
                assert_eq!(theirs.recv_bytes().unwrap(), b"hello");
            }
            assert!((5..=7).contains(&listener.n_refused()), "{listener:?}");
            assert!(matches!(listener.take_last_refused().unwrap().why, Refusal::Crowded));
            drop(silent);
        });
    });
}

#[test]
fn the_silent_have_a_deadline() {
    counted(|| {
        everywhere(|place| {
            let listener = place.builder().handshake_timeout(SOON).bind(place.address()).unwrap();
            let silent = Raw::connect(listener.address());
            expect_refusal(&listener, |why| matches!(why, Refusal::TimedOut));
            assert_eq!(silent.hear(1), b"");
            let half = Raw::connect(listener.address());
            // Over packets there is no half of a hello.
            if !place.kind.is_local() {
                half.say(b"procHi");
            }
            expect_refusal(&listener, |why| matches!(why, Refusal::TimedOut));
            assert_eq!(half.hear(1), b"");
        });
    });
}

#[test]
fn keys_that_do_not_fit() {
    counted(|| {
        for kind in KINDS.into_iter().filter(|kind| kind.is_here()) {
            let (keyed, other, bare) =
                (Place::new(kind, true), Place::new(kind, true), Place::new(kind, false));
            let try_out = |listening: &Place, client: &Place| {
                let listener = listening.listen();
                thread::scope(|s| {
                    let client = s.spawn(|| client.client().connect(listener.address()).unwrap_err().why);
                    expect_refusal(&listener, |why| {
                        matches!(why, Refusal::WrongKey | Refusal::NoKey | Refusal::KeyNotShared)
                    });
                    // The listener is as good as before.
                    let fault = client.join().unwrap();
                    let (ours, theirs) = listening.meet(&listener);
                    ours.send_bytes(b"in").unwrap();
                    assert_eq!(theirs.recv_bytes().unwrap(), b"in");
                    fault
                })
            };
            assert!(matches!(try_out(&keyed, &other), ConnectFault::WrongKey));
            assert!(matches!(try_out(&keyed, &bare), ConnectFault::KeyNeeded));
            assert!(matches!(try_out(&bare, &keyed), ConnectFault::KeyNotShared));
        }
    });
}

#[test]
fn who_is_at_the_other_end() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            if place.kind.is_local() {
                for end in [ours, theirs] {
                    let Some(Peer::Local { pid, uid, .. }) = end.peer() else { panic!("{:?}", end.peer()) };
                    assert_eq!((pid, uid), (std::process::id(), procession_sys::socket::our_user()));
                }
            } else {
                let Address::Tcp(address) = listener.address() else { panic!("{listener:?}") };
                assert_eq!(theirs.peer(), Some(Peer::Tcp(*address)));
                assert!(matches!(ours.peer(), Some(Peer::Tcp(client)) if client.ip() == address.ip()));
            }
        });
    });
}

#[test]
fn limits_are_those_of_each_side() {
    counted(|| {
        everywhere(|place| {
            let listener = place.builder().message_limit(1000).bind(place.address()).unwrap();
            thread::scope(|s| {
                let client =
                    s.spawn(|| place.client().message_limit(3000).connect(listener.address()).unwrap());
                let (ours, theirs) = (listener.accept().unwrap(), client.join().unwrap());
                assert!(matches!(
                    ours.send_bytes(&[0; 1001]),
                    Err(SendError::TooLarge { len: 1001, limit: 1000 })
                ));
                theirs.send_bytes(&[0; 3000]).unwrap();
                theirs.send_bytes(b"next").unwrap();
                assert!(matches!(ours.recv_bytes(), Err(RecvError::TooLarge { len: 3000, limit: 1000 })));
                assert_eq!(ours.recv_bytes().unwrap(), b"next");
            });
        });
    });
}

#[test]
fn closing_wakes_and_frees() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            let silent = Raw::connect(listener.address());
            thread::scope(|s| {
                let accepting = [(); 2].map(|()| s.spawn(|| listener.accept()));
                let incoming = s.spawn(|| listener.incoming().count());
                assert!(matches!(listener.accept_timeout(SOON), Err(AcceptError::TimedOut)));
                listener.close();
                for thread in accepting {
                    assert!(matches!(thread.join().unwrap(), Err(AcceptError::Closed)));
                }
                assert_eq!(incoming.join().unwrap(), 0);
            });
            listener.close();
            assert!(matches!(listener.try_accept(), Err(AcceptError::Closed)));
            assert_eq!(silent.hear(1), b"");
            let error = place.client().connect(listener.address()).unwrap_err();
            assert!(matches!(error.why, ConnectFault::NobodyListens), "{error}");
            drop(place.builder().bind(listener.address()).unwrap());
            ours.send_bytes(b"still here").unwrap();
            assert_eq!(theirs.recv_bytes().unwrap(), b"still here");
        });
    });
}

/// A connection that was accepted is handed on, as to a worker.
#[test]
fn connections_move() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            let (carrier, carried) = pipe::<Connection, ()>().unwrap();
            theirs.send_bytes(b"one").unwrap();
            carrier.send(&ours).unwrap();
            assert!(matches!(ours.send_bytes(b""), Err(SendError::Moved)));
            let ours = carried.recv().unwrap();
            thread::scope(|s| {
                s.spawn(|| theirs.send_bytes(&pattern(300_000)).unwrap());
                assert_eq!(ours.recv_bytes().unwrap(), b"one");
                assert!(ours.recv_bytes().unwrap() == pattern(300_000));
            });
        });
    });
}

/// A sender that gave up on a stream owes the rest of a frame: it stays where it is until that is paid.
#[test]
fn a_stream_that_owes_does_not_move() {
    counted(|| {
        let place = Place::new(Kind::Tcp4, false);
        let listener = place.listen();
        let (ours, theirs) = place.meet(&listener);
        let large = pattern(20 << 20);
        assert!(matches!(ours.send_bytes_timeout(&large, SOON), Err(SendError::TimedOut)));
        let (carrier, carried) = pipe::<Connection, ()>().unwrap();
        match carrier.send(&ours) {
            Err(SendError::Encode(EncodeError::Handle(HandleError::Busy))) => {}
            other => panic!("{other:?}"),
        }
        thread::scope(|s| {
            s.spawn(|| ours.send_bytes(b"after").unwrap());
            assert_eq!(theirs.recv_bytes().unwrap(), b"after");
        });
        carrier.send(&ours).unwrap();
        carried.recv().unwrap().send_bytes(b"moved").unwrap();
        assert_eq!(theirs.recv_bytes().unwrap(), b"moved");
    });
}

/// Each end that came of a meeting is closed when another program is executed, and the listener too.
#[test]
fn nothing_is_inherited() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let (ours, theirs) = place.meet(&listener);
            let flags = std::process::Command::new("ls").arg("-l").arg("/proc/self/fd").output().unwrap();
            let text = String::from_utf8_lossy(&flags.stdout).into_owned();
            assert!(!text.contains("socket:"), "{text}");
            for end in [&ours, &theirs] {
                assert!(end.descriptor().unwrap().as_fd().as_raw_fd() > 2);
            }
        });
    });
}
