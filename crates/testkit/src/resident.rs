//! Memory that a process keeps from one round of its work to the next.
//!
//! Counted is what the kernel has in memory for this process alone and in shared mappings, not pages of files: code that
//! runs for the first time is no leak. Invariant: one round that needs more than others does not change the slope.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::{Leaks, Role, guarded_for, procfs, role, roles};

const N_CYCLES: usize = 1000;
/// How much more memory a cycle may leave, in bytes.
const MOST: f64 = 1024.0;
const LIMIT: Duration = Duration::from_secs(580);

/// Does `cycle` a thousand times, in a process of its own, since memory is the process's: no descriptor, no mapping, no child
/// more, and in the second half no more than a kibibyte a cycle. For a test that does nothing else; `what` is for the text.
///
/// # Panics
/// If something is left, or memory grows.
pub fn a_thousand_cycles(what: &str, cycle: fn(usize)) {
    if role().is_some() {
        return measure(what, cycle);
    }
    guarded_for(LIMIT, || {
        let output = Role::new("cycles").spawn().wait_with_output(LIMIT).expect_success();
        let _ = writeln!(std::io::stderr(), "{}", output.said.join("\n"));
    });
}

fn measure(what: &str, cycle: fn(usize)) {
    // What the first cycles make for the whole process, and what an allocator keeps.
    (0..20).for_each(cycle);
    let before = Leaks::now();
    let mut samples = Vec::with_capacity(N_CYCLES);
    let start = Instant::now();
    for n in 0..N_CYCLES {
        cycle(n);
        samples.push(resident());
    }
    let took = start.elapsed().div_f64(N_CYCLES as f64);
    before.check(Duration::from_secs(10)).unwrap_or_else(|leaked| panic!("{leaked}"));
    let last = &samples[N_CYCLES / 2..];
    let (first_bytes, last_bytes) = (samples[0], samples[N_CYCLES - 1]);
    let slope = slope(last);
    roles::say(&format!(
        "{what}: {N_CYCLES} cycles of {took:?}; {first_bytes} bytes after the first, {last_bytes} after the last; \
         {slope:.1} bytes a cycle in the second half"
    ));
    assert!(slope <= MOST, "{slope} bytes a cycle: {last:?}");
}

/// Bytes of anonymous and shared memory that this process has now.
///
/// # Panics
/// When the kernel does not say.
#[must_use]
pub fn resident() -> u64 {
    let status = procfs::text("/proc/self/status").expect("our own status");
    let kibibytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a kernel since 4.5");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    1024 * (kibibytes("RssAnon:") + kibibytes("RssShmem:"))
}

/// By how many bytes a round `samples` grow, one of each round: the median of the last quarter against that of the first.
///
/// # Panics
/// When there are fewer than eight samples.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^53")]
pub fn slope(samples: &[u64]) -> f64 {
    let quarter = samples.len() / 4;
    assert!(quarter >= 2, "{} samples tell nothing", samples.len());
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    (median(last) - median(first)) / (samples.len() - quarter) as f64
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^53")]
fn median(samples: &[u64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_growth_is_the_slope_and_one_peak_is_none() {
        let growing: Vec<u64> = (0..100).map(|n| 5000 + 300 * n).collect();
        assert!((slope(&growing) - 300.0).abs() < 1.0);
        let mut flat = vec![7000; 100];
        flat[50..60].fill(1 << 30);
        flat[99] = 1 << 30;
        assert!(slope(&flat).abs() < 1e-9);
    }

    #[test]
    fn what_is_touched_is_counted() {
        let before = resident();
        let touched = vec![1_u8; 32 << 20];
        assert!(resident() >= before + (24 << 20), "{} bytes are there", touched.len());
    }
}
