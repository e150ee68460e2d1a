//! Words that may not be in the code: ignored tests, code that is not written, and sleeps in tests.
//!
//! A sleep in a test needs a reason: `// tidy: sleep: why` on its line or on the line before.

use super::code;
use super::files::Files;

const REASON: &str = "// tidy: sleep: ";

/// Looks at every Rust file.
pub(crate) fn check(files: &Files) -> Vec<String> {
    files.rust().flat_map(|(path, text)| check_file(path, text)).collect()
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let code = code::only(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut in_tests = is_test_file(path);
    let mut complaints = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let compact: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        in_tests |= compact.starts_with("#[cfg(test)]");
        if compact.contains("#[ignore") || compact.contains("#![ignore") {
            complaints.push(format!("{path}:{}: an ignored test; a test runs or is not there", at + 1));
        }
        if ["todo!", "unimplemented!"].iter().any(|word| compact.contains(word)) {
            complaints.push(format!("{path}:{}: code that is not written", at + 1));
        }
        let sleeps = compact.contains("thread::sleep");
        if sleeps && in_tests && !has_reason(&lines, at) {
            complaints.push(format!(
                "{path}:{}: a sleep in a test; wait for the event, or add `{REASON}why`",
                at + 1
            ));
        }
    }
    complaints
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("crates/testkit/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn has_reason(lines: &[&str], at: usize) -> bool {
    let says_why = |line: &&&str| line.split_once(REASON).is_some_and(|(_, why)| !why.trim().is_empty());
    lines[at.saturating_sub(1)..=at].iter().any(|line| says_why(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_and_unwritten_code_is_named() {
        for bad in ["#[ignore]", "#[ignore = \"slow\"]", "fn f() { todo!() }", "unimplemented !()"] {
            assert_eq!(check_file("crates/a/src/lib.rs", bad).len(), 1, "{bad}");
        }
        assert_eq!(check_file("a.rs", "// todo!() #[ignore]\nlet s = \"#[ignore]\";"), [""; 0]);
    }

    #[test]
    fn a_sleep_in_a_test_needs_a_reason() {
        let sleep = "std::thread::sleep(d);";
        assert_eq!(check_file("crates/a/tests/x.rs", sleep).len(), 1);
        assert_eq!(check_file("crates/a/src/x/tests.rs", "use std::thread::sleep;").len(), 1);
        assert_eq!(
            check_file("crates/a/src/x.rs", &format!("#[cfg(test)]\nmod tests {{ {sleep} }}")).len(),
            1
        );
        assert_eq!(check_file("crates/a/tests/x.rs", &format!("// tidy: sleep: \n{sleep}")).len(), 1);
        assert_eq!(check_file("crates/a/tests/x.rs", &format!("// tidy: sleep: why\n\n{sleep}")).len(), 1);
        for good in
            [format!("// tidy: sleep: a child sleeps\n{sleep}"), format!("{sleep} // tidy: sleep: a child")]
        {
            assert_eq!(check_file("crates/a/tests/x.rs", &good), [""; 0]);
        }
        assert_eq!(check_file("crates/a/src/x.rs", sleep), [""; 0]);
    }
}
