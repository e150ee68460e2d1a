//! Names: one owner, seen whole, gone with the owner however it ends, and never anybody else's.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use procession_shm::{NameError, Nameable, Refusal, Segment, ShmError, sweep};
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Counted, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: Duration = Duration::from_secs(30);

/// A name of this test process alone.
fn name(what: &str) -> String {
    format!("test.{}.{what}", std::process::id())
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/procession.{name}"))
}

fn counted(body: impl FnMut()) {
    Counted::new().names(format!("procession.test.{}.", std::process::id())).run(body);
}

fn is_missing(name: &str) -> bool {
    matches!(Segment::open_named(name), Err(NameError::NotFound { name: of }) if of == name)
}

#[test]
fn a_name_lives_as_long_as_its_owner() {
    counted(|| {
        let name = name("life");
        assert!(is_missing(&name));
        let owner = Segment::create_named(&name, 100).unwrap();
        assert_eq!(owner.name(), name);
        let found = Segment::open_named(&name).unwrap();
        owner.write(0, b"hello").unwrap();
        assert_eq!((found.len(), &*found.read_vec(0, 5).unwrap()), (100, &b"hello"[..]));
        assert!(matches!(Segment::create_named(&name, 1), Err(NameError::AlreadyExists { .. })));
        let kept = owner.into_inner();
        assert!(is_missing(&name) && !file(&name).exists());
        found.write(0, b"j").unwrap();
        assert_eq!(kept.read_vec(0, 5).unwrap(), b"jello");
        drop(Segment::create_named(&name, 1).unwrap());
    });
}

#[test]
fn bad_names_are_errors() {
    counted(|| {
        for bad in ["", "a/b", "/a", "..\0", &"x".repeat(201)] {
            assert!(matches!(Segment::create_named(bad, 1), Err(NameError::Invalid { .. })), "{bad}");
            assert!(matches!(Segment::open_named(bad), Err(NameError::Invalid { .. })), "{bad}");
        }
        let long = format!("{}.{}", name("long"), "x".repeat(150));
        assert_eq!(Segment::create_named(&long, 1).unwrap().name(), long);
        let answer = Segment::create_named(&name("huge"), usize::MAX);
        assert!(matches!(answer, Err(NameError::Memory(ShmError::OutOfMemory(_)))));
    });
}

#[test]
fn what_is_closed_to_writers_says_so() {
    counted(|| {
        let name = name("closed");
        let owner = Segment::create_named(&name, 1).unwrap();
        let _reader = owner.read_only().unwrap();
        assert!(matches!(Segment::open_named(&name), Err(NameError::Memory(ShmError::ReadOnly))));
    });
}

/// Starts the role of a process that owns a name.
fn owner(name: &str) -> RoleProcess {
    let mut owner = Role::new("owner").env("NAME", name).spawn();
    assert_eq!(owner.hear(LIMIT).as_deref(), Some("published"));
    owner
}

/// Plays it.
fn own() {
    let segment = Segment::new(8).unwrap();
    segment.put(0, &42_u64).unwrap();
    let _segment = segment.publish(&std::env::var("NAME").unwrap()).unwrap();
    roles::say("published");
    let _ = roles::hear();
}

fn kill(mut owner: RoleProcess) {
    owner.kill();
    assert!(owner.identity().wait_ended(LIMIT));
}

#[test]
fn a_killed_owner_s_name_goes_when_it_is_opened() {
    if role().is_some() {
        return own();
    }
    counted(|| {
        let name = name("opened");
        let owner = owner(&name);
        let found = Segment::open_named(&name).unwrap();
        kill(owner);
        assert!(file(&name).exists() && is_missing(&name) && !file(&name).exists());
        assert_eq!(found.get::<u64>(0).unwrap(), 42);
    });
}

#[test]
fn a_killed_owner_s_name_can_be_had_at_once() {
    if role().is_some() {
        return own();
    }
    counted(|| {
        let name = name("had");
        let mut owner = owner(&name);
        assert!(matches!(Segment::create_named(&name, 1), Err(NameError::AlreadyExists { .. })));
        // Dead, and not yet waited for.
        owner.kill();
        assert!(owner.identity().wait_ended(LIMIT));
        let next = Segment::create_named(&name, 1).unwrap();
        assert_eq!(Segment::open_named(&name).unwrap().len(), next.len());
    });
}

#[test]
fn a_sweep_takes_the_names_of_the_dead_only() {
    if role().is_some() {
        return own();
    }
    counted(|| {
        let (prefix, others) = (name("swept"), name("spared"));
        let living = Segment::create_named(&format!("{prefix}.living"), 1).unwrap();
        let foreign = file(&format!("{prefix}.foreign"));
        fs::write(&foreign, "not ours").unwrap();
        let dead = [format!("{prefix}.a"), format!("{prefix}.b"), others.clone()];
        dead.iter().map(|name| owner(name)).collect::<Vec<_>>().into_iter().for_each(kill);
        assert_eq!(sweep(&prefix).unwrap(), dead[..2]);
        assert_eq!(sweep(&prefix).unwrap(), [""; 0]);
        assert!(file(&others).exists() && foreign.exists() && file(living.name()).exists());
        assert_eq!(sweep(&others).unwrap(), [others]);
        fs::remove_file(foreign).unwrap();
    });
}

#[test]
fn what_is_not_ours_is_refused_and_stays() {
    counted(|| {
        let name = name("foreign");
        let path = file(&name);
        let real = Segment::create_named(&format!("{name}.real"), 1).unwrap();
        let mut record = fs::read(file(real.name())).unwrap();
        let refuses = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            assert!(matches!(Segment::create_named(&name, 1), Err(NameError::AlreadyExists { .. })));
            let answer = Segment::open_named(&name);
            assert_eq!(sweep(&name).unwrap(), [""; 0]);
            match answer {
                Err(NameError::Refused(refusal)) => refusal,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refuses(b""), Refusal::Foreign);
        assert_eq!(refuses(&[0; 64]), Refusal::Foreign);
        assert_eq!(refuses(&[&record[..], b"x"].concat()), Refusal::Foreign);
        // The first layout had 64 bytes.
        let mut old = record[..64].to_vec();
        old[8] = 1;
        assert_eq!(refuses(&old), Refusal::Version { found: 1, expected: 2 });
        record[30] ^= 1;
        assert_eq!(refuses(&record), Refusal::Damaged);
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(Segment::open_named(&name), Err(NameError::Refused(Refusal::Foreign))));
        assert!(matches!(Segment::create_named(&name, 1), Err(NameError::AlreadyExists { .. })));
        fs::remove_file(&path).unwrap();
    });
}

/// A record that somebody copied: nobody holds the copy, so it is stale, and the name of the original stays.
#[test]
fn a_copied_name_is_stale() {
    counted(|| {
        let name = name("copied");
        let real = Segment::create_named(&format!("{name}.real"), 1).unwrap();
        let copy = format!("{name}.copy");
        fs::copy(file(real.name()), file(&copy)).unwrap();
        // It leads to the memory all the same, as it says the truth.
        assert_eq!(Segment::open_named(&copy).unwrap().len(), 1);
        assert_eq!(sweep(&name).unwrap(), [copy]);
        assert_eq!(Segment::open_named(real.name()).unwrap().len(), 1);
    });
}

/// Who replaced the name keeps it when the owner goes.
#[test]
fn an_owner_removes_its_own_name_only() {
    counted(|| {
        let name = name("replaced");
        let first = Segment::create_named(&name, 1).unwrap();
        fs::remove_file(file(&name)).unwrap();
        let second = Segment::create_named(&name, 2).unwrap();
        drop(first);
        assert_eq!(Segment::open_named(&name).unwrap().len(), second.len());
    });
}

/// A descriptor with the number and a name with the text, but other memory by now.
#[test]
fn a_recycled_descriptor_is_not_taken_for_the_memory() {
    counted(|| {
        let name = name("recycled");
        let owner = Segment::create_named(&name, 1).unwrap();
        let record = fs::read(file(&name)).unwrap();
        drop(owner);
        let others: Vec<Segment> = (0..10).map(|_| Segment::new(2).unwrap()).collect();
        fs::write(file(&name), record).unwrap();
        assert!(is_missing(&name));
        drop(others);
    });
}

#[test]
fn of_many_publishers_one_wins_and_readers_see_it_whole() {
    counted(|| {
        let name = name("race");
        let (done, n_seen, n_owners) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let publish = || {
            for round in (0_u64..).take_while(|&round| round < 200 || n_seen.load(SeqCst) == 0) {
                let segment = Segment::new(16).unwrap();
                segment.put(0, &[round, !round]).unwrap();
                match segment.publish(&name) {
                    Ok(owner) => {
                        assert_eq!(n_owners.fetch_add(1, SeqCst), 0);
                        n_owners.fetch_sub(1, SeqCst);
                        drop(owner);
                    }
                    Err(NameError::AlreadyExists { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let read = || {
            while !done.load(SeqCst) {
                match Segment::open_named(&name) {
                    Ok(segment) => {
                        let [round, check] = segment.get::<[u64; 2]>(0).unwrap();
                        assert_eq!((segment.len(), round), (16, !check));
                        n_seen.fetch_add(1, SeqCst);
                    }
                    Err(NameError::NotFound { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        };
        thread::scope(|scope| {
            scope.spawn(read);
            let sweeper = scope.spawn(|| {
                while !done.load(SeqCst) {
                    assert_eq!(sweep(&name).unwrap(), [""; 0]);
                }
            });
            let publishers = [(); 3].map(|()| scope.spawn(publish));
            let ended = publishers.map(|thread| thread.join().is_ok());
            done.store(true, SeqCst);
            assert!(sweeper.join().is_ok() && ended == [true; 3]);
        });
        assert_eq!(sweep(&name).unwrap(), [""; 0]);
    });
}

/// In a process of its own: the limit is the process's.
#[test]
fn without_descriptors_nothing_is_left_behind() {
    if role().is_some() {
        let name = std::env::var("NAME").unwrap();
        let old = getrlimit(Resource::Nofile);
        let mut n_failed = 0;
        for spare in 0..12 {
            let next = fs::File::open("/dev/null").unwrap();
            let current = Some(next.as_raw_fd() as u64 + spare);
            drop(next);
            setrlimit(Resource::Nofile, Rlimit { current, ..old }).unwrap();
            match Segment::create_named(&name, 1) {
                Ok(owner) => drop(owner),
                Err(NameError::Memory(ShmError::Os(error))) => {
                    assert!(error.to_string().contains("os error 24"), "{error}");
                    n_failed += 1;
                }
                Err(other) => panic!("{other}"),
            }
            setrlimit(Resource::Nofile, old).unwrap();
            assert!(!file(&name).exists());
        }
        assert!((1..12).contains(&n_failed), "{n_failed}");
        return;
    }
    counted(|| {
        let child = Role::new("poor").env("NAME", name("poor")).spawn();
        child.wait_with_output(LIMIT).expect_success();
    });
}

#[test]
fn errors_say_what_is_wrong() {
    let _turn = procession_testkit::turn::shared();
    let error = Segment::open_named(&name("nobody")).unwrap_err();
    assert!(error.to_string().starts_with("there is no shared memory with the name \"test."), "{error}");
}
