//! Parts in other processes: who has one is named, who dies with one is found out, and a message outlives its sender.

mod parcel;

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use parcel::{Parcel, pack};
use procession_codec::Message;
use procession_shm::{Array, ArrayError, Part};
use procession_sys::identity::ProcessIdentity;
use procession_sys::message::{Incoming, Outgoing};
use procession_sys::{Deadline, caps, socket};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{counted, guarded, role};

const LIMIT: Duration = Duration::from_secs(60);

/// A process that has what it was handed.
fn process(name: &str, value: &impl Message) -> RoleProcess {
    let mut process = pack(value).unwrap().hand_to(Role::new(name)).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("here"));
    process
}

/// Without pidfds, who has ended is not proved to be dead before somebody has reaped it.
fn kill(victim: &mut RoleProcess) {
    if caps::has(caps::Capability::Pidfd) { victim.kill() } else { victim.kill_and_reap() }
}

fn array() -> Array<u64> {
    Array::from_slice(&[0; 1000]).unwrap()
}

/// Which process has a part.
fn holder(array: &Array<u64>) -> Option<u32> {
    match array.try_read() {
        Ok(_) => None,
        Err(ArrayError::Leased { by }) => Some(by.pid()),
        Err(error) => panic!("{error}"),
    }
}

/// Adds its number to each item when told, and gives the part back when told.
fn adder() {
    let mut part: Part<u64> = Parcel::handed().unpack().unwrap();
    roles::say("here");
    while let Some(number) = roles::hear() {
        let number: u64 = number.parse().unwrap();
        part.iter_mut().for_each(|item| *item += number);
        roles::say("added");
    }
}

#[test]
fn each_process_writes_its_part() {
    if role().is_some() {
        return adder();
    }
    counted(|| {
        let array = array();
        let mut adders: Vec<_> = array.split(4).map(|part| process("adder", &part)).collect();
        (1..).zip(&mut adders).for_each(|(n, adder): (u64, _)| adder.say(&n.to_string()));
        adders.iter_mut().for_each(|adder| assert_eq!(adder.hear(LIMIT).as_deref(), Some("added")));
        let last = adders.pop().unwrap();
        adders.into_iter().for_each(|adder| _ = adder.wait_with_output(LIMIT).expect_success());
        assert_eq!(holder(&array), Some(last.pid()));
        assert!(matches!(array.split_timeout(2, Duration::from_millis(1)), Err(ArrayError::Leased { .. })));
        thread::scope(|scope| {
            let reader = scope.spawn(|| array.read().to_vec());
            last.wait_with_output(LIMIT).expect_success();
            let items = reader.join().unwrap();
            assert!((0..1000).all(|i| items[i] == i as u64 / 250 + 1));
        });
        assert!(array.is_consistent());
    });
}

#[test]
fn who_is_killed_with_a_part_is_told_and_the_items_come_back() {
    if role().is_some() {
        return adder();
    }
    guarded(|| {
        for asleep in [false, true] {
            let array = array();
            let mut parts = array.split(2);
            let mut victim = process("adder", &parts.next().unwrap());
            let own = parts.next().unwrap();
            victim.say("7");
            assert_eq!(victim.hear(LIMIT).as_deref(), Some("added"));
            thread::scope(|scope| {
                let writer = asleep.then(|| scope.spawn(|| array.write().left_by().map(|who| who.pid())));
                kill(&mut victim);
                drop(own);
                let found = writer
                    .map_or_else(|| array.write().left_by().map(|who| who.pid()), |w| w.join().unwrap());
                assert_eq!(found, Some(victim.pid()));
            });
            let items = array.read();
            assert!(!items.is_consistent() && items[499] == 7 && items[500] == 0);
            drop(items);
            array.write().mark_consistent();
            assert!(array.is_consistent() && array.left_by().is_none());
            assert_eq!(array.split(3).len(), 3);
        }
    });
}

#[test]
fn who_is_killed_while_it_writes_everything_is_told() {
    if role().is_some() {
        let array: Array<u64> = Parcel::handed().unpack().unwrap();
        let _items = array.write();
        roles::say("here");
        return while roles::hear().is_some() {};
    }
    guarded(|| {
        let array = array();
        let mut victim = process("writer", &array);
        assert!(
            matches!(array.try_read(), Err(ArrayError::TimedOut { by: Some(by) }) if by.pid() == victim.pid())
        );
        thread::scope(|scope| {
            let waiters = [(); 3].map(|()| scope.spawn(|| drop(array.read())));
            victim.kill();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
        assert_eq!(array.left_by().map(|who| who.pid()), Some(victim.pid()));
        assert_eq!(array.write().left_by().map(|who| who.pid()), Some(victim.pid()), "until it is repaired");
        array.write().mark_consistent();
        assert!(array.read().is_consistent());
    });
}

/// Splits, and sends the first part through a socket.
fn sender() {
    let array: Array<u64> = Parcel::handed().unpack().unwrap();
    let mut part = array.split(2).next().unwrap();
    part[0] = 5;
    let Parcel { bytes, descriptors } = pack(&part).unwrap();
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let socket = roles::handed("socket");
    Outgoing::new().send(&socket, &bytes, &descriptors, Deadline::NEVER).unwrap();
    roles::say("here");
    while roles::hear().is_some() {}
}

#[test]
fn a_part_in_a_message_outlives_who_sent_it() {
    if role().is_some() {
        return sender();
    }
    guarded(|| {
        for received in [true, false] {
            let array = array();
            let (here, there) = socket::pair().unwrap();
            let mut sender = pack(&array).unwrap().hand_to(Role::new("sender")).hand("socket", there).spawn();
            assert_eq!(sender.hear(LIMIT).as_deref(), Some("here"));
            kill(&mut sender);
            assert_eq!(holder(&array), Some(sender.pid()), "it has sent it, though it is dead");
            if received {
                let message = Incoming::new(1 << 20).recv(&here, Deadline::NEVER).unwrap();
                let parcel = Parcel { bytes: message.bytes, descriptors: message.descriptors };
                let mut part: Part<u64> = parcel.unpack().unwrap();
                assert_eq!((holder(&array), part[0], part.len()), (Some(std::process::id()), 5, 500));
                part[0] = 6;
            }
            drop(here);
            assert_eq!(array.read()[0], if received { 6 } else { 5 });
            assert!(array.is_consistent(), "nobody died with a part");
        }
    });
}

#[test]
fn a_receiver_that_dies_before_it_has_the_part_loses_nothing() {
    if role().is_some() {
        roles::say("here");
        return while roles::hear().is_some() {};
    }
    guarded(|| {
        let array = array();
        let mut receiver = process("receiver", &array.split(2).next().unwrap());
        assert_eq!(holder(&array), Some(std::process::id()), "it was not received yet");
        thread::scope(|scope| {
            let reader = scope.spawn(|| array.read().len());
            kill(&mut receiver);
            assert_eq!(reader.join().unwrap(), 1000);
        });
        assert!(array.is_consistent());
    });
}

/// A stopped process is alive: nothing is taken from it.
#[test]
fn who_is_stopped_keeps_its_part() {
    if role().is_some() {
        return adder();
    }
    guarded(|| {
        let array = array();
        let mut adder = process("adder", &array.split(1).next().unwrap());
        adder.signal(procession_testkit::Signal::STOP);
        assert!(matches!(array.read_timeout(Duration::from_millis(120)), Err(ArrayError::Leased { .. })));
        adder.signal(procession_testkit::Signal::CONT);
        adder.say("3");
        assert_eq!(adder.hear(LIMIT).as_deref(), Some("added"));
        adder.wait_with_output(LIMIT).expect_success();
        assert!(array.read().iter().all(|item| *item == 3));
    });
}

/// Whether some thread of this process waits in the kernel for one of several words (`futex_waitv`).
fn somebody_sleeps() -> bool {
    let calls = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    calls
        .filter_map(|task| std::fs::read_to_string(task.path().join("syscall")).ok())
        .any(|call| call.starts_with("449 "))
}

/// With a tick that is longer than any test: who tells the death wakes who waits for the parts of the dead.
#[test]
fn a_told_death_wakes_who_waits() {
    match role().as_deref() {
        Some("adder") => adder(),
        Some(_) => {
            let array = array();
            let mut victim = process("adder", &array.split(1).next().unwrap());
            let identity = ProcessIdentity::of(victim.pid()).unwrap();
            thread::scope(|scope| {
                let waiter = scope.spawn(|| array.read().left_by().map(|who| who.pid()));
                while caps::has(caps::Capability::Waitv) && !somebody_sleeps() {
                    thread::yield_now();
                }
                kill(&mut victim);
                assert!(!caps::has(caps::Capability::Pidfd) || victim.identity().wait_ended(LIMIT));
                array.domain().note_process_death(&identity);
                assert_eq!(waiter.join().unwrap(), Some(identity.pid));
            });
        }
        None => guarded(|| {
            let [tick, obituary] = [procession_shm::domain::TICK, procession_shm::domain::OBITUARY];
            let waiter = Role::new("waiter").env(tick, "600000").env(obituary, "on").spawn();
            waiter.wait_with_output(LIMIT).expect_success();
        }),
    }
}
