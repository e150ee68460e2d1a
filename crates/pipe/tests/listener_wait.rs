//! Listeners as things that are waited for together with others.

use std::thread;

use procession_pipe::{AcceptError, Address, AuthKey, Client, Listener, pipe, try_wait, wait};
use procession_sys::Deadline;
use procession_sys::socket::{self, Endpoint};
use procession_testkit::counted;

fn listener(key: Option<&AuthKey>) -> Listener {
    let builder = Listener::builder();
    let builder = match key {
        Some(key) => builder.key(key.clone()),
        None => builder,
    };
    builder.bind(Address::unique().unwrap()).unwrap()
}

fn client(listener: &Listener, key: Option<&AuthKey>) -> impl FnOnce() -> u64 + Send + use<> {
    let address = listener.address().clone();
    let builder = match key {
        Some(key) => Client::builder().key(key.clone()),
        None => Client::builder(),
    };
    move || builder.connect_as::<u64, u64>(&address).unwrap().recv().unwrap()
}

/// Handshakes go on while the listener is waited for, and nobody accepts.
#[test]
fn a_client_that_is_let_in_makes_it_ready() {
    counted(|| {
        let key = AuthKey::random().unwrap();
        for key in [None, Some(&key)] {
            let (listener, (ours, _theirs)) = (listener(key), pipe::<u8, u8>().unwrap());
            assert!(try_wait(&[&ours, &listener]).unwrap().is_empty());
            let client = thread::spawn(client(&listener, key));
            assert_eq!(wait(&[&ours, &listener], None).unwrap(), [1]);
            listener.try_accept().unwrap().into_duplex::<u64, u64>().send(&7).unwrap();
            assert_eq!(client.join().unwrap(), 7);
            assert!(try_wait(&[&listener]).unwrap().is_empty());
        }
    });
}

/// Who has the key is let in, whoever was there before.
#[test]
fn strangers_do_not() {
    counted(|| {
        let key = AuthKey::random().unwrap();
        let listener = listener(Some(&key));
        let Address::Abstract(name) = listener.address() else { panic!("{}", listener.address()) };
        let strangers: Vec<_> = (0..3)
            .map(|_| socket::connect(Endpoint::Abstract(name.as_bytes()), Deadline::NEVER).unwrap())
            .collect();
        assert!(try_wait(&[&listener]).unwrap().is_empty());
        drop(strangers);
        let client = thread::spawn(client(&listener, Some(&key)));
        assert_eq!(wait(&[&listener], None).unwrap(), [0]);
        listener.try_accept().unwrap().into_duplex::<u64, u64>().send(&7).unwrap();
        client.join().unwrap();
        assert_eq!(listener.n_refused(), 3);
    });
}

#[test]
fn its_end_makes_it_ready() {
    counted(|| {
        let listener = listener(None);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(&[&listener], None).unwrap());
            listener.close();
            assert_eq!(waiter.join().unwrap(), [0]);
        });
        assert!(matches!(listener.try_accept(), Err(AcceptError::Closed)));
    });
}

/// Whoever accepts has the clients; who only waits comes back when it is over.
#[test]
fn beside_one_who_accepts() {
    counted(|| {
        let listener = listener(None);
        thread::scope(|scope| {
            let acceptor = scope.spawn(|| listener.accept().unwrap());
            let waiter = scope.spawn(|| wait(&[&listener], None).unwrap());
            let client = scope.spawn(client(&listener, None));
            acceptor.join().unwrap().into_duplex::<u64, u64>().send(&7).unwrap();
            assert_eq!(client.join().unwrap(), 7);
            listener.close();
            assert_eq!(waiter.join().unwrap(), [0]);
        });
    });
}
