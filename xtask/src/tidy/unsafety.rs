//! Which files hold `unsafe`, and how often: nothing becomes unsafe without a line in a committed list.
//!
//! Counted is the keyword outside comments and strings: blocks, functions, implementations, foreign functions
//! and `#[unsafe(..)]` attributes. Invariants: listed files lie below [`PLACES`], allow the lint with a
//! reason and have a `# Safety` section; every crate that does not lie there forbids unsafe code in its root
//! file.

use super::code;
use super::files::Files;
use crate::workspace::Workspace;

/// The committed list: lines of path and count.
pub(crate) const LIST: &str = "xtask/unsafe-files.txt";

/// Where a listed file may lie.
const PLACES: &[&str] = &[
    "crates/sys/",
    "crates/shm/",
    "crates/queue/src/loan.rs",
    "crates/testkit/",
    "benches/",
    "crates/codec/tests/",
    "crates/process/tests/",
    "crates/procession/tests/",
];

const HEADER: &str = "\
# Every file that holds the keyword `unsafe`, and how often. `cargo xtask tidy --bless` rewrites the counts; a new line
# is a decision for the review of the commit that adds it.
";

/// Compares the tree with the list, both ways, and looks at the root file of every crate.
pub(crate) fn check(workspace: &Workspace, files: &Files) -> Vec<String> {
    let Some(list) = files.text(LIST) else {
        return vec![format!("{LIST} is missing: `cargo xtask tidy --bless`")];
    };
    let mut complaints = check_list(list, files);
    let roots =
        workspace.members().filter_map(|member| member.root_source()).map(|path| workspace.relative(path));
    complaints.extend(roots.filter_map(|root| check_root(&root, files.text(&root).unwrap_or_default())));
    complaints
}

/// Rewrites the list from the tree.
pub(crate) fn bless(files: &mut Files) -> Result<(), String> {
    let lines = counts(files).map(|(path, n)| format!("{path} {n}\n")).collect::<String>();
    files.write(LIST, format!("{HEADER}{lines}"))
}

/// The files that hold `unsafe`, with their counts.
fn counts(files: &Files) -> impl Iterator<Item = (&str, usize)> {
    files.rust().map(|(path, text)| (path, count(text))).filter(|&(_, n)| n > 0)
}

fn count(text: &str) -> usize {
    code::words(&code::only(text)).filter(|&(_, word)| word == "unsafe").count()
}

fn check_list(list: &str, files: &Files) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut listed = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(' ').map(|(path, n)| (path, n.parse::<usize>())) {
            Some((path, Ok(n))) => listed.push((path, n)),
            _ => complaints.push(format!("{LIST}: `{line}` is no line of path and count")),
        }
    }
    for (path, n) in counts(files) {
        match listed.iter().find(|(other, _)| *other == path) {
            None => complaints.push(format!("{path} holds `unsafe` {n} times and is not in {LIST}")),
            Some((_, said)) if *said != n => {
                complaints
                    .push(format!("{path} holds `unsafe` {n} times, {LIST} says {said}: `tidy --bless`"));
            }
            Some(_) => complaints.extend(check_file(path, files.text(path).unwrap_or_default())),
        }
    }
    let is_stale = |path: &str| counts(files).all(|(other, _)| other != path);
    let stale = listed.iter().filter(|(path, _)| is_stale(path));
    complaints
        .extend(stale.map(|(path, _)| format!("{LIST} has {path}, which holds no `unsafe`: `tidy --bless`")));
    complaints
}

/// A file with unsafe code lies where it may, says so at its top, and says why it is sound.
fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !PLACES.iter().any(|place| path.starts_with(place)) {
        complaints
            .push(format!("{path} holds `unsafe`, and does not lie below one of: {}", PLACES.join(" ")));
    }
    if !text.contains("#![allow(unsafe_code, reason = ") {
        complaints.push(format!(
            "{path} holds `unsafe` without `#![allow(unsafe_code, reason = \"..\")]` at its top"
        ));
    }
    if !text.lines().any(|line| line.starts_with("//! # Safety")) {
        complaints.push(format!("{path} holds `unsafe` without a `# Safety` section in its page"));
    }
    complaints
}

/// `crates/queue` may hold one unsafe file, so its root only denies; the lint of the workspace does that
/// anyway.
fn check_root(root: &str, text: &str) -> Option<String> {
    let may_hold = PLACES.iter().any(|place| root.starts_with(place)) || root.starts_with("crates/queue/");
    let forbids = text.lines().any(|line| line == "#![forbid(unsafe_code)]");
    (!may_hold && !forbids).then(|| format!("{root} lacks the line `#![forbid(unsafe_code)]`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "//! x\n//! # Safety\n#![allow(unsafe_code, reason = \"x\")]\nfn f() { unsafe { g() } }\n";

    #[test]
    fn the_keyword_is_counted_in_code_only() {
        let text = "// unsafe\nunsafe impl Send for X {} // unsafe\n#[unsafe(no_mangle)]\n#![deny(unsafe_code)]\n\"unsafe\"";
        assert_eq!(count(text), 2);
    }

    #[test]
    fn a_listed_file_in_its_place_is_fine() {
        let files = Files::of(&[("crates/sys/src/a.rs", GOOD), ("crates/raw/src/a.rs", "// unsafe")]);
        assert_eq!(check_list("# why\ncrates/sys/src/a.rs 1\n", &files), [""; 0]);
    }

    #[test]
    fn unlisted_miscounted_and_stale_files_are_named() {
        let files = Files::of(&[("crates/sys/src/a.rs", GOOD)]);
        assert!(check_list("", &files)[0].contains("not in"));
        assert!(check_list("crates/sys/src/a.rs 2", &files)[0].contains("says 2"));
        assert!(check_list("crates/sys/src/a.rs 1\ncrates/sys/src/b.rs 1", &files)[0].contains("b.rs"));
        assert_eq!(check_list("crates/sys/src/a.rs 1\nnonsense", &files).len(), 1);
    }

    #[test]
    fn a_file_out_of_place_or_without_its_reasons_is_named() {
        assert_eq!(check_file("crates/pool/src/a.rs", GOOD).len(), 1);
        assert_eq!(check_file("crates/queue/src/other.rs", GOOD).len(), 1);
        assert_eq!(check_file("crates/sys/src/a.rs", "unsafe {}").len(), 2);
    }

    #[test]
    fn other_crates_forbid() {
        assert!(check_root("crates/pool/src/lib.rs", "//! x\n#![deny(unsafe_code)]\n").is_some());
        assert!(check_root("crates/codec/src/lib.rs", "//! #![forbid(unsafe_code)]\n").is_some());
        assert!(check_root("crates/pool/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n").is_none());
        assert!(check_root("crates/sys/src/lib.rs", "//! x\n").is_none());
    }
}
