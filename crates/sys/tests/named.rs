//! Names in shared memory: they appear whole, belong to one, and show whether anybody lives.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use procession_sys::named::{self, DIRECTORY, NamedFile};
use procession_testkit::Counted;

fn name(what: &str) -> String {
    format!("procession-test.{}.{what}", std::process::id())
}

fn counted(body: impl FnMut()) {
    Counted::new().names(format!("procession-test.{}.", std::process::id())).run(body);
}

#[test]
fn a_name_appears_whole_and_once() {
    counted(|| {
        let name = name("whole");
        let draft = NamedFile::draft(10).unwrap();
        draft.write_at(0, b"0123456789").unwrap();
        assert_eq!(NamedFile::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
        draft.publish(&name).unwrap();
        let second = NamedFile::draft(0).unwrap();
        assert_eq!(second.publish(&name).unwrap_err().kind(), ErrorKind::AlreadyExists);
        let opened = NamedFile::open(&name).unwrap();
        let mut bytes = [0; 12];
        assert_eq!((opened.len().unwrap(), opened.is_empty().unwrap()), (10, false));
        assert_eq!(opened.read_at(1, &mut bytes).unwrap(), 9);
        assert_eq!(&bytes[..9], b"123456789");
        assert_eq!(named::names(&name).unwrap(), [&*name]);
        // A name is removed by its file only.
        assert!(!second.remove_name(&name).unwrap() && opened.has_name(&name).unwrap());
        assert!(opened.remove_name(&name).unwrap() && !draft.remove_name(&name).unwrap());
        assert_eq!(named::names(&name).unwrap(), [""; 0]);
    });
}

#[test]
fn only_what_nobody_holds_can_be_claimed() {
    counted(|| {
        let name = name("held");
        let owner = NamedFile::draft(0).unwrap();
        owner.hold().unwrap();
        owner.publish(&name).unwrap();
        let first = NamedFile::open(&name).unwrap();
        assert!(!first.try_claim().unwrap());
        drop(owner);
        assert!(first.try_claim().unwrap());
        let second = NamedFile::open(&name).unwrap();
        assert!(!second.try_claim().unwrap());
        assert_eq!(second.hold().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(first.remove_name(&name).unwrap());
    });
}

#[test]
fn what_was_shrunk_answers_with_less() {
    counted(|| {
        let name = name("shrunk");
        let file = NamedFile::draft(100).unwrap();
        file.publish(&name).unwrap();
        File::from(NamedFile::open(&name).unwrap()).set_len(5).unwrap();
        assert_eq!(file.read_at(0, &mut [0; 100]).unwrap(), 5);
        assert_eq!(file.read_at(50, &mut [0; 1]).unwrap(), 0);
        assert_eq!(file.read_at(u64::MAX, &mut [0; 1]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.write_at(u64::MAX, b"x").unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert!(file.remove_name(&name).unwrap());
    });
}

#[test]
fn what_is_no_ordinary_file_is_refused() {
    counted(|| {
        let name = name("link");
        std::os::unix::fs::symlink("/etc/passwd", format!("{DIRECTORY}/{name}")).unwrap();
        assert_eq!(NamedFile::open(&name).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(!NamedFile::draft(0).unwrap().has_name(&name).unwrap());
        std::fs::remove_file(format!("{DIRECTORY}/{name}")).unwrap();
        assert!(NamedFile::open("").is_err());
        // Refused before anything is taken: taking it would be the end of this machine.
        assert_eq!(NamedFile::draft(1 << 62).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(NamedFile::draft(u64::MAX).unwrap_err().kind(), ErrorKind::FileTooLarge);
    });
}

#[test]
fn a_descriptor_is_opened_only_if_it_is_the_one() {
    counted(|| {
        let file = File::from(NamedFile::draft(3).unwrap());
        let (id, number, pid) = (named::id(&file).unwrap(), file.as_raw_fd() as u32, std::process::id());
        assert_eq!(named::id(named::descriptor_of(pid, number, id).unwrap()).unwrap(), id);
        let other = named::id(File::open("/dev/null").unwrap()).unwrap();
        assert_eq!(named::descriptor_of(pid, number, other).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(named::descriptor_of(pid, 1 << 30, id).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(named::descriptor_of(0, number, id).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// What stands behind the number while it changes hands is never opened: a directory, a socket or what may only be read
/// would be an error of its own.
#[test]
fn a_descriptor_that_becomes_another_is_not_there() {
    counted(|| {
        let file = File::from(NamedFile::draft(3).unwrap());
        let (id, pid, done) = (named::id(&file).unwrap(), std::process::id(), AtomicBool::new(false));
        let others = [OwnedFd::from(File::open("/").unwrap()), UnixDatagram::unbound().unwrap().into()];
        let mut shown = file.try_clone().map(OwnedFd::from).unwrap();
        let number = shown.as_raw_fd() as u32;
        let (mut n_found, mut n_missing) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    for next in others.iter().flat_map(|other| [other.as_fd(), file.as_fd()]) {
                        rustix::io::dup2(next, &mut shown).unwrap();
                    }
                }
            });
            let seen = std::panic::catch_unwind(AssertUnwindSafe(|| {
                while n_found < 2_000 || n_missing < 2_000 {
                    match named::descriptor_of(pid, number, id) {
                        Ok(fd) => n_found += usize::from(named::id(fd).unwrap() == id),
                        Err(error) if error.kind() == ErrorKind::NotFound => n_missing += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }));
            done.store(true, SeqCst);
            seen.unwrap();
        });
    });
}
