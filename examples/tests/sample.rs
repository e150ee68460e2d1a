//! The program that shows the library on one page: what it prints.

use std::io::Write;
use std::process::{Command, Stdio};

use procession_testkit::guarded;

#[test]
fn sample() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/sample");
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"one line\nanother\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let mut next = || lines.next().unwrap_or_else(|| panic!("there is more to come after {text}"));

        assert_eq!([next(), next()], ["12", "144"]);
        let mut numbers = [next(), next(), next(), next()];
        numbers.sort_unstable();
        assert_eq!(numbers, ["0", "1", "2", "3"]);
        let calc = next();
        assert!(calc.starts_with("calc ") && calc.ends_with(" true"), "{calc}");
        assert_eq!([next(), next()], ["5", "15"], "a pipe, and a queue");
        (0..100).for_each(|n: u32| assert_eq!(next(), n.to_string(), "a job"));
        assert_eq!([next(), next()], ["0 1", "400 cents in 4 entries"]);
        // Who leads at the barrier may be the one that says nothing.
        let through = Some(next()).filter(|line| *line != "all here").unwrap_or_else(&mut next);
        assert!(["1 are through", "2 are through"].contains(&through), "{through}");
        assert_eq!(next(), "No such file or directory (os error 2)");
        assert_eq!(next(), "1 teller");
        assert_eq!(next(), "2 6 [2.0, 4.0]");
        assert_eq!(next(), "pool render: 8 workers, 103 tasks done, 0 failed, 0 lost, 0 restarts");
    });
}
