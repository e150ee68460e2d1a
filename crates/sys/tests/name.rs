//! Socket files: the dead are reclaimed, the living are never robbed.

mod support;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use procession_sys::Deadline;
use procession_sys::socket::{self, BindFailed, Endpoint, FileName};

/// A directory of its own, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self) -> PathBuf {
        self.0.join("name")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen(path: &Path) -> Result<FileName, BindFailed> {
    FileName::listen(path, 0o600, 5)
}

/// The file of a socket that is gone, as a killed process leaves it.
fn leave_dead(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

fn connects(path: &Path) -> bool {
    socket::connect(Endpoint::Path(path), Deadline::NEVER).is_ok()
}

#[test]
fn a_name_comes_and_goes() {
    let _watchdog = support::watchdog();
    let place = Place::new("comes");
    let name = FileName::listen(&place.at(), 0o622, 5).unwrap();
    assert_eq!(fs::metadata(place.at()).unwrap().permissions().mode() & 0o777, 0o622);
    assert!(connects(&place.at()));
    assert!(socket::accept(name.as_fd()).unwrap().is_some());
    assert!(socket::accept(name.as_fd()).unwrap().is_none());
    drop(name);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
    assert!(!connects(&place.at()));
}

#[test]
fn a_dead_one_is_reclaimed_and_a_living_one_is_not() {
    let _watchdog = support::watchdog();
    let place = Place::new("dead");
    leave_dead(&place.at());
    let name = listen(&place.at()).unwrap();
    for _ in 0..2 {
        assert!(matches!(listen(&place.at()), Err(BindFailed::InUse)));
    }
    assert!(connects(&place.at()));
    drop(name);
    // Of another kind, and one that does not listen yet.
    let stream = UnixListener::bind(place.at()).unwrap();
    assert!(matches!(listen(&place.at()), Err(BindFailed::InUse)));
    drop(stream);
    let bound = {
        fs::remove_file(place.at()).unwrap();
        UnixDatagram::bind(place.at()).unwrap()
    };
    assert!(matches!(listen(&place.at()), Err(BindFailed::InUse)));
    drop(bound);
    assert!(listen(&place.at()).is_ok());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let _watchdog = support::watchdog();
    let place = Place::new("other");
    fs::write(place.at(), "precious").unwrap();
    assert!(matches!(listen(&place.at()), Err(BindFailed::NotASocket)));
    assert_eq!(fs::read_to_string(place.at()).unwrap(), "precious");
    fs::remove_file(place.at()).unwrap();
    let dead = place.0.join("dead");
    leave_dead(&dead);
    std::os::unix::fs::symlink(&dead, place.at()).unwrap();
    assert!(matches!(listen(&place.at()), Err(BindFailed::NotASocket)));
    assert!(dead.exists());
    assert!(matches!(listen(&place.0.join("no/such")), Err(BindFailed::Os(_))));
    assert!(matches!(listen(&place.0.join("n".repeat(200))), Err(BindFailed::Os(_))));
}

#[test]
fn a_name_that_is_another_s_by_now_is_not_removed() {
    let _watchdog = support::watchdog();
    let place = Place::new("robbed");
    let first = listen(&place.at()).unwrap();
    fs::remove_file(place.at()).unwrap();
    let second = listen(&place.at()).unwrap();
    drop(first);
    assert!(connects(&place.at()));
    drop(second);
    assert!(!place.at().exists());
}

/// Many at a time at a dead name: one gets it, and keeps it.
#[test]
fn one_of_many_wins() {
    let _watchdog = support::watchdog();
    let place = Place::new("many");
    for _ in 0..300 {
        leave_dead(&place.at());
        let start = Barrier::new(4);
        let won: Vec<_> = thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    listen(&place.at())
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let n_won = won.iter().filter(|name| name.is_ok()).count();
        assert_eq!(n_won, 1, "{won:?}");
        assert!(won.iter().all(|name| matches!(name, Ok(_) | Err(BindFailed::InUse))), "{won:?}");
        assert!(connects(&place.at()));
        let winner = won.into_iter().find_map(Result::ok).unwrap();
        assert!(socket::accept(winner.as_fd()).unwrap().is_some());
    }
}

/// Looking at a dead file and removing it is one section: who has the directory locked sees it stay.
#[test]
fn a_dead_one_stays_while_the_directory_is_locked() {
    use rustix::fs::{FlockOperation, flock};
    let _watchdog = support::watchdog();
    let place = Place::new("locked");
    leave_dead(&place.at());
    let directory = fs::File::open(&place.0).unwrap();
    flock(&directory, FlockOperation::LockExclusive).unwrap();
    assert!(matches!(listen(&place.at()), Err(BindFailed::Locked)));
    assert!(place.at().exists());
    // Nor is one made, which would look dead for a moment.
    assert!(matches!(listen(&place.0.join("free")), Err(BindFailed::Locked)));
    flock(&directory, FlockOperation::Unlock).unwrap();
    drop(listen(&place.at()).unwrap());
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
}
