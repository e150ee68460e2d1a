//! Arguments and values that do not fit into a message, or not into a worker's journal.

use procession_codec::Bytes;
use procession_pool::{ParProcs, TaskFailed};
use procession_testkit::Signal;
use serde::{Deserialize, Serialize};

use super::{Build, expected, signal_self};

const LARGE: usize = 5 << 20;
/// Bytes that a journal holds, about.
const JOURNAL: usize = 128 << 10;

/// `len` bytes that tell their place and `seed`.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed) as u8).collect()
}

fn echo(bytes: Bytes) -> Bytes {
    bytes
}

pub(crate) fn five_mebibytes_both_ways(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let bytes = pattern(LARGE, 3);
    let back = pool.submit(echo, bytes.clone().into()).unwrap().get().unwrap();
    assert!(*back == *bytes);
    assert_eq!(pool.submit(|bytes: Bytes| bytes.len(), bytes.into()).unwrap().get().unwrap(), LARGE);
    assert!(
        *pool.submit(|len| Bytes::from(pattern(len, 4)), LARGE).unwrap().get().unwrap() == *pattern(LARGE, 4)
    );
}

pub(crate) fn many_of_five_mebibytes(build: Build) {
    let pool = build().workers(2).build().unwrap();
    let items = (0..12).map(|i| Bytes::from(vec![i; LARGE]));
    for (i, back) in (0..12).zip(items.par_procs(&pool).in_flight(4).map(echo)) {
        assert!(*back.unwrap() == *vec![i; LARGE]);
    }
}

/// A length and its place; the value is a pattern of that length.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Wanted {
    len: usize,
    index: usize,
}

fn make(wanted: Wanted) -> Bytes {
    pattern(wanted.len, wanted.index).into()
}

/// Maps over values of these lengths, after enough small ones for chunks to be long.
fn check(build: Build, lengths: impl IntoIterator<Item = usize>) {
    let lengths: Vec<usize> = [1; 200].into_iter().chain(lengths).collect();
    for workers in [1, 2] {
        let pool = build().workers(workers).build().unwrap();
        let wanted = lengths.iter().enumerate().map(|(index, len)| Wanted { len: *len, index });
        let mut n = 0;
        for value in wanted.par_procs(&pool).map(make) {
            assert!(*value.unwrap() == *pattern(lengths[n], n), "value {n} of {workers} workers");
            n += 1;
        }
        assert_eq!(n, lengths.len());
    }
}

pub(crate) fn answers_beyond_the_journal(build: Build) {
    check(build, (0..2000).map(|i| i % 700));
    check(build, [20_000; 60]);
}

pub(crate) fn one_large_answer_in_the_middle(build: Build) {
    check(build, (0..400).map(|i| if i == 200 { 2 * JOURNAL } else { 100 }));
    check(build, (0..400).map(|i| if i == 399 || i == 0 { 40 << 10 } else { 1000 }));
}

pub(crate) fn large_and_small_in_turn(build: Build) {
    check(build, (0..200).map(|i| if i % 2 == 0 { JOURNAL + 1 } else { i }));
    check(build, (0..200).map(|i| if i % 2 == 0 { 33 << 10 } else { 70 << 10 }));
}

pub(crate) fn answers_around_every_bound(build: Build) {
    for bound in [32 << 10, 64 << 10, JOURNAL - 64, JOURNAL] {
        check(build, bound - 24..bound + 8);
    }
}

/// What a worker said before its death counts, in the journal and in messages.
pub(crate) fn a_death_after_large_answers(build: Build) {
    fn make_or_die(wanted: Wanted) -> Bytes {
        if wanted.len == 0 {
            signal_self(Signal::KILL);
        }
        make(wanted)
    }
    let pool = build().workers(1).build().unwrap();
    for large in [100, 20_000, 50_000, 2 * JOURNAL] {
        let lengths: Vec<usize> = (0..400)
            .map(|i| {
                if i % 100 == 99 {
                    0
                } else if i % 5 == 0 {
                    large
                } else {
                    10
                }
            })
            .collect();
        let wanted = lengths.iter().enumerate().map(|(index, len)| Wanted { len: *len, index });
        for (n, value) in pool_results(wanted.par_procs(&pool).map(make_or_die)).into_iter().enumerate() {
            match lengths[n] {
                0 => expected!(value, Err(TaskFailed::WorkerDied { .. })),
                len => assert!(*value.unwrap() == *pattern(len, n), "value {n}, large is {large}"),
            }
        }
    }
}

fn pool_results<T>(results: impl Iterator<Item = T>) -> Vec<T> {
    let results: Vec<T> = results.collect();
    assert_eq!(results.len(), 400);
    results
}
