//! What `/proc` says about processes and threads, parsed once and for all.
//!
//! Invariants: nothing here fails because a process ended while it was being read; such a process is
//! simply left out. Texts that the kernel does not promise to be UTF-8 (a command name, a file name) are
//! read lossily.

use std::fs;
use std::path::Path;

use crate::processes::State;

/// The fields of one `/proc/…/stat` line that tests ask about.
#[derive(Debug, Clone)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    pub(crate) state: State,
    pub(crate) parent: u32,
    /// Clock ticks since boot.
    pub(crate) start: u64,
}

/// The stat line of `pid`, or `None` when there is no such process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    parse(&text(format!("/proc/{pid}/stat"))?)
}

/// The stat line of every process that this one can see.
pub(crate) fn all() -> Vec<Stat> {
    numbers("/proc").into_iter().filter_map(stat).collect()
}

/// The entries of a directory whose names are numbers, in ascending order; empty when it cannot be read.
pub(crate) fn numbers(dir: impl AsRef<Path>) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

/// A file's contents as text without trailing white space; `None` when it cannot be read.
pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// The command line of `pid` with spaces between its arguments; empty for a zombie.
pub(crate) fn command_line(pid: u32) -> String {
    let raw = text(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split('\0').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The command name stands in brackets and may itself hold brackets and spaces: the last `)` ends it.
pub(crate) fn parse(line: &str) -> Option<Stat> {
    let (pid, rest) = line.split_once(" (")?;
    let (comm, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        state: State::from_letter(fields.first()?.chars().next()?),
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_confuse() {
        let line = "7 (a) R 1) S 3 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2";
        let stat = parse(line).expect("parses");
        assert_eq!((stat.pid, stat.comm.as_str(), stat.parent, stat.start), (7, "a) R 1", 3, 99));
        assert_eq!(stat.state, State::Sleeping);
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert!(parse("7 (a) S 3").is_none());
        assert!(parse("").is_none());
    }
}
