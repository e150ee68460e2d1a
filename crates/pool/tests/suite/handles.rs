//! Handles in arguments and values.

use std::fs::File;
use std::io::{Read, Write, pipe as os_pipe, read_to_string};
use std::os::fd::OwnedFd;

use procession_codec::Descriptor;
use procession_pipe::{Duplex, RecvError, pipe};
use procession_pool::{ParProcs, SubmitError, TaskFailed};
use procession_testkit::Signal;
use serde::{Deserialize, Serialize, Serializer, ser::Error};

use super::{Build, PATIENCE, expected, gate, signal_self};

fn owned(file: impl Into<OwnedFd>) -> Descriptor {
    Descriptor::from(file.into())
}

fn into_file(descriptor: Descriptor) -> File {
    descriptor.into_owned().expect("it is ours").into()
}

pub(crate) fn a_descriptor_goes_and_comes(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (reader, writer) = os_pipe().unwrap();
    let write = |descriptor| into_file(descriptor).write_all(b"from a worker").unwrap();
    pool.submit(write, owned(writer)).unwrap().get().unwrap();
    assert_eq!(read_to_string(reader).unwrap(), "from a worker");

    let make = |text: String| {
        let (reader, mut writer) = os_pipe().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        owned(reader)
    };
    let reader = pool.submit(make, "made there".into()).unwrap().get().unwrap();
    drop(pool);
    assert_eq!(read_to_string(into_file(reader)).unwrap(), "made there");
}

pub(crate) fn a_pipe_to_a_running_task(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = pipe::<u32, u32>().unwrap();
    let serve = |end: Duplex<u32, u32>| {
        let mut n = 0;
        while let Ok(value) = end.recv() {
            end.send(&(value + 1)).unwrap();
            n += 1;
        }
        n
    };
    let task = pool.submit(serve, theirs).unwrap();
    for n in 0..100 {
        ours.send(&n).unwrap();
        assert_eq!(ours.recv_timeout(PATIENCE).unwrap(), n + 1);
    }
    drop(ours);
    assert_eq!(task.get().unwrap(), 100);

    let make = |()| pipe::<u8, u8>().unwrap();
    let (one, two) = pool.submit(make, ()).unwrap().get().unwrap();
    one.send(&4).unwrap();
    assert_eq!(two.recv_timeout(PATIENCE).unwrap(), 4);
}

fn file_with(text: &str) -> Descriptor {
    let (reader, mut writer) = os_pipe().unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    owned(reader)
}

pub(crate) fn many_descriptors_in_one_chunk(build: Build) {
    let pool = build().workers(1).build().unwrap();
    // Each with its own text, so that none is taken for another.
    let read = |(descriptor, _): (Descriptor, u8)| read_to_string(into_file(descriptor)).unwrap();
    let items = (0..1200).map(|n| (file_with(&n.to_string()), 0));
    for (n, text) in items.par_procs(&pool).map(read).enumerate() {
        assert_eq!(text.unwrap(), n.to_string());
    }
    let read_all = |all: Vec<Descriptor>| {
        all.into_iter().map(|one| read_to_string(into_file(one)).unwrap()).collect::<Vec<_>>()
    };
    let texts: Vec<String> = (0..700).map(|n| n.to_string()).collect();
    let files = texts.iter().map(|text| file_with(text)).collect();
    assert_eq!(pool.submit(read_all, files).unwrap().get().unwrap(), texts);
}

pub(crate) fn many_descriptors_in_one_answer(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let make = |n: usize| (0..n).map(|i| file_with(&i.to_string())).collect::<Vec<_>>();
    let counts = [0, 1, 0, 700, 2, 0, 0, 254, 3];
    for (n, files) in counts.into_iter().zip(counts.par_procs(&pool).map(make)) {
        let texts: Vec<_> =
            files.unwrap().into_iter().map(|f| read_to_string(into_file(f)).unwrap()).collect();
        assert_eq!(texts, (0..n).map(|i| i.to_string()).collect::<Vec<_>>());
    }
    // Alternating answers with and without, in long chunks.
    let make = |n: u32| (n, n.is_multiple_of(3).then(|| file_with(&n.to_string())));
    for (n, answer) in (0..600).zip((0..600).par_procs(&pool).map(make)) {
        let (m, file) = answer.unwrap();
        assert_eq!((m, file.is_some()), (n, n % 3 == 0));
        assert!(file.is_none_or(|file| read_to_string(into_file(file)).unwrap() == n.to_string()));
    }
}

/// What is run again after a death gets its own handles and not those of its neighbours.
pub(crate) fn handles_of_what_comes_after_a_death(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let read = |(all, deadly): (Vec<Descriptor>, bool)| {
        if deadly {
            signal_self(Signal::KILL);
        }
        all.into_iter().map(|one| read_to_string(into_file(one)).unwrap()).collect::<Vec<_>>()
    };
    let texts = |n: usize| (0..n % 3).map(|i| format!("{n}-{i}")).collect::<Vec<_>>();
    let items = (0..400).map(|n| (texts(n).iter().map(|text| file_with(text)).collect(), n % 50 == 49));
    for (n, result) in items.par_procs(&pool).map(read).enumerate() {
        match result {
            Ok(read) => assert_eq!(read, texts(n)),
            Err(error) => assert!(n % 50 == 49, "item {n}: {error}"),
        }
    }
}

pub(crate) fn handles_of_the_dead_are_closed(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    let die = |_: Duplex<u8, u8>| -> u8 { signal_self(Signal::KILL) };
    expected!(pool.submit(die, theirs).unwrap().get(), Err(TaskFailed::WorkerDied { .. }));
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed | RecvError::ClosedInside { .. }));
    let (reader, writer) = os_pipe().unwrap();
    let panics = |_: Descriptor| -> u8 { panic!("with a handle") };
    expected!(pool.submit(panics, owned(writer)).unwrap().get(), Err(TaskFailed::Panicked { .. }));
    assert_eq!(File::from(OwnedFd::from(reader)).read(&mut [0]).unwrap(), 0, "nobody holds the other end");
}

/// A handle, and a part that does not encode.
#[derive(Deserialize)]
struct Refused(Duplex<u8, u8>);

impl Serialize for Refused {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)?;
        Err(S::Error::custom("no"))
    }
}

pub(crate) fn a_handle_refused_stays_ours(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (ours, theirs) = gate();
    expected!(pool.submit(|_: Refused| (), Refused(theirs)), Err(SubmitError::Argument(_)));
    // It was ours, and went with the argument. A process that is just being started may have a copy for a moment.
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed));
    let (ours, theirs) = gate();
    pool.close();
    expected!(pool.submit(super::hold, theirs), Err(SubmitError::Closed));
    expected!(ours.recv_timeout(PATIENCE), Err(RecvError::Closed));
}
