//! Structs and arrays in one piece of shared memory: layout, travel, and what is refused.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;

use procession_codec::{Codec, Postcard, handles};
use procession_raw::{Event, Lock};
use procession_shm::space::from_descriptor;
use procession_shm::{Atomic, Cell, Plain, Refusal, Segment, Shape, Shared, ShmError, Space};
use procession_sys::Deadline;
use procession_testkit::guarded;

/// All kinds of fields, one of them an array, one a struct.
#[derive(Clone, Shared)]
struct Board {
    stop: Atomic<bool>,
    cells: [Cell<Lock, Entry>; 3],
    counts: Counts,
}

#[derive(Clone, Shared)]
struct Counts(Atomic<u64>, Atomic<u8>);

#[derive(Clone, Shared)]
struct One<T: Plain>(Cell<Lock, T>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
struct Entry {
    key: u32,
    value: [u16; 2],
}

fn board() -> Board {
    let entry = |key| Entry { key, value: [7; 2] };
    Board::create((true, [1, 2, 3].map(entry), (5, 6))).unwrap()
}

/// As a message carries it.
fn sent<A: serde::Serialize, B: serde::de::DeserializeOwned>(value: &A) -> Result<B, String> {
    let mut bytes = Vec::new();
    let ((), outgoing) =
        handles::collect(|| Postcard::encode_into(value, &mut bytes)).map_err(|e| e.to_string())?;
    let fds = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
    outgoing.commit();
    handles::supply(fds, || Postcard::decode(&bytes)).map_err(|e| format!("{e} {e:?}"))
}

fn lock<T: Plain>(cell: &Cell<Lock, T>) -> procession_shm::Locked<'_, Lock, T> {
    cell.lock(procession_shm::Wait(Deadline::NEVER)).unwrap().0
}

#[test]
fn fields_lie_one_behind_the_other_and_locks_in_lines_of_their_own() {
    guarded(|| {
        let board = board();
        let offsets = [board.stop.space(), board.cells[0].space(), board.cells[2].space()].map(Space::offset);
        assert_eq!(offsets, [0, 64, 192]);
        let counts = &board.counts;
        assert_eq!([counts.0.space(), counts.1.space()].map(Space::offset), [256, 264]);
        assert_eq!((Board::SHAPE.len(), Board::SHAPE.align()), (320, 64));
        assert_eq!((counts.0.load(), counts.1.load(), board.stop.load()), (5, 6, true));
        assert_eq!(lock(&board.cells[1]).key, 2);
    });
}

#[test]
fn a_struct_and_each_part_of_it_travel_and_are_the_same_memory() {
    guarded(|| {
        let board = board();
        let other: Board = sent(&board).unwrap();
        lock(&other.cells[2]).value = [8, 9];
        other.counts.0.fetch_add(1);
        assert_eq!((lock(&board.cells[2]).value, board.counts.0.load()), ([8, 9], 6));
        let counts: Counts = sent(&other.counts).unwrap();
        counts.1.store(60);
        let cell: Atomic<u8> = sent(&counts.1).unwrap();
        assert_eq!((cell.load(), board.counts.1.load()), (60, 60));
        let stop: Atomic<bool> = sent(&board.stop).unwrap();
        stop.store(false);
        assert!(!board.stop.load());
    });
}

#[test]
fn what_is_something_else_is_refused() {
    guarded(|| {
        let board = board();
        let refused = |error: Result<Counts, String>| {
            assert!(error.err().is_some_and(|e| e.contains("fingerprint")));
        };
        refused(sent(&board));
        refused(sent(&board.stop));
        refused(sent(&One::<u64>::create(0).unwrap()));
        assert!(sent::<_, One<i64>>(&One::<u64>::create(0).unwrap()).is_err());
        let segment = Segment::new(Board::SHAPE.len()).unwrap();
        let fd = segment.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(from_descriptor::<Board>(fd, None), Err(ShmError::Refused(Refusal::Type { .. }))));
    });
}

#[test]
fn kinds_of_words_are_told_apart() {
    guarded(|| {
        let shapes: Vec<Shape> = vec![
            Cell::<Lock, u32>::SHAPE,
            Cell::<Event, u32>::SHAPE,
            Cell::<Lock, i32>::SHAPE,
            One::<u32>::SHAPE,
            <[Atomic<u8>; 2]>::SHAPE,
            <[Atomic<u8>; 3]>::SHAPE,
            Atomic::<u8>::SHAPE,
        ];
        for (at, shape) in shapes.iter().enumerate() {
            assert!(shapes[..at].iter().all(|other| other.fingerprint() != shape.fingerprint()), "{at}");
        }
    });
}
