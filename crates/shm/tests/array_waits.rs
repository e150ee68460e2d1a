//! Who waits for an array, as everybody can read it; and the deaths of those who had one, as the domain is told them.
#![forbid(unsafe_code)]

mod parcel;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use parcel::{Parcel, pack};
use procession_codec::Message;
use procession_raw::{Id, Lock, Protected, RwLock};
use procession_shm::domain::{Domain, Waiter};
use procession_shm::{Array, Cell, Encoded, List, Locked, Part, Shared, Value, Wait};
use procession_sys::Deadline;
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{counted, role};

const LIMIT: Duration = Duration::from_secs(60);
/// Bytes before what a type lays out.
const HEADER: usize = 64;

#[derive(Clone, Shared)]
struct Fork(Cell<Lock, u32>);

fn lock(fork: &Fork) -> Locked<'_, Lock, u32> {
    fork.0.lock(Wait(Deadline::NEVER)).unwrap().0
}

/// A process that has what it was handed.
fn process(name: &str, value: &impl Message) -> RoleProcess {
    let mut process = pack(value).unwrap().hand_to(Role::new(name)).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("here"));
    process
}

fn array() -> Array<u64> {
    Array::from_slice(&[0; 10]).unwrap()
}

/// The waiters, once they are so many.
fn waiters(domain: &Domain, n: usize) -> Vec<Waiter> {
    loop {
        let waiters = domain.waiters();
        if waiters.len() == n {
            return waiters;
        }
        thread::yield_now();
    }
}

/// Has a part until it is told to go.
fn keeper() {
    let _part: Part<u64> = Parcel::handed().unpack().unwrap();
    roles::say("here");
    while roles::hear().is_some() {}
}

#[test]
fn who_waits_for_a_part_names_the_process_that_has_it() {
    if role().is_some() {
        return keeper();
    }
    counted(|| {
        let array = &array();
        let domain = array.domain();
        let mut parts = array.split(2);
        let first = process("keeper", &parts.next().unwrap());
        let second = process("keeper", &parts.next().unwrap());
        drop(parts);
        thread::scope(|scope| {
            let ways: [fn(&Array<u64>); 3] =
                [|array| drop(array.read()), |array| drop(array.write()), |array| drop(array.split(3))];
            let threads = ways.map(|way| scope.spawn(move || way(array)));
            let inode = rustix::fs::fstat(array).unwrap().st_ino;
            // Until then they may wait for each other: who looks for parts has the lock.
            let all_wait_for = |pid| loop {
                let waiters = waiters(domain, 3);
                if waiters.iter().all(|waiter| waiter.holder.is_some_and(|who| who.pid == pid)) {
                    return waiters;
                }
            };
            for waiter in all_wait_for(first.pid()) {
                assert_eq!(waiter.holder.map(|who| who.tid), Some(first.pid()));
                assert_eq!((&*waiter.what, waiter.place), ("Array", (inode, 0)));
                assert_eq!(waiter.who.pid, std::process::id());
            }
            let report = domain.deadlock_report();
            assert!(report.to_string().contains(&format!("held by {}", first.pid())), "{report}");
            // Each of them waits for the next process then.
            first.wait_with_output(LIMIT).expect_success();
            all_wait_for(second.pid());
            second.wait_with_output(LIMIT).expect_success();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert!(domain.waiters().is_empty(), "who has what it waited for waits no more");
    });
}

/// Any thread of a process may give a part back, so no circle that leads through one is a deadlock.
#[test]
fn a_circle_through_a_part_names_the_process_and_is_no_deadlock() {
    counted(|| {
        let (array, fork) = (array(), Fork::create(1).unwrap());
        let domain = array.domain();
        let part = array.split(1).next().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock(&fork);
                drop(array.read());
            });
            let waiter = waiters(domain, 1).remove(0);
            assert_eq!((&*waiter.what, waiter.holder.unwrap().tid), ("Array", std::process::id()));
            // As far as anybody can tell, this thread is the one that has the part.
            scope.spawn(|| drop(lock(&fork)));
            waiters(domain, 2);
            let report = domain.deadlock_report();
            drop(part);
            assert!(report.cycles.is_empty(), "{report}");
        });
    });
}

/// Has all items until it has a lock.
fn writer() {
    let (array, fork): (Array<u64>, Fork) = Parcel::handed().unpack().unwrap();
    let mut items = array.write();
    roles::say("here");
    assert_eq!(roles::hear().as_deref(), Some("go"));
    items[0] = 5;
    let _second = lock(&fork);
    roles::say("has both");
}

#[test]
fn a_circle_of_an_array_and_a_lock_is_reported_by_name() {
    if role().is_some() {
        return writer();
    }
    counted(|| {
        let (array, fork) = (array(), Fork::create(1).unwrap());
        let domain = array.domain();
        let mut other = process("writer", &(array.clone(), fork.clone()));
        let pid = other.pid();
        thread::scope(|scope| {
            let _guard = lock(&fork);
            let me = domain.participant(domain.join().unwrap()).unwrap();
            other.say("go");
            waiters(domain, 1);
            let killer = scope.spawn(|| {
                let waiters = waiters(domain, 2);
                let report = domain.deadlock_report();
                other.kill();
                (waiters, report)
            });
            assert_eq!(array.read().left_by().map(|who| who.pid), Some(pid));
            let (waiters, report) = killer.join().unwrap();
            let mine = waiters.iter().find(|waiter| waiter.who == me).unwrap();
            assert_eq!((&*mine.what, mine.holder.map(|who| who.pid)), ("Array", Some(pid)));
            assert_eq!((report.cycles.len(), report.cycles[0].len()), (1, 2), "{report}");
            assert!(report.cycles[0].contains(&me), "{report}");
        });
    });
}

/// So many deaths were told.
fn told(domain: &Domain) -> u32 {
    domain.obituary().load(Relaxed)
}

#[test]
fn who_gets_what_the_dead_had_tells_the_domain() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some(_) => return keeper(),
        None => {}
    }
    counted(|| {
        let (array, fork) = (array(), Fork::create(1).unwrap());
        let domain = array.domain();
        for is_part in [false, true] {
            let mut dead = match is_part {
                true => process("keeper", &array.split(1).next().unwrap()),
                false => process("writer", &(array.clone(), fork.clone())),
            };
            let before = told(domain);
            dead.kill();
            assert!(dead.identity().wait_ended(LIMIT));
            assert_eq!(told(domain), before, "nobody has heard of it");
            array.write().mark_consistent();
            assert_ne!(told(domain), before, "is it a part: {is_part}");
        }
    });
}

#[derive(Clone, Shared)]
struct Page(Cell<RwLock, u32>);

/// Wants to write one of the two.
fn author(role: &str) {
    let (array, page): (Array<u64>, Page) = Parcel::handed().unpack().unwrap();
    roles::say("here");
    match role {
        "array" => drop(array.write()),
        _ => drop(page.0.lock(Wait(Deadline::NEVER))),
    }
}

/// A writer dies waiting for a reader, because of whom the next writers give up.
#[test]
fn who_gives_up_after_a_dead_writer_tells_the_domain_and_leaves_the_name() {
    if let Some(role) = role() {
        return author(&role);
    }
    counted(|| {
        let (array, page) = (array(), Page::create(1).unwrap());
        let (domain, now) = (array.domain(), Wait(Deadline::now()));
        for role in ["array", "page"] {
            let items = array.read();
            let (text, _) = page.0.read(now).unwrap();
            let mut dead = process(role, &(array.clone(), page.clone()));
            waiters(domain, 1);
            dead.kill();
            assert!(dead.identity().wait_ended(LIMIT));
            for _ in 0..3 {
                let before = told(domain);
                let give_up =
                    || if role == "array" { array.try_write().is_err() } else { page.0.lock(now).is_err() };
                assert!(thread::scope(|scope| scope.spawn(give_up).join().unwrap()));
                assert_ne!(told(domain), before, "{role}");
            }
            drop((items, text));
            if role == "array" {
                let items = array.write();
                assert_eq!(items.left_by().map(|who| who.pid), Some(dead.pid()));
                items.mark_consistent();
            } else {
                let (text, state) = page.0.lock(now).unwrap();
                let Protected::OwnerDied(id) = state else { panic!("{state:?}") };
                assert_eq!(domain.participant(id).map(|who| who.pid), Some(dead.pid()));
                text.mark_consistent();
            }
        }
    });
}

/// A thread that is dead.
fn dead(domain: &Domain) -> Id {
    use procession_raw::Owners;
    let id = thread::scope(|scope| scope.spawn(|| domain.join().unwrap()).join().unwrap());
    while !domain.is_dead(id) {}
    id
}

/// A lock that somebody died with.
fn die_with(of: &impl AsFd, at: usize) -> u32 {
    let domain = Domain::current().unwrap();
    let memory = Memfd::adopt(of.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let word = Mapping::shared(&memory).unwrap();
    word.atomic_u32(HEADER + at).store(1 << 29 | dead(&domain).to_bits(), Relaxed);
    told(&domain)
}

#[test]
fn who_gets_any_lock_of_the_dead_tells_the_domain() {
    counted(|| {
        let domain = Domain::current().unwrap();
        let (value, array) = (Value::new(1_u64).unwrap(), array());
        let text = Encoded::<String>::with_capacity(40, &"text".into()).unwrap();
        let list = List::from_items([1.into(), "text".into()]).unwrap();
        let table = size_of::<RwLock>();
        let tells = |before: u32, what: &mut dyn FnMut()| {
            what();
            assert_ne!(told(&domain), before);
            let after = told(&domain);
            what();
            assert_eq!(told(&domain), after, "a death is told once");
        };
        tells(die_with(&value, 0), &mut || value.set(2).unwrap());
        tells(die_with(&text, 0), &mut || text.set(&"other".into()).unwrap());
        tells(die_with(&list, 0), &mut || list.set(0, 2).unwrap());
        tells(die_with(&array, 0), &mut || drop(array.read()));
        tells(die_with(&array, table), &mut || drop(array.split(2)));
    });
}
