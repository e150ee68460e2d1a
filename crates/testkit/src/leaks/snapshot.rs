//! One look at what the process holds, and the difference of two.
//!
//! Invariant: looking holds nothing: the descriptors opened for reading `/proc` are closed before the
//! others are named, and so drop out of the list by themselves.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process;

use crate::processes::{self, Identity};
use crate::procfs::{self, Stat};

use super::Leak;

/// What the process held at one moment.
///
/// ```
/// use procession_testkit::Leaks;
/// use std::time::Duration;
///
/// let before = Leaks::now();
/// let file = std::fs::File::open("/proc/self/stat").unwrap();
/// let leaked = before.check(Duration::ZERO).unwrap_err();
/// assert!(leaked.to_string().contains("/stat"));
/// drop(file);
/// assert!(before.check(Duration::ZERO).is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Leaks {
    descriptors: Vec<(RawFd, String)>,
    mappings: Vec<Mapping>,
    names: Vec<PathBuf>,
    processes: Vec<Stat>,
    prefixes: Vec<String>,
}

impl Leaks {
    /// What the process holds now, without names.
    #[must_use]
    pub fn now() -> Self {
        Self::with_names(Vec::new())
    }

    /// What the process holds now, with the names in `/dev/shm` and in the temporary directory that begin
    /// with one of `prefixes`.
    #[must_use]
    pub fn with_names(prefixes: Vec<String>) -> Self {
        Self {
            descriptors: descriptors(),
            mappings: mappings(),
            names: names(&prefixes),
            processes: processes::family(process::id()),
            prefixes,
        }
    }

    /// What is there now and was not there at the snapshot.
    #[must_use]
    pub fn compare(&self) -> Vec<Leak> {
        let now = Self::with_names(self.prefixes.clone());
        let mut found = self.new_descriptors(&now);
        found.extend(self.new_mappings(&now));
        found.extend(now.names.iter().filter(|name| !self.names.contains(name)).cloned().map(Leak::Name));
        found.extend(self.new_processes(&now));
        found
    }

    /// The new ones of each kind of which there are more than before.
    fn new_descriptors(&self, now: &Self) -> Vec<Leak> {
        let count = |all: &[(RawFd, String)], kind: &str| all.iter().filter(|one| is_kind(one, kind)).count();
        let is_new = |one: &&(RawFd, String)| {
            let kind = kind(&one.1);
            !self.descriptors.contains(one) && count(&now.descriptors, kind) > count(&self.descriptors, kind)
        };
        let found = now.descriptors.iter().filter(is_new);
        found.map(|(fd, target)| Leak::Descriptor { fd: *fd, target: target.clone() }).collect()
    }

    /// The new ones of each path of which more bytes are mapped than before.
    fn new_mappings(&self, now: &Self) -> Vec<Leak> {
        let (before, after) = (bytes_by_path(&self.mappings), bytes_by_path(&now.mappings));
        let grew = |path: &str| after.get(path) > before.get(path);
        let is_new = |one: &&Mapping| grew(&one.path) && !self.mappings.contains(one);
        let found = now.mappings.iter().filter(is_new);
        found
            .map(|one| Leak::Mapping { path: one.path.clone(), range: one.range.clone(), bytes: one.bytes })
            .collect()
    }

    fn new_processes(&self, now: &Self) -> Vec<Leak> {
        let known: Vec<Identity> = self.processes.iter().map(Identity::from).collect();
        let found = now.processes.iter().filter(|stat| !known.contains(&Identity::from(*stat)));
        found
            .map(|stat| Leak::Process {
                identity: Identity::from(stat),
                state: stat.state,
                comm: stat.comm.clone(),
                command: procfs::command_line(stat.pid),
            })
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    range: String,
    inode: String,
    path: String,
    bytes: u64,
}

fn descriptors() -> Vec<(RawFd, String)> {
    // `numbers` has closed its directory when it returns, so the link of that descriptor is gone.
    let open = procfs::numbers("/proc/self/fd");
    open.into_iter()
        .filter_map(|fd| {
            let target = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            Some((fd.cast_signed(), target.to_string_lossy().into_owned()))
        })
        .collect()
}

fn is_kind(descriptor: &(RawFd, String), wanted: &str) -> bool {
    kind(&descriptor.1) == wanted
}

/// `socket:[123]` is of the kind `socket:`; everything else is a kind of its own.
fn kind(target: &str) -> &str {
    match target.rsplit_once('[') {
        Some((kind, inode)) if inode.strip_suffix(']').is_some_and(is_number) => kind,
        _ => target,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn mappings() -> Vec<Mapping> {
    let maps = procfs::text("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(mapping).collect()
}

/// One line of the maps file if it is shared memory.
fn mapping(line: &str) -> Option<Mapping> {
    let path = &line[line.find('/')?..];
    let shared = ["/memfd:", "/dev/shm/", "/SYSV", "/dev/zero"];
    if !shared.iter().any(|start| path.starts_with(start)) {
        return None;
    }
    let mut fields = line.split_ascii_whitespace();
    let range = fields.next()?.to_owned();
    let inode = fields.nth(3)?.to_owned();
    let (start, end) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let bytes = address(end)?.checked_sub(address(start)?)?;
    Some(Mapping { bytes, range, inode, path: path.to_owned() })
}

fn bytes_by_path(mappings: &[Mapping]) -> BTreeMap<&str, u64> {
    let mut bytes = BTreeMap::new();
    for one in mappings {
        *bytes.entry(one.path.as_str()).or_insert(0) += one.bytes;
    }
    bytes
}

fn names(prefixes: &[String]) -> Vec<PathBuf> {
    if prefixes.is_empty() {
        return Vec::new();
    }
    [PathBuf::from("/dev/shm"), env::temp_dir()].iter().flat_map(|dir| names_in(dir, prefixes)).collect()
}

fn names_in(dir: &Path, prefixes: &[String]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(matches).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inode_is_no_part_of_a_kind() {
        assert_eq!(kind("socket:[123]"), "socket:");
        assert_eq!(kind("anon_inode:[eventfd]"), "anon_inode:[eventfd]");
        assert_eq!(kind("/memfd:ring (deleted)"), "/memfd:ring (deleted)");
    }

    #[test]
    fn shared_memory_is_told_from_other_files() {
        let line = "7f00-9f00 rw-s 00000000 00:01 2049  /memfd:two words (deleted)";
        let found = mapping(line).expect("a memfd");
        assert_eq!((found.path.as_str(), found.bytes), ("/memfd:two words (deleted)", 0x2000));
        assert!(mapping("7f00-8f00 r-xp 00000000 00:01 2049 /usr/lib/libc.so.6").is_none());
        assert!(mapping("7f00-8f00 rw-p 00000000 00:00 0").is_none());
    }
}
