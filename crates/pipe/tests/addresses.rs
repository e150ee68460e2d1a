//! Addresses: what cannot be one, what is left alone, and what others listen at.

mod meet;

use std::os::fd::OwnedFd;

use meet::{Directory, Kind, Place};
use procession_codec::Bytes;
use procession_pipe::{Address, AuthKey, Client, ConnectFault, Connection, Duplex, ListenFault, Listener};
use procession_testkit::counted;

#[test]
fn tcp_demands_a_key_or_a_word() {
    counted(|| {
        let place = Place::new(Kind::Tcp4, false);
        let error = Listener::bind(place.address()).unwrap_err();
        assert!(matches!(error.why, ListenFault::KeyNeeded));
        assert!(error.to_string().contains("give it a key"));
    });
}

#[test]
fn names_that_cannot_be() {
    counted(|| {
        let directory = Directory::new();
        let long = Address::path(directory.0.join("n".repeat(200)));
        assert!(matches!(Listener::bind(&long).unwrap_err().why, ListenFault::Os(_)));
        assert!(matches!(Client::connect(&long).unwrap_err().why, ConnectFault::Os(_)));
        std::fs::write(directory.name(), "precious").unwrap();
        let file = Address::path(directory.name());
        assert!(matches!(Listener::bind(&file).unwrap_err().why, ListenFault::NotASocket));
        assert_eq!(std::fs::read_to_string(directory.name()).unwrap(), "precious");
        assert!(matches!(Client::connect(&file).unwrap_err().why, ConnectFault::NobodyListens));
        let abstract_one = Address::Abstract("n".repeat(108));
        assert!(matches!(Listener::bind(&abstract_one).unwrap_err().why, ListenFault::Os(_)));
    });
}

/// A stream that some other crate connected, at both ends.
#[test]
fn streams_of_others_become_connections() {
    counted(|| {
        let directory = Directory::new();
        let listener = std::os::unix::net::UnixListener::bind(directory.name()).unwrap();
        let client = std::os::unix::net::UnixStream::connect(directory.name()).unwrap();
        let ours = Connection::try_from(OwnedFd::from(listener.accept().unwrap().0)).unwrap();
        let theirs = Connection::try_from(OwnedFd::from(client)).unwrap();
        let (ours, theirs): (Duplex<Bytes, ()>, Duplex<(), Bytes>) =
            (ours.into_duplex(), theirs.into_duplex());
        ours.send(&vec![7; 1000].into()).unwrap();
        assert_eq!(theirs.recv().unwrap()[..], [7; 1000]);
        // A listener of ours is not met by a stream, nor one of theirs by our client.
        let error = Client::connect(&Address::path(directory.name())).unwrap_err();
        assert!(matches!(error.why, ConnectFault::Foreign), "{error}");
    });
}

#[test]
fn a_key_does_not_show() {
    let key = AuthKey::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap();
    let listener = Listener::builder().key(key).bind(Address::unique().unwrap()).unwrap();
    let text = format!("{listener:?}");
    assert!(text.contains("AuthKey") && !text.contains("0123"), "{text}");
}
