//! Strangers at a listener, and strangers who listen: nothing they say is worth anything without the key, here and now.
//!
//! What the handshake consists of is written in `src/handshake.rs`; here its bytes are said by hand, over both transports.

mod meet;

use std::thread;

use meet::{Place, Raw, RawListener, everywhere, expect_refusal};
use procession_codec::Bytes;
use procession_pipe::{
    Address, AuthKey, Client, ConnectFault, Duplex, Listener, RecvError, Refusal, SendError,
};
use procession_testkit::counted;

const HELLO: usize = 48;
const PROOF: usize = 32;
const VERDICT: usize = 33;

/// A hello with a random part that is none.
fn hello(role: u8, keyed: bool, address: &Address, status: u8) -> Vec<u8> {
    let kind = match address {
        Address::Path(_) => 1,
        Address::Abstract(_) => 2,
        _ => 3,
    };
    [&b"procHi\r\n\x01\0"[..], &[role, keyed.into(), kind, status, 0, 0], &[9; 32]].concat()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// An honest client is let in after whatever was done to the listener.
fn is_well(place: &Place, listener: &Listener) {
    let (ours, theirs) = place.meet(listener);
    ours.send_bytes(b"well").unwrap();
    assert_eq!(theirs.recv_bytes().unwrap(), b"well");
}

#[test]
fn garbage_instead_of_a_hello() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let keyed = place.key.is_some();
            let good = hello(1, keyed, listener.address(), 0);
            let mut noise = vec![
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                vec![0; HELLO],
                vec![0xff; 100_000],
                hello(2, keyed, listener.address(), 0),
                [&good[..11], &[7], &good[12..]].concat(),
                [&good[..14], &[1], &good[15..]].concat(),
                // The head of a message with a length that is none: no room is made for it.
                [&b"pMg1\0\0\0\0"[..], &(1_u64 << 63).to_le_bytes()].concat(),
                [&b"\xff\xff\xff\xff"[..], &(1_u64 << 63).to_be_bytes()].concat(),
            ];
            if place.kind.is_local() {
                noise.push(good[..HELLO - 1].to_vec());
                noise.push([&good[..], b"!"].concat());
            }
            let before = resident();
            for bytes in noise {
                let client = Raw::connect(listener.address());
                client.say(&bytes);
                expect_refusal(&listener, |why| matches!(why, Refusal::Foreign));
            }
            assert!(resident() < before + (8 << 20));
            is_well(place, &listener);
        });
    });
}

#[test]
fn clients_that_go_at_every_step() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let good = hello(1, place.key.is_some(), listener.address(), 0);
            drop(Raw::connect(listener.address()));
            expect_refusal(&listener, |why| matches!(why, Refusal::Gone));
            if !place.kind.is_local() {
                for n in [1, 9, HELLO - 1] {
                    Raw::connect(listener.address()).say(&good[..n]);
                    expect_refusal(&listener, |why| matches!(why, Refusal::Gone));
                }
            }
            if place.key.is_some() {
                let client = Raw::connect(listener.address());
                client.say(&good);
                assert!(matches!(listener.try_accept(), Err(procession_pipe::AcceptError::Empty)));
                assert_eq!(client.hear(HELLO).len(), HELLO);
                drop(client);
                expect_refusal(&listener, |why| matches!(why, Refusal::Gone));
            }
            is_well(place, &listener);
        });
    });
}

#[test]
fn another_version_is_named_on_both_sides() {
    counted(|| {
        everywhere(|place| {
            let listener = place.listen();
            let client = Raw::connect(listener.address());
            let mut said = hello(1, place.key.is_some(), listener.address(), 0);
            said[8..10].copy_from_slice(&[0x34, 0x12]);
            client.say(&said);
            expect_refusal(&listener, |why| matches!(why, Refusal::OtherVersion { theirs: 0x1234 }));
            assert_eq!(client.hear(HELLO)[..10], *b"procHi\r\n\x01\0");
        });
        for tcp in [false, true] {
            let fault = met_by(tcp, None, |client| {
                client.hear(HELLO);
                let mut said = [0; HELLO];
                said[..10].copy_from_slice(b"procHi\r\n\x07\0");
                client.say(&said);
            });
            assert!(matches!(fault, ConnectFault::OtherVersion { theirs: 7 }), "{fault:?}");
        }
    });
}

/// What a client with this key answers to who plays the listener.
fn met_by(tcp: bool, key: Option<&AuthKey>, play: impl FnOnce(&Raw) + Send) -> ConnectFault {
    let listener = RawListener::new(tcp);
    thread::scope(|s| {
        s.spawn(|| play(&listener.accept()));
        let client = Client::builder().timeout(meet::FAR);
        let client = match key {
            Some(key) => client.key(key.clone()),
            None => client,
        };
        client.connect(&listener.address).unwrap_err().why
    })
}

#[test]
fn who_listens_is_a_stranger() {
    counted(|| {
        let key = AuthKey::random().unwrap();
        for tcp in [false, true] {
            let address = RawListener::new(tcp).address;
            let from_listener = |keyed, status| hello(2, keyed, &address, status);
            let says = |bytes: Vec<u8>, key| met_by(tcp, key, move |client| client.say(&bytes));
            // Silence, and going away.
            assert!(matches!(met_by(tcp, None, |_| ()), ConnectFault::Closed));
            // Another protocol.
            for noise in
                [b"SSH-2.0-x\r\n".to_vec(), vec![0; HELLO], hello(1, false, &address, 0), vec![b'x'; 100_000]]
            {
                let fault = says(noise, None);
                assert!(matches!(fault, ConnectFault::Foreign), "{fault:?}");
            }
            // Reasons that it may give.
            assert!(matches!(says(from_listener(false, 1), None), ConnectFault::WeAreOtherUser));
            assert!(matches!(says(from_listener(true, 2), None), ConnectFault::KeyNeeded));
            assert!(matches!(says(from_listener(false, 3), Some(&key)), ConnectFault::KeyNotShared));
            // It cannot talk us out of the key.
            assert!(matches!(says(from_listener(false, 0), Some(&key)), ConnectFault::KeyNotShared));
            // Nor welcome us without it.
            let fault = met_by(tcp, Some(&key), |client| {
                client.hear(HELLO);
                client.say(&from_listener(true, 0));
                client.hear(PROOF);
                client.say(&[0; VERDICT]);
            });
            assert!(matches!(fault, ConnectFault::WrongKey), "{fault:?}");
        }
    });
}

/// The stranger has no key, and gives back what it got: our hello, then our proof.
#[test]
fn reflections() {
    counted(|| {
        let key = AuthKey::random().unwrap();
        for tcp in [false, true] {
            let fault = met_by(tcp, Some(&key), |client| client.say(&client.hear(HELLO)));
            assert!(matches!(fault, ConnectFault::Foreign), "{fault:?}");
            let fault = met_by(tcp, Some(&key), |client| {
                let mut said = client.hear(HELLO);
                said[10] = 2; // the same random bytes, in the other role
                client.say(&said);
                client.say(&[&[0], &client.hear(PROOF)[..]].concat());
            });
            assert!(matches!(fault, ConnectFault::WrongKey), "{fault:?}");
        }
        everywhere(|place| {
            if place.key.is_none() {
                return;
            }
            let listener = place.listen();
            thread::scope(|s| {
                s.spawn(|| {
                    let client = Raw::connect(listener.address());
                    client.say(&hello(1, true, listener.address(), 0));
                    let heard = client.hear(HELLO);
                    client.say(&heard[16..]);
                    // No proof of the listener's comes back, only that ours was none.
                    assert_eq!(client.hear(VERDICT), [&[4][..], &[0; PROOF]].concat());
                    assert_eq!(client.hear(1), b"");
                });
                expect_refusal(&listener, |why| matches!(why, Refusal::WrongKey));
            });
        });
    });
}

/// Somebody in between passes on everything, and keeps a copy: what the client said, and what the listener said.
fn recorded(place: &Place, listener: &Listener) -> [Vec<u8>; 2] {
    let between = RawListener::new(!place.kind.is_local());
    thread::scope(|s| {
        let tape = s.spawn(|| {
            let (client, onward) = (between.accept(), Raw::connect(listener.address()));
            let mut tape = [Vec::new(), Vec::new()];
            for (n, from_client) in [(HELLO, true), (HELLO, false), (PROOF, true), (VERDICT, false)] {
                let (from, to) = if from_client { (&client, &onward) } else { (&onward, &client) };
                let heard = from.hear(n);
                to.say(&heard);
                tape[usize::from(!from_client)].extend(heard);
            }
            tape
        });
        let accepted = s.spawn(|| listener.accept_timeout(meet::FAR));
        drop(place.client().connect(&between.address).unwrap());
        drop(accepted.join().unwrap().unwrap());
        tape.join().unwrap()
    })
}

#[test]
fn replays() {
    counted(|| {
        everywhere(|place| {
            // Between a path and an abstract name a relay is refused: `relays`.
            if place.key.is_none() || place.kind == meet::Kind::Path {
                return;
            }
            let listener = place.listen();
            let [client_said, listener_said] = recorded(place, &listener);
            // To the same listener, and to another with the same key.
            let other = place.builder().bind(place.address()).unwrap();
            for listener in [&listener, &other] {
                thread::scope(|s| {
                    s.spawn(|| {
                        let client = Raw::connect(listener.address());
                        client.say(&client_said[..HELLO]);
                        let heard = client.hear(HELLO);
                        assert_ne!(heard, listener_said[..HELLO]);
                        client.say(&client_said[HELLO..]);
                        assert_eq!(client.hear(VERDICT)[0], 4);
                    });
                    expect_refusal(listener, |why| matches!(why, Refusal::WrongKey));
                });
            }
            // To a client.
            let fault = met_by(!place.kind.is_local(), place.key.as_ref(), |client| {
                client.hear(HELLO);
                client.say(&listener_said[..HELLO]);
                client.hear(PROOF);
                client.say(&listener_said[HELLO..]);
            });
            assert!(matches!(fault, ConnectFault::WrongKey), "{fault:?}");
        });
    });
}

/// Who listens in the network and passes on to a listener of this machine, which trusts others.
#[test]
fn relays() {
    counted(|| {
        let key = AuthKey::random().unwrap();
        let listener = Listener::builder().key(key.clone()).bind(Address::unique().unwrap()).unwrap();
        let fault = met_by(true, Some(&key), |client| {
            let onward = Raw::connect(listener.address());
            onward.say(&client.hear(HELLO));
            expect_refusal(&listener, |why| matches!(why, Refusal::Relayed));
            client.say(&onward.hear(HELLO));
        });
        assert!(matches!(fault, ConnectFault::Relayed), "{fault:?}");
        // One that changes what is said about the kind, so that both are content with the hellos.
        let fault = met_by(true, Some(&key), |client| {
            let onward = Raw::connect(listener.address());
            let mut said = client.hear(HELLO);
            said[12] = 2;
            onward.say(&said);
            assert!(matches!(listener.try_accept(), Err(procession_pipe::AcceptError::Empty)));
            let mut heard = onward.hear(HELLO);
            heard[12] = 3;
            client.say(&heard);
            onward.say(&client.hear(PROOF));
            expect_refusal(&listener, |why| matches!(why, Refusal::WrongKey));
            client.say(&onward.hear(VERDICT));
        });
        assert!(matches!(fault, ConnectFault::WrongKey), "{fault:?}");
    });
}

/// Nothing is decoded and no room is made before a client is let in; afterwards a length is only a number.
#[test]
fn a_length_beyond_everything_once_let_in() {
    counted(|| {
        everywhere(|place| {
            if place.key.is_some() {
                return;
            }
            let listener = place.builder().message_limit(u64::MAX).bind(place.address()).unwrap();
            let strict = place.builder().message_limit(1000).bind(place.address_beside()).unwrap();
            for (listener, is_refused) in [(&listener, false), (&strict, true)] {
                let client = Raw::connect(listener.address());
                client.say(&hello(1, false, listener.address(), 0));
                let end: Duplex<(), Bytes> = listener.accept().unwrap().into_duplex();
                assert_eq!(client.hear(HELLO).len(), HELLO);
                let before = resident();
                client.say(&[&b"pMg1\0\0\0\0"[..], &(1_u64 << 63).to_le_bytes(), &[7; 100]].concat());
                let answer = end.try_recv();
                match is_refused {
                    true => {
                        assert!(matches!(answer, Err(RecvError::TooLarge { limit: 1000, .. })), "{answer:?}");
                    }
                    false => assert!(matches!(answer, Err(RecvError::Empty)), "{answer:?}"),
                }
                assert!(resident() < before + (8 << 20));
                drop(client);
                match end.recv() {
                    Err(RecvError::ClosedInside { got: 100, of }) if !is_refused => assert_eq!(of, 1 << 63),
                    Err(RecvError::Closed) if is_refused => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    });
}

/// Many at a time who say nothing, nonsense or a false proof, and stay: the honest are let in among them, and what the
/// listener keeps is bounded.
#[test]
fn a_crowd_of_strangers() {
    counted(|| {
        everywhere(|place| {
            if place.key.is_none() {
                return;
            }
            let listener = place.builder().max_handshakes(8).bind(place.address()).unwrap();
            let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            let before = n_open();
            let mut strangers = Vec::new();
            for n in 0..60 {
                let client = Raw::connect(listener.address());
                match n % 3 {
                    0 => {}
                    1 => client.say(&[b'x'; 100]),
                    _ => client.say(&hello(1, true, listener.address(), 0)),
                }
                strangers.push(client);
                if n % 20 == 19 {
                    is_well(place, &listener);
                    assert!(n_open() <= before + strangers.len() + 8);
                }
            }
            assert!(listener.n_refused() >= 20 + 32, "{listener:?}");
            is_well(place, &listener);
            // Who made room for others was cut off.
            assert_eq!(strangers[0].hear(1), b"");
        });
    });
}

/// Descriptors that a stranger sends along are closed.
#[test]
fn descriptors_beside_a_hello() {
    use procession_sys::{Deadline, socket};
    use std::os::fd::AsFd;
    counted(|| {
        let listener = Listener::bind(Address::unique().unwrap()).unwrap();
        let client = Raw::connect(listener.address());
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let bytes = hello(1, false, listener.address(), 0);
        let parts = [std::io::IoSlice::new(&bytes)];
        socket::send_packet(&client.socket, &parts, &[file.as_fd(); 200], Deadline::now()).unwrap();
        let end = listener.accept().unwrap();
        drop(client);
        assert!(matches!(end.send_bytes(b"x"), Err(SendError::Closed)));
    });
}
