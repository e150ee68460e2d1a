//! Proxies as values: whoever holds one keeps the object, and nobody else.

mod support;

use std::fs::File;
use std::io::Write;

use procession_codec::handles;
use procession_codec::{Codec, Postcard};
use procession_manager::{CallError, Dict, Manager};
use procession_pipe::{Address, AuthKey, Client, Connection, Duplex, pipe};
use procession_process::{Process, spawn};
use procession_testkit::guarded;
use support::{await_clients, await_objects};

type Inner = Dict<u8, u8>;

#[test]
fn an_object_goes_with_its_last_proxy() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        let other = dict.clone();
        assert!(dict.is_same(&other) && !dict.is_same(&manager.dict().unwrap()));
        await_objects(&manager, 1);
        drop(dict);
        other.insert(1, 1).unwrap();
        assert_eq!(manager.counts().unwrap().objects, 1);
        drop(other);
        await_objects(&manager, 0);
    });
}

#[test]
fn a_proxy_in_a_message_keeps_its_object_until_nobody_can_receive_it() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (ours, theirs) = pipe::<Inner, Inner>().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        dict.insert(1, 7).unwrap();
        ours.send(&dict).unwrap();
        drop(dict);
        let other = manager.dict::<u8, u8>().unwrap();
        ours.send(&other).unwrap();
        drop(other);
        assert_eq!(theirs.recv().unwrap().get(&1).unwrap(), Some(7));
        await_objects(&manager, 1);
        drop((ours, theirs));
        await_objects(&manager, 0);
    });
}

#[test]
fn a_proxy_in_another_object_is_alive_there() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let outer = manager.dict::<String, Inner>().unwrap();
        let inner = manager.dict().unwrap();
        inner.insert(1, 1).unwrap();
        outer.insert("inner".into(), inner).unwrap();
        let task = |outer: Dict<String, Inner>| {
            let inner = outer.get("inner").unwrap().unwrap();
            inner.update(1, |n, by| *n += by, 41).unwrap();
        };
        spawn(task, outer.clone()).unwrap().join().unwrap();
        assert_eq!(outer.get("inner").unwrap().unwrap().get(&1).unwrap(), Some(42));
        assert_eq!(manager.counts().unwrap().objects, 2);
        drop(outer.remove("inner").unwrap());
        await_objects(&manager, 1);
        outer.insert("again".into(), manager.dict().unwrap()).unwrap();
        drop(outer);
        await_objects(&manager, 0);
    });
}

#[test]
fn a_killed_client_leaves_nothing() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (ours, theirs) = pipe::<(), Inner>().unwrap();
        let task = |(dict, end): (Inner, Duplex<Inner, ()>)| {
            dict.insert(1, 1).unwrap();
            end.send(&dict).unwrap();
            dict.wait_for(&2).unwrap();
        };
        let child = spawn(task, (manager.dict().unwrap(), theirs)).unwrap();
        drop(ours.recv().unwrap());
        await_clients(&manager, 2);
        assert_eq!(manager.counts().unwrap().objects, 1);
        child.kill().unwrap();
        assert!(child.join().is_err());
        await_clients(&manager, 1);
        await_objects(&manager, 0);
    });
}

#[test]
fn a_forked_child_has_a_connection_of_its_own() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, u8>().unwrap();
        dict.insert(1, 1).unwrap();
        let (ours, theirs) = pipe::<(), ()>().unwrap();
        // None of the other threads is in a lock of ours, or prints.
        let child = Process::builder().allow_threads(true).fork(|| {
            for n in 0..20 {
                dict.insert(2, n).unwrap();
                assert_eq!(dict.get(&2).unwrap(), Some(n));
            }
            theirs.send(&()).unwrap();
            theirs.recv().unwrap();
            (manager.dict::<u8, u8>().is_err(), manager.shutdown(std::time::Duration::ZERO).is_none())
        });
        ours.recv().unwrap();
        assert_eq!(manager.counts().unwrap().clients, 2);
        ours.send(&()).unwrap();
        assert_eq!(child.unwrap().join().unwrap(), (true, true));
        assert_eq!(dict.get(&2).unwrap(), Some(19));
        await_clients(&manager, 1);
    });
}

/// The ticket of a proxy.
fn ticket(dict: &Inner) -> std::os::fd::OwnedFd {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(dict, &mut bytes)).unwrap();
    outgoing.descriptors().next().unwrap().try_clone_to_owned().unwrap()
}

#[test]
fn nonsense_at_a_door_ends_the_object_of_that_door_at_most() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (dict, other) = (manager.dict::<u8, u8>().unwrap(), manager.dict::<u8, u8>().unwrap());
        dict.insert(1, 1).unwrap();
        let talking = Connection::try_from(ticket(&dict)).unwrap();
        for n in [0, 1, 100, 5000] {
            talking.send_bytes(&vec![7; n]).unwrap();
        }
        assert_eq!(dict.get(&1).unwrap(), Some(1));
        File::from(ticket(&other)).write_all(&[0xff; 4096]).unwrap();
        await_objects(&manager, 1);
        assert!(matches!(other.get(&1), Err(CallError::Refused(_))));
        assert_eq!(dict.get(&1).unwrap(), Some(1));
    });
}

/// The entrance of the server of a proxy, and its key.
fn entrance(dict: &Inner) -> (Address, AuthKey) {
    let mut bytes = Vec::new();
    drop(handles::collect(|| Postcard::encode_into(dict, &mut bytes)).unwrap());
    let ((name, key), ..) = Postcard::decode::<((u128, [u8; 16]), u64, u32, u32)>(&bytes).unwrap();
    (Address::Abstract(format!("procession-manager-{name:032x}")), AuthKey::from_bytes(key).unwrap())
}

#[test]
fn clients_without_the_key_that_are_silent_or_talk_nonsense_are_in_nobodys_way() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict: Inner = manager.dict().unwrap();
        let (address, key) = entrance(&dict);
        let keyed = Client::builder().key(key);
        assert!(Client::builder().key(AuthKey::random().unwrap()).connect(&address).is_err());
        assert!(Client::connect(&address).is_err());
        let silent: Vec<_> = (0..10).map(|_| keyed.connect(&address).unwrap()).collect();
        for n in [0, 1, 10, 1000, 100_000] {
            let nonsense = keyed.connect(&address).unwrap();
            nonsense.send_bytes(&vec![0xff; n]).unwrap();
            assert!(nonsense.recv_bytes().is_err(), "it is cut off");
        }
        // A request as number 3, of the server, to be of version 99.
        let old = keyed.connect(&address).unwrap();
        old.send_bytes(&[3, 0, 0, 99]).unwrap();
        assert!(String::from_utf8_lossy(&old.recv_bytes().unwrap()).contains("version 1, and not 99"));
        assert!(old.recv_bytes().is_err());
        // One of the right version, that then asks for what there is not, and goes on with nonsense.
        let odd = keyed.connect(&address).unwrap();
        odd.send_bytes(&[3, 0, 0, 1]).unwrap();
        odd.recv_bytes().unwrap();
        await_clients(&manager, 2);
        odd.send_bytes(&[4, 77, 2]).unwrap();
        assert!(String::from_utf8_lossy(&odd.recv_bytes().unwrap()).contains("no such object"));
        odd.send_bytes(&[0xff; 99]).unwrap();
        assert!(odd.recv_bytes().is_err());
        await_clients(&manager, 1);
        assert_eq!(dict.insert(1, 2).unwrap(), None);
        drop(silent);
        assert_eq!(dict.get(&1).unwrap(), Some(2));
    });
}
