//! How many processors this process may use: the affinity mask and the control group's quota, whichever is less.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use crate::cgroup::{self, Version};

/// How many processors the calling thread can keep busy, at least 1: the size of its affinity mask, or the
/// processor quota of its control groups rounded up, whichever is less.
///
/// Reads a few small files: of the order of 100 microseconds. Both can change at any time; ask again, or keep the answer,
/// as it suits.
///
/// # Examples
/// ```
/// let workers = procession_sys::cpu::available();
/// assert!(workers >= 1);
/// ```
pub fn available() -> usize {
    let quota = quota().unwrap_or(u64::MAX);
    affinity().min(usize::try_from(quota).unwrap_or(usize::MAX)).max(1)
}

fn affinity() -> usize {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => set.count() as usize,
        // More processors than the fixed mask holds: let the standard library count.
        Err(_) => available_parallelism().map_or(1, usize::from),
    }
}

fn quota() -> Option<u64> {
    let places = cgroup::places("cpu")?;
    places.directories.iter().filter_map(|directory| quota_in(directory, places.version)).min()
}

fn quota_in(directory: &Path, version: Version) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
    match version {
        Version::Two => {
            let text = read("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            whole(quota, period)
        }
        Version::One => whole(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
    }
}

/// Microseconds of quota in a period, as whole processors. "max" and "-1" are no quota.
fn whole(quota: &str, period: &str) -> Option<u64> {
    let quota: u64 = quota.trim().parse().ok()?;
    let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
    Some(quota.div_ceil(period).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up_and_are_at_least_one() {
        assert_eq!(whole("150000", "100000"), Some(2));
        assert_eq!(whole("200000\n", "100000\n"), Some(2));
        assert_eq!(whole("1000", "100000"), Some(1));
        assert_eq!(whole("0", "100000"), Some(1));
    }

    #[test]
    fn no_quota() {
        assert_eq!(whole("max", "100000"), None);
        assert_eq!(whole("-1\n", "100000\n"), None);
        assert_eq!(whole("5", "0"), None);
        assert_eq!(whole("", ""), None);
    }

    #[test]
    fn never_more_than_the_mask() {
        let count = available();
        assert!((1..=affinity()).contains(&count), "{count}");
    }
}
