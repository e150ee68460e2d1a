//! Read-only objects that tasks share.

use std::cell::Cell;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use procession_codec::{Bytes, Descriptor};
use procession_pipe::Duplex;
use procession_pool::{ParProcs, SubmitError, TaskFailed, TaskOptions};
use procession_testkit::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{Build, await_start, expected, gate, strike};

thread_local! {
    /// How often this thread has encoded a [`Counted`].
    static ENCODED: Cell<usize> = const { Cell::new(0) };
}
/// How often this process has decoded one, and how many of them live.
static DECODED: AtomicUsize = AtomicUsize::new(0);
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Counts what is done to it.
struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.set(ENCODED.get() + 1);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, SeqCst);
        ALIVE.fetch_add(1, SeqCst);
        u64::deserialize(deserializer).map(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
    }
}

/// What it is, how often it was decoded, and how many live, with the process.
fn look(context: &Counted, n: u64) -> (u64, usize, usize, u32) {
    (context.0 + n, DECODED.load(SeqCst), ALIVE.load(SeqCst), std::process::id())
}

pub(crate) fn encoded_and_decoded_once(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let before = ENCODED.get();
    let with = pool.with(&Counted(100));
    for n in 0..20 {
        let (sum, decoded, alive, _) = with.submit(look, n).unwrap().get().unwrap();
        assert_eq!((sum, decoded, alive), (100 + n, 1, 1));
    }
    let all = with.map(look, 0..500).unwrap();
    assert!(all.iter().zip(0..).all(|(look, n)| (look.0, look.1) == (100 + n, 1)));
    assert_eq!(ENCODED.get() - before, 1);
}

pub(crate) fn kept_by_who_takes_the_place(build: Build) {
    fn look_or_die(context: &Counted, n: u64) -> (u64, usize, usize, u32) {
        if n == 3 { super::signal_self(Signal::KILL) } else { look(context, n) }
    }
    let pool = build().workers(1).build().unwrap();
    let with = pool.with(&Counted(10));
    let first = with.submit(look_or_die, 1).unwrap().get().unwrap();
    strike(first.3, Signal::KILL);
    let second = with.submit(look_or_die, 2).unwrap().get().unwrap();
    assert!(first.3 != second.3 && second.0 == 12, "{first:?} {second:?}");
    let outcomes: Vec<_> = (0..6).par_procs(&pool).map_with(&with, look_or_die).collect();
    assert!(outcomes.iter().enumerate().all(|(n, outcome)| outcome.is_ok() == (n != 3)));
    let failed = outcomes[3].as_ref().unwrap_err();
    assert!(matches!(failed, TaskFailed::WorkerDied { .. }), "{failed}");
    assert_eq!(
        failed.report().unwrap().function(),
        "contract::suite::contexts::kept_by_who_takes_the_place::look_or_die"
    );
}

/// Writes a byte when it is dropped where it was decoded.
#[derive(Serialize, Deserialize)]
struct Farewell(Descriptor);

impl Drop for Farewell {
    fn drop(&mut self) {
        let end: OwnedFd = self.0.clone().into_owned().expect("a descriptor");
        // What we made ourselves says farewell too.
        let _ = std::fs::File::from(end).write_all(&[u8::from(std::process::id() == PARENT.with(Cell::get))]);
    }
}

thread_local! {
    /// The process that the tests run in, as their thread knows it.
    static PARENT: Cell<u32> = const { Cell::new(0) };
}

/// A context, and where it says farewell: 1 in this process, 0 in a worker.
fn farewell() -> (Farewell, PipeReader) {
    PARENT.set(std::process::id());
    let (reader, writer) = std::io::pipe().unwrap();
    (Farewell(OwnedFd::from(writer).into()), reader)
}

fn next(reader: &mut PipeReader) -> u8 {
    let mut byte = [9];
    reader.read_exact(&mut byte).unwrap();
    byte[0]
}

fn touch(_: &Farewell, n: u8) -> u8 {
    n
}

pub(crate) fn let_go_with_its_handle(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let (context, mut reader) = farewell();
    let with = pool.with(&context);
    assert_eq!(with.submit(touch, 1).unwrap().get().unwrap(), 1);
    drop(context);
    assert_eq!(next(&mut reader), 1);
    drop(with);
    assert_eq!(next(&mut reader), 0, "the worker, which is idle, has let it go");
}

/// A handle that is dropped while tasks wait takes nothing from them.
pub(crate) fn let_go_after_its_last_task(build: Build) {
    fn hold(context: &Farewell, gate: Duplex<u8, u8>) -> u8 {
        gate.send(&1).expect("the pool's process is there");
        touch(context, gate.recv().expect("it says when to go on"))
    }
    let pool = build().workers(1).build().unwrap();
    let (context, mut reader) = farewell();
    let ((ours, theirs), with) = (gate(), pool.with(&context));
    let running = with.submit(hold, theirs).unwrap();
    await_start(&ours);
    let waiting = with.submit(touch, 7).unwrap();
    drop((with, context));
    assert_eq!(next(&mut reader), 1);
    ours.send(&3).unwrap();
    assert_eq!((running.get().unwrap(), waiting.get().unwrap()), (3, 7));
    assert_eq!(next(&mut reader), 0);
}

pub(crate) fn no_more_than_a_few_are_kept(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let contexts: Vec<_> = (0..7).map(|n| pool.with(&Counted(n))).collect();
    for (n, with) in contexts.iter().enumerate() {
        let (value, decoded, alive, _) = with.submit(look, 0).unwrap().get().unwrap();
        assert_eq!((value, decoded), (n as u64, n + 1));
        assert!(alive <= 5, "four are kept, one is being let go: {alive}");
    }
    // The last is there still, the first is not.
    assert_eq!(contexts[6].submit(look, 0).unwrap().get().unwrap().1, 7);
    assert_eq!(contexts[0].submit(look, 0).unwrap().get().unwrap().1, 8);
}

/// Refuses to be written, or to be read.
struct Shy(bool);

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(ser::Error::custom("not to be written")) } else { serializer.serialize_bool(false) }
    }
}

impl<'de> Deserialize<'de> for Shy {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("not to be read"))
    }
}

pub(crate) fn contexts_that_do_not_travel(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let task: fn(&Shy, u8) -> u8 = |_, n| n;
    let unwritten = pool.with(&Shy(true));
    assert!(matches!(unwritten.submit(task, 1), Err(SubmitError::Argument(_))));
    let failed = unwritten.map(task, [1, 2]).unwrap_err();
    assert!(failed.to_string().contains("not to be written"), "{failed}");
    let outcomes: Vec<_> = [1, 2, 3].par_procs(&pool).map_with(&unwritten, task).collect();
    assert!(outcomes.len() == 3 && outcomes.iter().all(|o| matches!(o, Err(TaskFailed::Argument { .. }))));
    let unread = pool.with(&Shy(false));
    let failed = unread.submit(task, 1).unwrap().get().unwrap_err();
    let error = expected!(failed, TaskFailed::ArgumentNotDecoded { error, .. } => error);
    assert!(error.contains("the context") && error.contains("not to be read"), "{error}");
    // The worker lives on.
    assert_eq!(pool.submit(|n: u8| n, 5).unwrap().get().unwrap(), 5);
}

pub(crate) fn a_hundred_mebibytes(build: Build) {
    fn at(bytes: &Bytes, index: usize) -> (u8, usize) {
        (bytes[index], bytes.len())
    }
    let pool = build().workers(2).build().unwrap();
    let mut bytes = vec![0; 100 << 20];
    bytes[77 << 20] = 7;
    let with = pool.with(&Bytes::from(bytes));
    let found = with.map(at, [0, 77 << 20, (100 << 20) - 1]).unwrap();
    assert_eq!(found, [(0, 100 << 20), (7, 100 << 20), (0, 100 << 20)]);
}

pub(crate) fn maps_with_a_context(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let with = pool.with(&vec![10_u32, 20]);
    let add = |base: &Vec<u32>, n: u32| base[0] + base[1] + n;
    let mut sums: Vec<u32> = (0..300)
        .par_procs(&pool)
        .unordered()
        .in_flight(64)
        .map_with(&with, add)
        .map(Result::unwrap)
        .collect();
    sums.sort_unstable();
    assert_eq!(sums, (30..330).collect::<Vec<_>>());
    let shown = TaskOptions::new().show_arguments::<u32>();
    let failed =
        with.submit_with(shown, |base: &Vec<u32>, n: u32| base[n as usize], 9).unwrap().get().unwrap_err();
    assert_eq!(failed.report().unwrap().argument().as_deref(), Some("9"));
}

pub(crate) fn a_context_with_a_handle(build: Build) {
    fn write(end: &Descriptor, byte: u8) {
        let end = end.clone().into_owned().expect("a descriptor");
        std::fs::File::from(end).write_all(&[byte]).expect("room in a pipe");
    }
    let pool = build().workers(2).build().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let with = pool.with(&Descriptor::from(OwnedFd::from(writer)));
    with.map(write, [4; 10]).unwrap();
    drop(with);
    drop(pool);
    let mut told = Vec::new();
    reader.read_to_end(&mut told).unwrap();
    assert_eq!(told, [4; 10]);
}
