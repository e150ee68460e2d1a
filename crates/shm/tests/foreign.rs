//! Memory of other programs: bytes go both ways with Python and with the crate `shared_memory`, and nothing that the
//! other side does to the file is a signal here.

mod mapped;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use procession_shm::{ForeignSegment, NameError, Refusal, ShmError};
use procession_testkit::{Counted, need};
use rustix::fs::{CWD, FileType, Mode};
use shared_memory::ShmemConf;

fn name(what: &str) -> String {
    format!("procession-foreign.{}.{what}", std::process::id())
}

fn file(name: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(name)
}

fn counted(body: impl FnMut()) {
    Counted::new().names(name("")).run(body);
}

#[test]
fn bytes_go_both_ways() {
    counted(|| {
        let name = name("ways");
        let ours = ForeignSegment::create(&format!("/{name}"), 100).unwrap();
        assert_eq!((ours.name(), ours.len().unwrap(), ours.is_empty().unwrap()), (&*name, 100, false));
        let theirs = ForeignSegment::open(&name).unwrap();
        theirs.write(95, b"hello").unwrap();
        let mut bytes = [1; 6];
        ours.read(94, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0hello");
        assert!(matches!(ForeignSegment::create(&name, 1), Err(NameError::AlreadyExists { .. })));
        drop(ours);
        assert!(matches!(ForeignSegment::open(&name), Err(NameError::NotFound { .. })));
        assert_eq!(theirs.read_vec(95, 5).unwrap(), b"hello");
        assert!(!theirs.remove().unwrap());
    });
}

#[test]
fn whoever_made_it_removes_it_unless_told_otherwise() {
    counted(|| {
        let name = name("kept");
        let mut ours = ForeignSegment::create(&name, 1).unwrap();
        ours.keep();
        drop(ours);
        drop(ForeignSegment::open(&name).unwrap());
        assert!(ForeignSegment::open(&name).unwrap().remove().unwrap());
        assert!(!file(&name).exists());
    });
}

#[test]
fn bad_names_and_files_are_errors() {
    counted(|| {
        for bad in ["", "/", "..", "/.", "a/b", "//a", "a\0", &"x".repeat(256)] {
            assert!(matches!(ForeignSegment::open(bad), Err(NameError::Invalid { .. })), "{bad}");
            assert!(matches!(ForeignSegment::create(bad, 1), Err(NameError::Invalid { .. })), "{bad}");
        }
        let name = name("odd");
        fs::create_dir(file(&name)).unwrap();
        assert!(matches!(ForeignSegment::open(&name), Err(NameError::Refused(Refusal::NotMemory))));
        fs::remove_dir(file(&name)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", file(&name)).unwrap();
        assert!(matches!(ForeignSegment::open(&name), Err(NameError::Refused(Refusal::NotMemory))));
        fs::remove_file(file(&name)).unwrap();
        rustix::fs::mknodat(CWD, file(&name), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(matches!(ForeignSegment::open(&name), Err(NameError::Refused(Refusal::NotMemory))));
        fs::remove_file(file(&name)).unwrap();
        let huge = ForeignSegment::create(&name, 1 << 61);
        assert!(matches!(huge, Err(NameError::Memory(ShmError::OutOfMemory(_)))), "{huge:?}");
    });
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    counted(|| {
        let segment = ForeignSegment::create(&name("shrinks"), 1 << 16).unwrap();
        let owner = OpenOptions::new().write(true).open(file(segment.name())).unwrap();
        owner.set_len(10).unwrap();
        let is_out = |answer| matches!(answer, Err(ShmError::OutOfBounds { size: 10, .. }));
        assert!(is_out(segment.read(0, &mut [0; 11])));
        assert!(is_out(segment.read_vec(1 << 15, 1).map(drop)));
        assert!(is_out(segment.write(8, b"abc")) && is_out(segment.write(usize::MAX, b"ab")));
        segment.write(8, b"ab").unwrap();
        assert_eq!((owner.metadata().unwrap().len(), segment.len().unwrap()), (10, 10));
        // Longer than all memory, with nothing in it.
        owner.set_len(1 << 50).unwrap();
        let answer = segment.read_vec(0, 1 << 50);
        assert!(matches!(answer, Err(ShmError::OutOfMemory(_))));
        assert_eq!(segment.read_vec((1 << 50) - 1, 1).unwrap(), [0]);
    });
}

/// The owner shrinks and grows the file while it is read: each answer is all of the bytes or an error.
#[test]
fn a_file_that_shrinks_meanwhile_is_no_signal() {
    counted(|| {
        let segment = ForeignSegment::create(&name("breathes"), 1 << 16).unwrap();
        let owner = OpenOptions::new().write(true).open(file(segment.name())).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    owner.set_len(0).unwrap();
                    owner.set_len(1 << 16).unwrap();
                }
            });
            let (mut n_good, mut n_short) = (0, 0);
            while n_good < 100 || n_short < 100 {
                // Nobody writes these bytes: whatever is not zero was not read.
                let mut bytes = vec![0xff; 1 << 16];
                match segment.read(0, &mut bytes) {
                    Ok(()) => {
                        assert!(bytes.iter().all(|byte| *byte == 0));
                        n_good += 1;
                    }
                    Err(ShmError::OutOfBounds { .. }) => n_short += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            done.store(true, SeqCst);
        });
    });
}

#[test]
fn the_crate_shared_memory_opens_ours() {
    counted(|| {
        let ours = ForeignSegment::create(&name("crate-opens"), 4096).unwrap();
        ours.write(0, &[1, 2, 3]).unwrap();
        let theirs = ShmemConf::new().os_id(format!("/{}", ours.name())).open().unwrap();
        assert_eq!(theirs.len(), 4096);
        assert_eq!(mapped::load(&theirs, 2), 3);
        mapped::store(&theirs, 4095, 9);
        assert_eq!(ours.read_vec(4095, 1).unwrap(), [9]);
    });
}

#[test]
fn ours_opens_that_of_the_crate_shared_memory() {
    counted(|| {
        let theirs = ShmemConf::new().size(4096).os_id(format!("/{}", name("crate-made"))).create().unwrap();
        mapped::store(&theirs, 7, 42);
        let ours = ForeignSegment::open(theirs.get_os_id()).unwrap();
        assert_eq!((ours.len().unwrap(), ours.read_vec(7, 1).unwrap()), (4096, vec![42]));
        ours.write(8, &[43]).unwrap();
        assert_eq!(mapped::load(&theirs, 8), 43);
        drop(ours);
        assert!(file(&name("crate-made")).exists());
    });
}

/// Runs a script with our name as its argument, and returns what it printed.
fn python(script: &str, name: &str) -> String {
    let mut python = Command::new("python3");
    python
        .args(["-W", "error", "-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output.stderr));
    said(&output.stdout)
}

/// Attaches without leaving the name to the resource tracker, which would remove it at the exit of the script.
const ATTACH: &str = "
import sys
from multiprocessing import resource_tracker, shared_memory

def attach(name):
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name=name, track=False)
    shm = shared_memory.SharedMemory(name=name)
    resource_tracker.unregister(shm._name, 'shared_memory')
    return shm
";

#[test]
fn python_opens_ours() {
    if !need("python3") {
        return;
    }
    counted(|| {
        let ours = ForeignSegment::create(&name("python-opens"), 5000).unwrap();
        ours.write(0, b"from here").unwrap();
        let script = format!(
            "{ATTACH}
shm = attach(sys.argv[1])
print(shm.size, bytes(shm.buf[:9]).decode())
shm.buf[4990:5000] = b'from there'
shm.close()
"
        );
        assert_eq!(python(&script, ours.name()), "5000 from here");
        assert_eq!(ours.read_vec(4990, 10).unwrap(), b"from there");
        assert!(file(ours.name()).exists(), "the tracker left it alone");
    });
}

#[test]
fn ours_opens_that_of_python() {
    if !need("python3") {
        return;
    }
    counted(|| {
        let name = name("python-made");
        let make = format!(
            "{ATTACH}
shm = shared_memory.SharedMemory(name=sys.argv[1], create=True, size=300)
shm.buf[:4] = b'abcd'
resource_tracker.unregister(shm._name, 'shared_memory')
print(shm.name, shm.size)
shm.close()
"
        );
        assert_eq!(python(&make, &name), format!("{name} 300"));
        let ours = ForeignSegment::open(&name).unwrap();
        assert_eq!((ours.len().unwrap(), &*ours.read_vec(0, 4).unwrap()), (300, &b"abcd"[..]));
        ours.write(298, b"yz").unwrap();
        let finish = "
import sys
from multiprocessing import shared_memory
shm = shared_memory.SharedMemory(name=sys.argv[1])
print(bytes(shm.buf[298:300]).decode())
shm.close()
shm.unlink()
";
        assert_eq!(python(finish, &name), "yz");
        assert!(!file(&name).exists() && !ours.remove().unwrap());
        assert_eq!(ours.read_vec(298, 2).unwrap(), b"yz");
    });
}
