//! How much memory a process has at the moment, and whether the kernel has ended processes for lack of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use crate::cgroup::{self, Version};

/// How many bytes of the process `pid` are in memory, pages it shares with others included; `None` if there is no such
/// process, or none that may be looked at. 0 for one that has ended and was not reaped.
///
/// # Examples
/// ```
/// let ours = procession_sys::memory::resident(std::process::id()).unwrap();
/// assert!(ours > 64 << 10);
/// assert_eq!(procession_sys::memory::resident(u32::MAX), None);
/// ```
pub fn resident(pid: u32) -> Option<u64> {
    of_text(&fs::read(format!("/proc/{pid}/statm")).ok()?)
}

/// The calling process's own resident size, again and again: a system call each time.
///
/// # Examples
/// ```
/// let own = procession_sys::memory::Resident::own().unwrap();
/// assert!(own.bytes().unwrap() > 64 << 10);
/// ```
#[derive(Debug)]
pub struct Resident(File);

impl Resident {
    /// `None` where there is no `/proc`, or no descriptor left.
    pub fn own() -> Option<Self> {
        File::open("/proc/self/statm").ok().map(Self)
    }

    /// How many bytes are in memory now.
    pub fn bytes(&self) -> Option<u64> {
        let mut text = [0; 128];
        let n = self.0.read_at(&mut text, 0).ok()?;
        of_text(text.get(..n)?)
    }
}

fn of_text(statm: &[u8]) -> Option<u64> {
    let pages = std::str::from_utf8(statm).ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// How often the kernel has ended a process in the control group of this process because the group's memory was used up;
/// `None` where nothing counts that. Reads a few small files: of the order of 100 microseconds.
pub fn oom_kills() -> Option<u64> {
    let places = cgroup::places("memory")?;
    let file = match places.version {
        Version::Two => "memory.events",
        Version::One => "memory.oom_control",
    };
    let text = fs::read_to_string(places.directories.first()?.join(file)).ok()?;
    cgroup::number_of(&text, "oom_kill")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_in_pages() {
        let page = rustix::param::page_size() as u64;
        assert_eq!(of_text(b"100 7 3 1 0 5 0\n"), Some(7 * page));
        for nonsense in [&b""[..], b"100", b"100 x 3", b"\xff 1"] {
            assert_eq!(of_text(nonsense), None);
        }
    }

    #[test]
    fn what_is_touched_is_counted() {
        let own = Resident::own().unwrap();
        let before = own.bytes().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(own.bytes().unwrap() >= before + (24 << 20));
        drop(touched);
    }
}
