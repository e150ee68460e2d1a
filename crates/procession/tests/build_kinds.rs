//! Nothing to set up, under every kind of build: each test makes a real program that way, and runs it.
//!
//! The program is `examples/outcomes`, which checks every way a process can end. That it printed each line once also
//! shows that `main` was not entered in any child. The programs are built by the cargo that runs this test, into the
//! directory this test was built into.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procession_testkit::guarded_for;

/// Optimising a program as a whole takes its time, and others may be building.
const LIMIT: Duration = Duration::from_secs(600);

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    command.current_dir(root).args(arguments).arg("--target-dir").arg(target());
    command
}

/// Where this test was built: `target/debug/deps/build_kinds-…`.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    test.ancestors().nth(3).expect("three directories").to_owned()
}

/// What a command that succeeds writes to its standard output.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Builds `outcomes` under `profile`, whose programs lie in `directory`.
fn outcomes(profile: &str, directory: &str) -> PathBuf {
    let package = ["build", "--package", "procession-examples", "--example", "outcomes"];
    output(cargo(&package).args(["--profile", profile]));
    target().join(directory).join("examples/outcomes")
}

/// That this is the whole output of `outcomes`, of one process.
fn expect_all(text: &str) {
    let count = |line: &str| text.lines().filter(|other| other.starts_with(line)).count();
    assert_eq!((count("a value "), count("a panic "), count("all as expected")), (1, 1, 1), "{text}");
}

#[test]
fn debug() {
    guarded_for(LIMIT, || expect_all(&output(&mut Command::new(outcomes("dev", "debug")))));
}

#[test]
fn release() {
    guarded_for(LIMIT, || expect_all(&output(&mut Command::new(outcomes("release", "release")))));
}

#[test]
fn fat_lto_strip_abort() {
    guarded_for(LIMIT, || {
        let program = outcomes("fat", "fat");
        let bytes = fs::read(&program).unwrap();
        let named = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
        assert!(!named(b".symtab\0"), "the program is not stripped");
        expect_all(&output(&mut Command::new(program)));
    });
}

#[test]
fn panic_abort() {
    guarded_for(LIMIT, || expect_all(&output(&mut Command::new(outcomes("aborting", "aborting")))));
}

/// A copy of `outcomes`, in a directory of its own.
struct Copied(PathBuf);

impl Copied {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::copy(outcomes("dev", "debug"), directory.join("outcomes")).unwrap();
        Self(directory)
    }

    fn program(&self) -> PathBuf {
        self.0.join("outcomes")
    }

    /// Starts the program; it waits for us before it starts any child.
    fn waiting(&self) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut command = Command::new(self.program());
        command.arg("--wait").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "waiting for a line\n");
        (child, out)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn go_on((mut child, mut out): (Child, BufReader<std::process::ChildStdout>)) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    expect_all(&text);
}

#[test]
fn deleted_program_file() {
    guarded_for(LIMIT, || {
        let copied = Copied::new("deleted");
        let waiting = copied.waiting();
        fs::remove_file(copied.program()).unwrap();
        go_on(waiting);
    });
}

/// As an update does it: the old file goes on to exist for who runs it, and it is the old one that is started again.
#[test]
fn replaced_program_file() {
    guarded_for(LIMIT, || {
        let copied = Copied::new("replaced");
        let waiting = copied.waiting();
        let other = copied.0.join("other");
        fs::copy("/bin/true", &other).unwrap();
        fs::rename(other, copied.program()).unwrap();
        go_on(waiting);
    });
}

/// The tests that `arguments` and the last of them, a filter, choose: one at least, and green.
fn expect_tests(arguments: &[&str]) {
    let text = output(&mut cargo_test(arguments));
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ... ok")).count();
    assert!(passed >= 1, "no test ran: {text}");
}

/// `--target-dir` is cargo's, what follows `--` is the test's.
fn cargo_test(arguments: &[&str]) -> Command {
    let (filter, mine) = arguments.split_last().expect("a filter");
    let mut command = cargo(&["test"]);
    command.args(mine).args(["--", filter]);
    command
}

#[test]
fn unit_tests() {
    guarded_for(LIMIT, || expect_tests(&["--package", "procession-process", "--lib", "a_unit_test_spawns"]));
}

#[test]
fn integration_tests() {
    guarded_for(LIMIT, || {
        let own = |text: String| text + " of a child";
        let child = procession::spawn(own, "the value".into()).unwrap();
        assert_eq!(child.join().unwrap(), "the value of a child");
    });
}

#[test]
fn doctests() {
    guarded_for(LIMIT, || expect_tests(&["--package", "procession-process", "--doc", "builder::spawn"]));
}

#[test]
fn examples() {
    let package = ["run", "--package", "procession-examples", "--example", "outcomes"];
    guarded_for(LIMIT, || expect_all(&output(&mut cargo(&package))));
}

#[test]
fn benches() {
    guarded_for(LIMIT, || {
        let package = ["bench", "--package", "procession-benches", "--bench", "start", "--profile", "dev"];
        let text = output(cargo(&package).args(["--", "--test", "start/procession"]));
        assert!(text.contains("Testing start/procession") && text.contains("Success"), "{text}");
    });
}
