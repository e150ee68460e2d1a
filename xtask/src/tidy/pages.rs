//! Every file begins with its page, and no file grows beyond what one can read.

use super::files::Files;

/// Longer files are warned about.
const COMFORTABLE: usize = 400;
/// Longer files fail.
const LONGEST: usize = 600;

/// First lines, and lengths that fail.
pub(crate) fn check(files: &Files) -> Vec<String> {
    files.rust().flat_map(|(path, text)| [first_line(path, text), too_long(path, text)]).flatten().collect()
}

/// Files that are longer than comfortable.
pub(crate) fn warnings(files: &Files) -> Vec<String> {
    let is_long = |n: usize| n > COMFORTABLE && n <= LONGEST;
    let lengths = files.rust().map(|(path, text)| (path, text.lines().count()));
    lengths
        .filter(|&(_, n)| is_long(n))
        .map(|(path, n)| format!("{path} has {n} lines, over {COMFORTABLE}"))
        .collect()
}

fn first_line(path: &str, text: &str) -> Option<String> {
    let page = text.lines().next().and_then(|line| line.strip_prefix("//!")).map(str::trim);
    page.is_none_or(str::is_empty)
        .then(|| format!("{path}: the first line is not `//!` and what the file is for"))
}

fn too_long(path: &str, text: &str) -> Option<String> {
    let n = text.lines().count();
    (n > LONGEST).then(|| format!("{path} has {n} lines, over {LONGEST}: split it by idea"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_first_and_says_something() {
        assert_eq!(check(&Files::of(&[("a.rs", "//! Why.\n"), ("a.txt", "")])), [""; 0]);
        for bad in ["", "//!\n", "\n//! Late.", "// Why.", "/// Why.", "#![no_std]\n//! Why."] {
            assert_eq!(check(&Files::of(&[("a.rs", bad)])).len(), 1, "{bad}");
        }
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let file = |n: usize| "//! x\n".repeat(n);
        let (good, long, longer) = (file(COMFORTABLE), file(LONGEST), file(LONGEST + 1));
        let files = Files::of(&[("good.rs", &good), ("long.rs", &long), ("longer.rs", &longer)]);
        assert!(check(&files).len() == 1 && check(&files)[0].starts_with("longer.rs"));
        assert!(warnings(&files).len() == 1 && warnings(&files)[0].starts_with("long.rs"));
    }
}
