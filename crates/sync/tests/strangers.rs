//! Two programs that have nothing in common but a mutex: each has a domain of its own, neither is in the other's tree,
//! and each survives the other's death. They meet over a socket, and over a name.

use std::os::fd::OwnedFd;
use std::time::Duration;

use procession_codec::{Codec, Postcard, handles};
use procession_shm::domain::Domain;
use procession_shm::{NameError, Nameable, Named, Shared};
use procession_sync::{Failed, Mutex};
use procession_sys::message::{Incoming, Outgoing};
use procession_sys::{Deadline, socket};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Counted, role};

const LIMIT: Duration = Duration::from_secs(60);
const ROUNDS: u64 = 2000;

/// Both halves are the same when nobody is inside.
type Pair = Mutex<[u64; 2]>;

/// A role: what it does with the mutex is told line by line.
fn program(role: &str) {
    // A domain of its own, made before anything arrives.
    let own = Domain::current().unwrap();
    let mutex = match role {
        "maker by socket" => {
            let mutex = Pair::new([0; 2]).unwrap();
            send(&roles::handed("wire"), &mutex);
            mutex
        }
        "guest by socket" => receive(&roles::handed("wire")),
        "maker by name" => {
            let named = Pair::new([0; 2]).unwrap().publish(&roles::hear().unwrap()).unwrap();
            roles::say("published");
            let mutex = Mutex::clone(&named);
            obey(&mutex, &own, Some(named));
            return;
        }
        "guest by name" => Pair::open_named(&roles::hear().unwrap()).unwrap(),
        other => panic!("no role {other}"),
    };
    obey(&mutex, &own, None);
}

fn obey(mutex: &Pair, own: &Domain, mut named: Option<Named<Pair>>) {
    while let Some(order) = roles::hear() {
        match &*order {
            "whose" => roles::say(if mutex.space().domain() == Some(own) { "mine" } else { "another's" }),
            "count" => {
                for _ in 0..ROUNDS {
                    let mut pair = mutex.lock().unwrap();
                    pair[0] += 1;
                    pair[1] += 1;
                }
                roles::say("counted");
            }
            // To be killed with one half written.
            "hold" => {
                let mut pair = mutex.lock().unwrap();
                pair[0] += 1;
                roles::say("holding");
                assert_eq!(roles::hear(), None, "to be killed");
            }
            "lock" => match mutex.lock() {
                Ok(pair) => roles::say(&format!("{pair:?}")),
                Err(Failed::OwnerDied(died)) => {
                    let pid = died.dead().pid();
                    let pair = died.repair(|pair, _| pair[0] = pair[1]);
                    roles::say(&format!("{pid} died, {pair:?}"));
                }
                Err(other) => panic!("{other}"),
            },
            "unname" => {
                drop(named.take());
                roles::say("done");
            }
            other => panic!("no order {other}"),
        }
    }
}

fn send(wire: &OwnedFd, mutex: &Pair) {
    let mut bytes = Vec::new();
    let ((), outgoing) = handles::collect(|| Postcard::encode_into(mutex, &mut bytes)).unwrap();
    let descriptors: Vec<_> = outgoing.descriptors().collect();
    assert_eq!(descriptors.len(), 2, "the mutex and its domain");
    Outgoing::new().send(wire, &bytes, &descriptors, Deadline::NEVER).unwrap();
    drop(descriptors);
    outgoing.commit();
}

fn receive(wire: &OwnedFd) -> Pair {
    let message = Incoming::new(4096).recv(wire, Deadline::NEVER).unwrap();
    handles::supply(message.descriptors, || Postcard::decode(&message.bytes)).unwrap()
}

fn ask(process: &mut RoleProcess, order: &str) -> String {
    process.say(order);
    process.hear(LIMIT).unwrap()
}

/// Both count at once; then one is killed inside and the other is told who it was.
fn share_and_die(mut victim: RoleProcess, mut survivor: RoleProcess) -> RoleProcess {
    for process in [&mut victim, &mut survivor] {
        process.say("count");
    }
    for process in [&mut victim, &mut survivor] {
        assert_eq!(process.hear(LIMIT).as_deref(), Some("counted"));
    }
    let sum = 2 * ROUNDS;
    assert_eq!(ask(&mut survivor, "lock"), format!("[{sum}, {sum}]"));
    assert_eq!(ask(&mut victim, "hold"), "holding");
    // Asleep or not: the answer is the same.
    survivor.say("lock");
    victim.kill();
    assert_eq!(survivor.hear(LIMIT).unwrap(), format!("{} died, [{sum}, {sum}]", victim.pid()));
    drop(victim);
    assert_eq!(ask(&mut survivor, "lock"), format!("[{sum}, {sum}]"));
    assert_eq!(ask(&mut survivor, "count"), "counted");
    survivor
}

fn by_socket() -> (RoleProcess, RoleProcess) {
    let (ours, theirs) = socket::pair().unwrap();
    let mut maker = Role::new("maker by socket").hand("wire", ours).spawn();
    let mut guest = Role::new("guest by socket").hand("wire", theirs).spawn();
    assert_eq!(ask(&mut maker, "whose"), "mine");
    assert_eq!(ask(&mut guest, "whose"), "another's");
    (maker, guest)
}

fn by_name(name: &str) -> (RoleProcess, RoleProcess) {
    let mut maker = Role::new("maker by name").spawn();
    let mut guest = Role::new("guest by name").spawn();
    assert_eq!(ask(&mut maker, name), "published");
    guest.say(name);
    assert_eq!(ask(&mut maker, "whose"), "mine");
    assert_eq!(ask(&mut guest, "whose"), "another's");
    (maker, guest)
}

fn finish(survivor: RoleProcess) {
    survivor.wait_with_output(LIMIT).expect_success();
}

#[test]
fn over_a_socket_the_maker_survives_the_guest_and_the_guest_the_maker() {
    if let Some(role) = role() {
        return program(&role);
    }
    Counted::new().run(|| {
        let (maker, guest) = by_socket();
        finish(share_and_die(guest, maker));
        let (maker, guest) = by_socket();
        finish(share_and_die(maker, guest));
    });
}

#[test]
fn over_a_name_the_maker_survives_the_guest_and_the_guest_the_maker() {
    if let Some(role) = role() {
        return program(&role);
    }
    let prefix = format!("test.{}.strangers", std::process::id());
    Counted::new().names(format!("procession.{prefix}")).run(|| {
        let name = format!("{prefix}.a");
        let (maker, guest) = by_name(&name);
        let mut maker = share_and_die(guest, maker);
        // The name is still there, for its type only.
        assert!(matches!(Mutex::<u64>::open_named(&name), Err(NameError::Refused(_))));
        assert_eq!(*Pair::open_named(&name).unwrap().lock().unwrap(), [3 * ROUNDS; 2]);
        assert_eq!(ask(&mut maker, "unname"), "done");
        assert!(matches!(Pair::open_named(&name), Err(NameError::NotFound { .. })));
        finish(maker);

        let name = format!("{prefix}.b");
        let (maker, guest) = by_name(&name);
        let guest = share_and_die(maker, guest);
        assert!(matches!(Pair::open_named(&name), Err(NameError::NotFound { .. })), "its owner is dead");
        finish(guest);
    });
}
