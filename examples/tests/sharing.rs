//! The programs that share memory and locks: what they print.

use std::process::Command;

use procession_testkit::guarded;

/// What the example printed to its standard output and its standard error; it must end well.
fn run(example: &str) -> (String, String) {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    let output = Command::new(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn values() {
    guarded(|| assert_eq!(run("values").0, "500 hits, the first at 1, the last at 1.5\n"));
}

#[test]
fn accounts() {
    guarded(|| {
        let (out, err) = run("accounts");
        assert_eq!(out, "one teller died of SIGABRT\n300 cents in 3 entries\n");
        assert!(err.contains("holder ") && err.contains(" died"), "{err}");
    });
}

#[test]
fn racers() {
    guarded(|| assert_eq!(run("racers").0, "all here\n4 came in, the race is over\n"));
}
