//! Children started and joined many times over: no descriptor, no mapping, no child more, and no growth of memory.
//!
//! In a process of its own, since memory is the process's.

use std::io::Write;
use std::time::{Duration, Instant};

use procession_codec::Bytes;
use procession_process::spawn;
use procession_testkit::resident::{resident, slope};
use procession_testkit::{Leaks, Role, guarded_for, role, roles};

const LIMIT: Duration = Duration::from_secs(580);
const N_CYCLES: usize = 1000;
/// Bytes a cycle.
const MOST: f64 = 1024.0;

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
    if role().is_some() {
        // What the first cycles make for the whole process, and what an allocator keeps.
        (0..20).for_each(cycle);
        let before = Leaks::now();
        let mut samples = Vec::with_capacity(N_CYCLES);
        let start = Instant::now();
        for n in 0..N_CYCLES {
            cycle(n);
            samples.push(resident());
        }
        let took = start.elapsed() / u32::try_from(N_CYCLES).unwrap();
        before.check(Duration::from_secs(10)).unwrap_or_else(|leaked| panic!("{leaked}"));
        let last = &samples[N_CYCLES / 2..];
        let (first_bytes, last_bytes) = (samples[0], samples[N_CYCLES - 1]);
        let slope = slope(last);
        roles::say(&format!(
            "process: {N_CYCLES} cycles of {took:?}; {first_bytes} bytes after the first, {last_bytes} after the last; \
             {slope:.1} bytes a cycle in the second half"
        ));
        assert!(slope <= MOST, "{slope} bytes a cycle: {last:?}");
        return;
    }
    guarded_for(LIMIT, || {
        let output = Role::new("cycles").spawn().wait_with_output(LIMIT).expect_success();
        let _ = writeln!(std::io::stderr(), "{}", output.said.join("\n"));
    });
}
