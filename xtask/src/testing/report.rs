//! Reads the output of `cargo test` as it comes: which crate a test belongs to, what became of it, how long
//! it took.
//!
//! Invariant: the counts are those of the summary line of each test program; names are read from single
//! lines, and a child process that writes in between can tear one. A torn name costs a row in the contract
//! table, never a count.

use std::collections::HashMap;
use std::time::Duration;

/// What has been read so far.
#[derive(Debug)]
pub(crate) struct Report {
    names: HashMap<String, String>,
    crates: Vec<Crate>,
    tests: Vec<Test>,
    /// The program that is running: its crate, and when it started.
    running: Option<(usize, Duration)>,
    /// A test whose name was printed before its verdict.
    pending: Option<String>,
    last: Duration,
    ignored: Vec<String>,
}

/// The tests of a crate, together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    pub(crate) time: Duration,
}

/// A test by its full path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) path: String,
    pub(crate) passed: bool,
}

impl Report {
    /// `names`: the package of each test program, by file name, and of each library, for its doctests.
    pub(crate) fn new(names: HashMap<String, String>) -> Self {
        Self {
            names,
            crates: Vec::new(),
            tests: Vec::new(),
            running: None,
            pending: None,
            last: Duration::ZERO,
            ignored: Vec::new(),
        }
    }

    /// Takes the next line, which came `at` after the start.
    pub(crate) fn line(&mut self, line: &str, at: Duration) {
        self.last = at;
        if let Some(package) = self.package_of(line) {
            self.enter(package, at);
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            self.summary(rest);
        } else if let Some((path, verdict)) = test_of(line) {
            self.verdict(path.to_owned(), verdict);
        } else if let Some(path) = self.pending.take() {
            self.verdict(path, line);
        }
    }

    /// Ends the program that was running.
    pub(crate) fn finish(&mut self) {
        if let Some((at, started)) = self.running.take() {
            self.crates[at].time += self.last.saturating_sub(started);
        }
    }

    /// The crates, in the order in which their tests ran.
    pub(crate) fn crates(&self) -> &[Crate] {
        &self.crates
    }

    /// The tests whose lines could be read.
    pub(crate) fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// How many tests ran whose line could not be read.
    pub(crate) fn n_torn(&self) -> usize {
        let n_run: usize = self.crates.iter().map(|c| c.passed + c.failed).sum();
        n_run.saturating_sub(self.tests.len())
    }

    /// What is wrong whatever the exit code says.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> =
            self.ignored.iter().map(|path| format!("{path} is ignored")).collect();
        let n_ignored: usize = self.crates.iter().map(|c| c.ignored).sum();
        if n_ignored > self.ignored.len() {
            complaints.push(format!("{n_ignored} tests are ignored"));
        }
        if self.crates.iter().all(|c| c.passed + c.failed == 0) {
            complaints.push("not one test ran".into());
        }
        complaints
    }

    /// The package of a line like `Running tests/x.rs (target/debug/deps/x-0123)` or `Doc-tests name`.
    fn package_of(&self, line: &str) -> Option<String> {
        let line = line.trim_start();
        let key = match line.strip_prefix("Doc-tests ") {
            Some(name) => name,
            None => line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit(['/', '(']).next()?,
        };
        self.names.get(key.trim()).cloned()
    }

    fn enter(&mut self, package: String, at: Duration) {
        self.finish();
        self.pending = None;
        let index = self.crates.iter().position(|c| c.name == package).unwrap_or_else(|| {
            self.crates.push(Crate { name: package, ..Crate::default() });
            self.crates.len() - 1
        });
        self.running = Some((index, at));
    }

    /// The rest of a line like `test result: ok. 3 passed; 0 failed; 1 ignored; ..`.
    fn summary(&mut self, rest: &str) {
        let Some((index, _)) = self.running else { return };
        let count = |word: &str| {
            let part = rest.split([';', '.']).map(str::trim).find(|part| part.ends_with(word));
            part.and_then(|part| part.split(' ').next()?.parse::<usize>().ok()).unwrap_or(0)
        };
        let (passed, failed, ignored) = (count(" passed"), count(" failed"), count(" ignored"));
        let c = &mut self.crates[index];
        c.passed += passed;
        c.failed += failed;
        c.ignored += ignored;
    }

    fn verdict(&mut self, path: String, text: &str) {
        let is = |word: &str| text == word || text.ends_with(word) || text.starts_with(&format!("{word} "));
        let name = path.split(" - ").next().unwrap_or(&path).to_owned();
        if text.starts_with("ignored") {
            self.ignored.push(path);
        } else if is("FAILED") || is("ok") {
            self.tests.push(Test { path: name, passed: !is("FAILED") });
        } else {
            self.pending = Some(path);
        }
    }
}

/// The path and the verdict of a line like `test a::b ... ok`, also behind an unfinished line of a child
/// process.
fn test_of(line: &str) -> Option<(&str, &str)> {
    let (left, verdict) = line.split_once(" ... ")?;
    let path = left.strip_prefix("test ").or_else(|| left.rsplit_once("test ").map(|(_, path)| path))?;
    Some((path, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
   Compiling a v0.1.0
     Running unittests src/lib.rs (target/debug/deps/a-1)

running 2 tests
test x::one ... ok
test x::two - should panic ... ok
child wrote thistest x::three ... ok

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/contract.rs (/elsewhere/debug/deps/contract-2)
test contract::c::i::none::r ... FAILED
     Running by a child (not ours)
test torn ... a child writes
and goes on, ok
test late ... ignored, slow

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests a
test src/lib.rs - f (line 3) ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    fn read(output: &str) -> Report {
        let names = [("a-1", "a"), ("contract-2", "b"), ("a", "a")];
        let mut report = Report::new(names.map(|(key, name)| (key.into(), name.into())).into());
        for (n, line) in output.lines().enumerate() {
            report.line(line, Duration::from_secs(n as u64));
        }
        report.finish();
        report
    }

    #[test]
    fn counts_and_time_go_to_crates() {
        let report = read(OUTPUT);
        let expected = [
            Crate { name: "a".into(), passed: 4, failed: 0, ignored: 0, time: Duration::from_secs(9 + 2) },
            Crate { name: "b".into(), passed: 1, failed: 1, ignored: 1, time: Duration::from_secs(8) },
        ];
        assert_eq!(report.crates(), expected);
    }

    #[test]
    fn names_and_verdicts_also_when_a_child_writes_in_between() {
        let report = read(OUTPUT);
        let tests: Vec<_> = report.tests().iter().map(|test| (test.path.as_str(), test.passed)).collect();
        let expected = [
            ("x::one", true),
            ("x::two", true),
            ("x::three", true),
            ("contract::c::i::none::r", false),
            ("torn", true),
            ("src/lib.rs", true),
        ];
        assert_eq!(tests, expected);
        assert_eq!(report.n_torn(), 0);
        assert_eq!(read(&OUTPUT.replace("test x::one ... ok", "te")).n_torn(), 1);
    }

    #[test]
    fn ignored_tests_and_no_tests_are_complaints() {
        assert_eq!(read(OUTPUT).complaints(), ["late is ignored"]);
        assert_eq!(read("").complaints(), ["not one test ran"]);
        let unseen = "     Running x (d/a-1)\ntest result: ok. 1 passed; 0 failed; 2 ignored; 0 measured\n";
        assert_eq!(read(unseen).complaints(), ["2 tests are ignored"]);
    }
}
