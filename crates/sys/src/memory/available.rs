//! How much memory seems to be left: the machine's, and what the control groups of this process still allow.
//!
//! A group that outgrows its limit is not refused memory but killed, so one has to look before growing. The answer
//! is a snapshot, good for refusing absurd wishes; it reserves nothing.

use std::fs;
use std::path::Path;

use crate::cgroup::{self, Version};

/// How many bytes this process could still use without being killed for it, as far as the system says;
/// `u64::MAX` where it says nothing.
///
/// The least of the machine's available memory and swap, and the room in each control group above this process.
/// Reads a few small files: of the order of 100 microseconds.
///
/// # Examples
/// ```
/// assert!(procession_sys::memory::available() > 1 << 20);
/// ```
pub fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| left_on_machine(&text));
    let group = cgroup::places("memory")
        .and_then(|places| places.directories.iter().filter_map(|d| left_in(d, places.version)).min());
    machine.unwrap_or(u64::MAX).min(group.unwrap_or(u64::MAX))
}

/// The old version writes the lack of a limit as a number of this size.
const UNLIMITED: u64 = 1 << 60;

fn left_on_machine(meminfo: &str) -> Option<u64> {
    let kibibytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(kibibytes("MemAvailable:")?.saturating_add(kibibytes("SwapFree:").unwrap_or(0)).saturating_mul(1024))
}

fn left_in(directory: &Path, version: Version) -> Option<u64> {
    let (limit, usage, reclaimable) = match version {
        Version::Two => ("memory.max", "memory.current", "inactive_file"),
        Version::One => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    };
    let limit = cgroup::number(directory, limit).filter(|limit| *limit < UNLIMITED)?;
    let usage = cgroup::number(directory, usage)?;
    let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    Some(room(limit, usage, cgroup::number_of(&stat, reclaimable).unwrap_or(0)))
}

/// Cached pages of files count as used, but are given back under pressure.
fn room(limit: u64, usage: u64, reclaimable: u64) -> u64 {
    limit.saturating_sub(usage.saturating_sub(reclaimable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_machine() {
        let text = "MemTotal: 100 kB\nMemAvailable:   60 kB\nSwapFree: 4 kB\n";
        assert_eq!(left_on_machine(text), Some(64 * 1024));
        assert_eq!(left_on_machine("MemAvailable: 60 kB\n"), Some(60 * 1024));
        assert_eq!(left_on_machine("MemTotal: 100 kB\n"), None);
        assert_eq!(left_on_machine("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn of_a_group() {
        assert_eq!(room(100, 70, 20), 50);
        assert_eq!(room(100, 170, 20), 0);
        assert_eq!(room(100, 10, 20), 100);
    }
}
