//! The programs that share memory, locks and queues: what they print.

use std::io::Write;
use std::process::{Command, Stdio};

use procession_testkit::guarded;

/// What the example printed to its standard output and its standard error; it must end well.
fn run(example: &str) -> (String, String) {
    run_with(example, "")
}

fn run_with(example: &str, input: &str) -> (String, String) {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples").join(example);
    let mut command = Command::new(program);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn lines() {
    guarded(|| {
        let input = "one\ntwo\n".repeat(5000);
        assert_eq!(run_with("lines", &input).0, "30000 bytes\n");
    });
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

#[test]
fn jobs() {
    guarded(|| {
        let (out, _) = run("jobs");
        let lines: Vec<_> = out.lines().collect();
        let (numbers, rest) = lines.split_at(100);
        assert!(numbers.iter().enumerate().all(|(n, line)| *line == n.to_string()), "{numbers:?}");
        assert_eq!(
            rest,
            ["1 given up", "a bomb, delivered 2 times, the last time to a worker of ours: true"]
        );
    });
}

#[test]
fn replies() {
    guarded(|| {
        let answers =
            "how many words are these: 5 words\nwill you halt: no answer will come\nand these: 2 words\n";
        assert_eq!(run("replies").0, answers.to_owned() + "1 of 2 workers died\n");
    });
}

#[test]
fn waits() {
    guarded(|| assert_eq!(run("waits").0, "a message\n3 jobs, whose numbers are 3 together\n"));
}

#[test]
fn futures() {
    guarded(|| assert_eq!(run("futures").0, "300 words, HELLO\n"));
}

#[test]
fn answers() {
    guarded(|| {
        let lines = [
            "how many words are these: 5 words, asked 1 times",
            "will you halt: 3 words, asked 2 times",
            "and these: 2 words, asked 1 times",
            "1 of 2 workers died, and all is answered",
        ];
        assert_eq!(run("answers").0.lines().collect::<Vec<_>>(), lines);
    });
}

#[test]
fn failures() {
    guarded(|| {
        let out = run("failures").0;
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..3], ["1200", "2400", "3600"]);
        assert!(
            lines[3].starts_with("task 4 of pool render was given up after 2 attempts; the last: task 4"),
            "{out}"
        );
        assert!(lines[3].contains("was killed by SIGABRT"), "{out}");
        assert!(
            lines[4].starts_with("  ran       failures::trace, ") && lines[4].ends_with("attempt 2 of 2"),
            "{out}"
        );
        assert_eq!(lines[5], "  argument  Frame { n: 3, size: (40, 30) }");
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("run again: there is no light ")).count(),
            2,
            "{out}"
        );
    });
}

#[test]
fn tasks() {
    guarded(|| {
        let lines = [
            "a: 3 letters",
            "b: 7 letters",
            "c: no: task 3 of pool letters was cancelled",
            "urgent goes first",
            "3 workers, then 1",
        ];
        let mut told: Vec<String> = run("tasks").0.lines().map(str::to_owned).collect();
        // They come as they are done.
        told[..3].sort();
        assert_eq!(told, lines);
    });
}
