//! What the example `insight` prints: its figures differ, their names do not.

use std::process::Command;

use procession_testkit::guarded;

#[test]
fn insight() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/insight");
        let output = Command::new(program).env_remove("RUST_BACKTRACE").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines[0], "39 frames of 40");
        assert_eq!(lines[2], "pool render: 2 workers, 39 tasks done, 1 failed, 0 lost, 0 restarts");
        assert_eq!(
            lines[3].split_whitespace().collect::<Vec<_>>(),
            ["start", "idle", "work", "serialise", "wait", "tasks"]
        );
        let names: Vec<_> = lines[4..7].iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["render-1", "render-2", "all"]);
        assert!(lines[6].ends_with(" 40"), "{out}");
        // Tasks count from 1: frame 13 is the fourteenth. A panic may take long as well.
        assert!(lines[7].starts_with("slowest: ") && lines[7].contains(" task 14 "), "{out}");
        assert!(lines[8].contains(" % "), "{out}");
        assert_eq!(lines[10], "2001000 in all, the last of 2000 steps");
        assert!(lines[11].starts_with("2000 tasks: ") && lines[11].contains(" % "), "{out}");

        // Worker, number and line; the panic by itself; and how far it was in the end.
        let of_worker = |text: &str| {
            err.lines().filter(|line| line.starts_with("[render-") && line.contains(text)).count()
        };
        assert_eq!(of_worker("] frame 13 is a large one"), 1, "{err}");
        assert_eq!(of_worker("] frame 26 is broken"), 1, "{err}");
        assert!(err.contains("render: 40 of 40 tasks done (100 %), 1 failed, "), "{err}");
    });
}
