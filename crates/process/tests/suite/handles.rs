//! Handles in arguments and results.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, RecvError, SendError, pipe};
use procession_process::SpawnError;
use procession_sys::limits;
use serde::ser::{Error as _, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PATIENCE, Start, await_start, expected, gate, hold};

pub(crate) fn an_end_goes_as_argument(start: Start) {
    fn serve(end: Duplex<usize, String>) {
        while let Ok(text) = end.recv() {
            end.send(&text.len()).unwrap();
        }
    }
    let (ours, theirs) = pipe::<String, usize>().unwrap();
    let server = start().spawn(serve, theirs).unwrap();
    for n in [0, 1, 100_000] {
        ours.send(&"x".repeat(n)).unwrap();
        assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), n);
    }
    drop(ours);
    server.join().unwrap();
}

pub(crate) fn an_end_comes_as_result(start: Start) {
    fn make(text: String) -> Duplex<u8, String> {
        let (theirs, ours) = pipe::<u8, String>().unwrap();
        ours.send(&text).unwrap();
        theirs
    }
    let end = start().spawn(make, "left behind".into()).unwrap().join().unwrap();
    assert_eq!(end.recv_timeout(PATIENCE).unwrap(), "left behind", "what was sent before its maker ended");
    expected!(end.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

pub(crate) fn a_dead_child_closes_its_end(start: Start) {
    let (ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    await_start(&ours);
    child.kill().unwrap();
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

pub(crate) fn descriptors_both_ways(start: Start) {
    fn append(file: Descriptor) -> Descriptor {
        let mut written = File::from(file.clone().into_owned().unwrap());
        written.write_all(b"child").unwrap();
        file
    }
    let file = Descriptor::from(OwnedFd::from(unnamed_file()));
    File::from(file.clone().into_owned().unwrap()).write_all(b"parent, ").unwrap();
    let back = start().spawn(append, file.clone()).unwrap().join().unwrap();
    for mut file in [file, back].map(|file| File::from(file.into_owned().unwrap())) {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "parent, child");
    }
}

fn unnamed_file() -> File {
    let name = format!("procession-{}-{:?}", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

pub(crate) fn six_hundred_descriptors_both_ways(start: Start) {
    fn check(all: Vec<Descriptor>) -> Vec<Descriptor> {
        let mut ends: Vec<File> = all.iter().map(|fd| fd.clone().into_owned().unwrap().into()).collect();
        let mut byte = [0];
        ends[0].write_all(b"!").unwrap();
        ends[all.len() - 1].read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"!", "the first and the last are what they were");
        all
    }
    limits::raise_descriptor_limit().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut all = vec![OwnedFd::from(writer)];
    all.extend((0..598).map(|_| File::open("/dev/null").unwrap().into()));
    all.push(reader.into());
    let all: Vec<Descriptor> = all.into_iter().map(Descriptor::from).collect();
    let back = start().spawn(check, all.clone()).unwrap().join().unwrap();
    assert_eq!(back.len(), 600);
    drop(all);
    check(back);
}

/// An end of which the sender keeps a clone, to look at afterwards.
#[derive(Debug, Clone)]
struct Kept {
    end: Arc<Duplex<u8, u8>>,
    refuse: bool,
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&*self.end)?;
        if self.refuse {
            return Err(S::Error::custom("not today"));
        }
        tuple.serialize_element(&())?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (end, ()) = Deserialize::deserialize(deserializer)?;
        Ok(Self { end: Arc::new(end), refuse: false })
    }
}

/// Refused, the end is still ours; sent, it is not, and cannot be sent again.
pub(crate) fn an_end_that_was_sent_is_moved(start: Start) {
    fn answer(kept: Kept) -> u8 {
        let n = kept.end.recv().unwrap();
        kept.end.send(&(n + 1)).unwrap();
        n
    }
    let (ours, theirs) = gate();
    let mut kept = Kept { end: Arc::new(theirs), refuse: true };
    let refused = start().spawn(answer, kept.clone());
    let error = expected!(refused, Err(SpawnError::Argument(error)) => error);
    assert!(error.to_string().contains("not today"), "{error}");
    kept.end.send(&7).unwrap();
    assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 7, "an end that was not sent is as before");

    kept.refuse = false;
    let child = start().spawn(answer, kept.clone()).unwrap();
    expected!(kept.end.send(&8), Err(SendError::Moved));
    expected!(kept.end.try_recv(), Err(RecvError::Moved));
    expected!(start().spawn(answer, kept), Err(SpawnError::Argument(_)));
    ours.send(&41).unwrap();
    assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), 42);
    assert_eq!(child.join().unwrap(), 41);
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed));
}
