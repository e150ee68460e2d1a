//! Children started and joined many times over: no descriptor, no mapping, no child more, and no growth of memory.

use procession_codec::Bytes;
use procession_process::spawn;
use procession_testkit::resident::a_thousand_cycles;

/// A child that gets and returns a little, or much, or dies.
fn cycle(n: usize) {
    fn task(bytes: Bytes) -> Bytes {
        if bytes.len() == 7 { std::process::abort() } else { bytes }
    }
    let len = [10, 100_000, 7][n % 3];
    let joined = spawn(task, vec![1; len].into()).unwrap().join();
    assert_eq!(joined.is_ok_and(|bytes| bytes.len() == len), len != 7);
}

#[test]
fn a_thousand_cycles_leave_nothing() {
    a_thousand_cycles("process", cycle);
}
