//! Listeners and clients in processes of their own: killed, of other users, racing for a name.

mod meet;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::Duration;

use meet::{Directory, FAR, Place, everywhere, expect_refusal};
use procession_pipe::{
    Address, AuthKey, Client, ConnectFault, Connection, ListenFault, Listener, ListenerBuilder, Peer,
    RecvError, Refusal, SendError,
};
use procession_sys::socket::our_user;
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{counted, guarded, need};

const HOUR: Duration = Duration::from_secs(40);

/// The key that a role is told, and the address.
fn told() -> (Option<AuthKey>, Address) {
    let key = std::env::var("KEY").ok().map(|text| AuthKey::from_bytes(text).unwrap());
    (key, std::env::var("ADDRESS").unwrap().parse().unwrap())
}

fn tell(name: &str, place: &Place, address: &Address) -> Role {
    let role = Role::new(name).env("ADDRESS", address.to_string());
    match &place.key {
        Some(key) => role.env("KEY", std::str::from_utf8(key.as_bytes()).unwrap()),
        None => role,
    }
}

/// As [`Place::new`], with keys that are text.
fn readable(place: &Place) -> Place {
    let key = place.key.as_ref().map(|_| AuthKey::from_bytes(b"0123456789abcdef0123456789abcdef").unwrap());
    Place { key, ..Place::new(place.kind, false) }
}

fn builder(key: Option<AuthKey>) -> ListenerBuilder {
    match key {
        Some(key) => Listener::builder().key(key),
        None => Listener::builder().allow_strangers(true),
    }
}

fn connect(key: Option<AuthKey>, address: &Address) -> Result<Connection, ConnectFault> {
    let client = Client::builder().timeout(FAR);
    let client = match key {
        Some(key) => client.key(key),
        None => client,
    };
    client.connect(address).map_err(|error| error.why)
}

/// What `say` and `hear` of the roles below lead to.
fn hears(role: &mut RoleProcess) -> String {
    role.hear(HOUR).unwrap()
}

#[test]
fn clients_in_processes_are_met_and_killed() {
    if roles::role().is_some() {
        let (key, address) = told();
        let end = connect(key, &address).unwrap();
        end.send_bytes(&std::process::id().to_le_bytes()).unwrap();
        // A message that does not fit: half of it is under way when the end comes.
        roles::say("sending");
        let _ = end.send_bytes(&vec![7; 30 << 20]);
        return;
    }
    counted(|| {
        everywhere(|place| {
            let place = readable(place);
            let listener = place.listen();
            let mut clients: Vec<_> =
                (0..3).map(|_| tell("client", &place, listener.address()).spawn()).collect();
            let mut ends = Vec::new();
            for _ in 0..3 {
                let end = listener.accept_timeout(FAR).unwrap();
                let pid = u32::from_le_bytes(end.recv_bytes().unwrap().try_into().unwrap());
                assert!(clients.iter().any(|client| client.pid() == pid));
                if place.kind.is_local() {
                    assert!(matches!(end.peer(), Some(Peer::Local { pid: seen, .. }) if seen == pid));
                }
                ends.push(end);
            }
            for client in &mut clients {
                assert_eq!(hears(client), "sending");
            }
            for end in &ends {
                assert!(end.poll(FAR).unwrap());
            }
            clients.iter_mut().for_each(RoleProcess::kill_and_reap);
            for end in ends {
                assert!(
                    matches!(end.recv_bytes(), Err(RecvError::ClosedInside { of, .. }) if of == 30 << 20)
                );
                assert!(matches!(end.recv_bytes(), Err(RecvError::Closed)));
                // Few bytes TCP would take, and lose, until it hears that nobody is there.
                assert!(matches!(end.send_bytes(&vec![7; 9 << 20]), Err(SendError::Closed)));
            }
            // The listener is none the worse.
            let (ours, theirs) = place.meet(&listener);
            ours.send_bytes(b"well").unwrap();
            assert_eq!(theirs.recv_bytes().unwrap(), b"well");
        });
    });
}

/// The listener is killed with one client let in, one in the handshake, one not accepted; then its address is taken over.
#[test]
fn a_listener_is_killed() {
    if roles::role().is_some() {
        let (key, address) = told();
        let listener = builder(key).bind(address).unwrap();
        roles::say(&listener.address().to_string());
        let _end = listener.accept().unwrap();
        roles::say("accepted");
        let _ = roles::hear();
        return;
    }
    counted(|| {
        everywhere(|place| {
            let place = readable(place);
            let mut process = tell("listener", &place, &place.address()).spawn();
            let address: Address = hears(&mut process).parse().unwrap();
            let end = connect(place.key.clone(), &address).unwrap();
            assert_eq!(hears(&mut process), "accepted");
            thread::scope(|s| {
                let waiting = [(); 2].map(|()| s.spawn(|| connect(place.key.clone(), &address)));
                process.kill_and_reap();
                for client in waiting {
                    let fault = client.join().unwrap().unwrap_err();
                    assert!(matches!(fault, ConnectFault::Closed | ConnectFault::NobodyListens), "{fault:?}");
                }
            });
            assert!(matches!(end.recv_bytes(), Err(RecvError::Closed)));
            let fault = connect(place.key.clone(), &address).unwrap_err();
            assert!(matches!(fault, ConnectFault::NobodyListens), "{fault:?}");
            if let Address::Path(path) = &address {
                assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
            }
            let listener = place.builder().bind(&address).unwrap();
            let (ours, theirs) = place.meet(&listener);
            ours.send_bytes(b"reclaimed").unwrap();
            assert_eq!(theirs.recv_bytes().unwrap(), b"reclaimed");
        });
    });
}

/// Processes bind to one name, dead or free, at a time: one gets it each time, and is met there.
#[test]
fn processes_race_for_a_name() {
    if roles::role().is_some() {
        let (_, address) = told();
        roles::say("ready");
        while let Some(line) = roles::hear() {
            let bound = match line.as_str() {
                "bind" => Listener::bind(&address),
                _ => continue,
            };
            match bound {
                Ok(listener) => {
                    roles::say("won");
                    let end = listener.accept_timeout(FAR).unwrap();
                    assert_eq!(roles::hear().as_deref(), Some("leave"));
                    drop(end);
                    // As a killed one leaves it: the file stays.
                    let Address::Path(path) = &address else { panic!("{address}") };
                    let aside = path.with_extension("aside");
                    fs::rename(path, &aside).unwrap();
                    drop(listener);
                    fs::rename(aside, path).unwrap();
                    roles::say("left");
                }
                Err(error) if matches!(error.why, ListenFault::InUse) => roles::say("lost"),
                Err(error) => panic!("{error}"),
            }
        }
        return;
    }
    guarded(|| {
        let directory = Directory::new();
        let address = Address::path(directory.name());
        let mut racers: Vec<_> =
            (0..3).map(|_| Role::new("racer").env("ADDRESS", address.to_string()).spawn()).collect();
        for racer in &mut racers {
            assert_eq!(hears(racer), "ready");
        }
        for round in 0..150 {
            racers.iter_mut().for_each(|racer| racer.say("bind"));
            let answers: Vec<_> = racers.iter_mut().map(hears).collect();
            assert_eq!(answers.iter().filter(|answer| *answer == "won").count(), 1, "{round}: {answers:?}");
            let winner = answers.iter().position(|answer| answer == "won").unwrap();
            let end = Client::connect(&address).unwrap();
            let pid = racers[winner].pid();
            assert!(matches!(end.peer(), Some(Peer::Local { pid: seen, .. }) if seen == pid));
            racers[winner].say("leave");
            assert_eq!(hears(&mut racers[winner]), "left");
            assert!(directory.name().exists());
        }
        for mut racer in racers {
            racer.hush();
            racer.wait_with_output(HOUR).expect_success();
        }
        // One that is really killed.
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    });
}

/// A process of another user, where one can be started: neither is let in by the other, unless both allow it.
#[test]
fn other_users() {
    const NOBODY: u32 = 65534;
    if let Some(role) = roles::role() {
        let (key, address) = told();
        let client = |client: procession_pipe::ClientBuilder| client.timeout(FAR).connect(&address);
        let fault = match role.as_str() {
            // It sees that the listener is another's before it says anything.
            "careful" => client(Client::builder()).unwrap_err().why,
            "trusting" => client(Client::builder().allow_other_users(true)).unwrap_err().why,
            _ => {
                let end = client(Client::builder().allow_other_users(true).key(key.unwrap())).unwrap();
                return end.send_bytes(b"in").unwrap();
            }
        };
        match (role.as_str(), fault) {
            ("careful", ConnectFault::OtherUser { uid: 0 }) | ("trusting", ConnectFault::WeAreOtherUser) => {}
            (_, fault) => panic!("{fault:?}"),
        }
        return;
    }
    if our_user() != 0 && !need("root") {
        return;
    }
    counted(|| {
        let directory = Directory::new();
        fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o755)).unwrap();
        for address in [Address::unique().unwrap(), Address::path(directory.name())] {
            let start = |name: &str| {
                let role = Role::new(name).env("ADDRESS", address.to_string()).env("KEY", "0123456789abcdef");
                role.into_command().uid(NOBODY).gid(NOBODY).spawn().unwrap()
            };
            let listener = Listener::builder().mode(0o666).bind(&address).unwrap();
            for name in ["careful", "trusting"] {
                let mut client = start(name);
                expect_refusal(&listener, |why| matches!(why, Refusal::OtherUser | Refusal::Gone));
                assert!(client.wait().unwrap().success(), "{name}");
            }
            drop(listener);
            let key = AuthKey::from_bytes(b"0123456789abcdef").unwrap();
            let listener =
                Listener::builder().mode(0o666).allow_other_users(true).key(key).bind(&address).unwrap();
            let mut client = start("allowed");
            let end = listener.accept_timeout(FAR).unwrap();
            assert_eq!(end.recv_bytes().unwrap(), b"in");
            assert!(matches!(end.peer(), Some(Peer::Local { uid: NOBODY, .. })));
            assert!(client.wait().unwrap().success());
        }
        // The rights of a file are the kernel's to enforce.
        let listener = Listener::bind(Address::path(directory.name())).unwrap();
        let mode = fs::metadata(directory.name()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(listener);
    });
}
