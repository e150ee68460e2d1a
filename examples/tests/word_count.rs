//! `word_count` on a small tree with everything a real one has: its figures, its notes, its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use procession_testkit::guarded;

/// The example, built beside this test.
fn word_count() -> Command {
    let test = std::env::current_exe().unwrap();
    Command::new(test.parent().unwrap().parent().unwrap().join("examples/word_count"))
}

/// A directory of its own, removed in the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("deep/deeper")).unwrap();
        Self(root)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str], root: &Path) -> (Output, String, String) {
    let output = word_count().args(arguments).arg(root).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn counts_what_is_text_and_notes_what_is_not() {
    guarded(|| {
        let tree = Tree::new("words");
        fs::write(tree.0.join("a.txt"), "The cat and the dog, and THE bird.").unwrap();
        fs::write(tree.0.join("deep/b.txt"), "cat_food über Über").unwrap();
        fs::write(tree.0.join("deep/deeper/binary"), [b'a', 0, b'b']).unwrap();
        fs::write(tree.0.join("deep/latin"), [b'c', 0xe9]).unwrap();
        std::os::unix::fs::symlink("/nowhere", tree.0.join("dangling")).unwrap();
        let (output, out, err) = run(&["--check", "--workers", "2"], &tree.0);
        assert!(output.status.success(), "{out}{err}");
        let lines: Vec<&str> = out.lines().map(str::trim).collect();
        assert_eq!(lines[..2], ["2 files, 2 skipped", "54 bytes"], "{out}");
        assert!(lines[2].contains("seconds with 2 workers"));
        assert_eq!(lines[3..10], ["3 the", "2 and", "2 über", "1 bird", "1 cat", "1 cat_food", "1 dog"]);
        assert_eq!(lines.last(), Some(&"the counts are the same"));
        assert_eq!(err.matches("not a text").count(), 2, "{err}");
    });
}

#[test]
fn goes_on_after_a_file_that_cannot_be_read() {
    guarded(|| {
        // Nobody can read address 0 of itself, not even root.
        let (output, out, err) = run(&["--workers", "1"], Path::new("/proc/self/mem"));
        assert!(output.status.success() && out.contains("0 files, 1 skipped"), "{out}{err}");
        assert!(err.contains("skipped /proc/self/mem: Input/output error"), "{err}");
    });
}

#[test]
fn says_what_is_wrong_with_its_arguments() {
    guarded(|| {
        let (output, _, err) = run(&[], Path::new("/no/such/place"));
        assert!(!output.status.success() && err.contains("/no/such/place: No such file"), "{err}");
        let (output, _, err) = run(&["--chekc"], Path::new("."));
        assert!(!output.status.success() && err.contains("unknown option --chekc"), "{err}");
    });
}
