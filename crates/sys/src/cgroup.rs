//! Where the control groups of this process keep their limits: the directories to look into, nearest first.
//!
//! Both versions of control groups can be mounted at once, and a container may see only a part of the tree; a
//! limit of any visible ancestor binds. What cannot be read limits nothing. Parsing is pure and tested on text.

use std::fs;
use std::path::{Path, PathBuf};

/// The file layout of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// The directories whose limits bind this process for one controller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) version: Version,
    /// From the group of this process up to the topmost visible one.
    pub(crate) directories: Vec<PathBuf>,
}

/// Finds the places of `controller` ("cpu", "memory") for this process, if any are mounted.
pub(crate) fn places(controller: &str) -> Option<Places> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&groups, &mounts, controller)
}

/// The number in `directory/file`; the word "max" and what cannot be read are `None`.
pub(crate) fn number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The number after `key` in a file of "key number" lines.
pub(crate) fn number_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn find(groups: &str, mounts: &str, controller: &str) -> Option<Places> {
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    let old =
        mounts.iter().find(|m| m.version == Version::One && m.options.split(',').any(|o| o == controller));
    let mount = old.or_else(|| mounts.iter().find(|m| m.version == Version::Two))?;
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match mount.version {
            Version::One => controllers.split(',').any(|name| name == controller),
            Version::Two => controllers.is_empty(),
        };
        ours.then_some(path)
    })?;
    Some(Places { version: mount.version, directories: mount.chain(group) })
}

struct Mount<'a> {
    version: Version,
    /// Which part of the hierarchy is mounted.
    root: &'a str,
    /// Where.
    point: &'a str,
    /// Options of the file system: names the controllers of version 1.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads a line of `mountinfo`: fields, a dash after optional ones, then type, source, options.
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let version = match after.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        Some(Self { version, root, point, options: after.nth(1).unwrap_or("") })
    }

    /// The directory of `group` and its ancestors within this mount. A group outside of the mounted part (another
    /// container's view) leaves the mount point itself.
    fn chain(&self, group: &str) -> Vec<PathBuf> {
        let below = if self.root == "/" { Some(group) } else { group.strip_prefix(self.root) };
        let below = below.filter(|path| !path.split('/').any(|part| part == "..")).unwrap_or("");
        let point = Path::new(self.point);
        let deepest = point.join(below.trim_matches('/'));
        deepest.ancestors().take_while(|path| path.starts_with(point)).map(Path::to_path_buf).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 0:21 / / rw - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn paths(places: &Places) -> Vec<&str> {
        places.directories.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn version_two_with_its_ancestors() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let places = find("0::/user.slice/app.scope\n", mounts, "cpu").unwrap();
        assert_eq!(places.version, Version::Two);
        let expected = ["/sys/fs/cgroup/user.slice/app.scope", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        assert_eq!(paths(&places), expected);
    }

    #[test]
    fn version_one_is_preferred_where_it_holds_the_controller() {
        let groups = "4:memory:/job/7\n2:cpu,cpuacct:/\n0::/else\n";
        let memory = find(groups, HYBRID, "memory").unwrap();
        assert_eq!((memory.version, paths(&memory)[0]), (Version::One, "/sys/fs/cgroup/memory/job/7"));
        let cpu = find(groups, HYBRID, "cpu").unwrap();
        assert_eq!((cpu.version, paths(&cpu)), (Version::One, vec!["/sys/fs/cgroup/cpu/",]).to_owned());
        let pids = find(groups, HYBRID, "pids").unwrap();
        assert_eq!((pids.version, paths(&pids)[0]), (Version::Two, "/sys/fs/cgroup/unified/else"));
    }

    #[test]
    fn a_container_sees_a_part_only() {
        let mounts = "35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let inside = find("4:memory:/docker/ab/job\n", mounts, "memory").unwrap();
        assert_eq!(paths(&inside), ["/sys/fs/cgroup/memory/job", "/sys/fs/cgroup/memory"]);
        let outside = find("4:memory:/../../elsewhere\n", mounts, "memory").unwrap();
        assert_eq!(outside.directories.len(), 1);
        let all = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            paths(&find("0::/../elsewhere\n", all, "cpu").unwrap())[0].trim_end_matches('/'),
            "/sys/fs/cgroup"
        );
    }

    #[test]
    fn nothing_mounted_or_nonsense() {
        assert_eq!(find("0::/\n", "", "cpu"), None);
        assert_eq!(find("", HYBRID, "cpu"), None);
        assert_eq!(find("rubbish\n:::\n", "a b - c\n - cgroup2", "cpu"), None);
    }

    #[test]
    fn numbers_by_key() {
        let text = "inactive_file 4096\ninactive 1\n";
        assert_eq!(number_of(text, "inactive_file"), Some(4096));
        assert_eq!(number_of(text, "inactive"), Some(1));
        assert_eq!(number_of(text, "file"), None);
    }
}
