//! The programs to start from: what each prints, and that the same program in Python prints the same.

use std::path::Path;
use std::process::{Command, Output};

use procession_testkit::guarded;

fn lines(output: Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn program(example: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    Command::new(test.parent().unwrap().parent().unwrap().join("examples").join(example))
}

/// What the example prints.
fn run(example: &str, arguments: &[&Path]) -> Vec<String> {
    lines(program(example).args(arguments).output().unwrap())
}

/// What its twin prints, where there is a Python.
fn python(example: &str) -> Option<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("python/{example}.py"));
    assert!(script.exists(), "{example} has no twin");
    Command::new("python3").arg(script).output().ok().map(lines)
}

/// Both print these lines, in this order.
fn same(example: &str, expected: &[&str]) {
    guarded(|| {
        assert_eq!(run(example, &[]), expected);
        if let Some(told) = python(example) {
            assert_eq!(told, expected, "in Python");
        }
    });
}

#[test]
fn hello() {
    same("hello", &["hello, bob", "said by another process: true"]);
}

#[test]
fn counter() {
    same("counter", &["10000 under a lock, 10000 without"]);
}

#[test]
fn producer() {
    let things = ["got thing 1", "got thing 2", "got thing 3", "got thing 4", "got thing 5", "5 things"];
    same("producer", &things);
}

#[test]
fn shout() {
    same("shout", &["HELLO", "IS ANYBODY THERE?", "2 answers"]);
}

/// Whoever comes first, the two lines of each are together.
#[test]
fn printing() {
    fn check(told: &[String]) {
        let mut seen: Vec<_> = told
            .chunks(2)
            .map(|both| {
                let who = both[0].strip_suffix(": first line").unwrap();
                assert_eq!(both[1], format!("{who}: second line"));
                who
            })
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, ["process 0", "process 1", "process 2", "process 3"]);
    }
    guarded(|| {
        check(&run("printing", &[]));
        if let Some(told) = python("printing") {
            check(&told);
        }
    });
}

#[test]
fn events() {
    same("events", &["with a time limit: it did not come in time", "without: it came"]);
}

#[test]
fn negate() {
    same("negate", &["3.25", "[0, -1, -2, -3, -4, -5, -6, -7, -8, -9]"]);
}

#[test]
fn squares() {
    same("squares", &["[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]", "[2, 12, 30]", "[0, 1, 4, 9, 16]"]);
}

#[test]
fn later() {
    same("later", &["not within 10 ms", "144"]);
}

#[test]
fn files() {
    let told = [
        "30678 bytes written",
        "1.txt: 10 lines",
        "2.txt: 200 lines",
        "3.txt: 3000 lines",
        "4.txt: 4 lines",
        "none.txt: No such file or directory (os error 2)",
    ];
    same("files", &told);
}

#[test]
fn echo() {
    same("echo", &["one: 3 bytes", "two: 3 bytes", "three: 5 bytes"]);
}

#[test]
fn protocol() {
    let told = [
        "ok hello",
        "ok never mind",
        "one has reset its connection",
        "ok still there?",
        "bye",
        "the other one had 2 lines",
    ];
    same("protocol", &told);
}

#[test]
fn sums() {
    same("sums", &["by map: 333328333350000", "by a queue: 333328333350000"]);
}

#[test]
fn stages() {
    same("stages", &["29994 words, never more than 4 counts waiting: true"]);
}

#[test]
fn managed() {
    same("managed", &["[1, 3, 5]", "[101, 2, 3, 10]"]);
}

/// Python's pool has no such thing: its map would never return.
#[test]
fn recovery() {
    guarded(|| {
        let told = [
            "[10, 20, 30, 40, 50]",
            "1: 10",
            "2: 20",
            "3: lost with its worker",
            "4: 40",
            "5: 50",
            "it was killed by SIGABRT",
        ];
        assert_eq!(run("recovery", &[]), told);
    });
}

/// Nor can it say who waits for whom.
#[test]
fn deadlock() {
    guarded(|| {
        let told = run("deadlock", &[]);
        assert!(["a circle of one and the other", "a circle of the other and one"].contains(&&*told[0]));
        let rest = [
            "the other got both: false",
            "one got both: true",
            "the cure: take locks in the same order everywhere",
        ];
        assert_eq!(told[1..], rest);
    });
}

#[test]
fn runtime() {
    guarded(|| assert_eq!(run("runtime", &[]), ["36 and 49", "690 letters", "in time: false"]));
}

/// The file is a picture of the size it says, with as many black points as it says.
#[test]
fn mandelbrot() {
    guarded(|| {
        let path = std::env::temp_dir().join(format!("procession-mandelbrot-{}.png", std::process::id()));
        let told = run("mandelbrot", &[&path]);
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        std::fs::remove_file(path).unwrap();
        let n_black = pixels.iter().filter(|grey| **grey == 0).count();
        assert!(n_black > 5000, "{n_black}");
        assert_eq!(told, [format!("{} x {} pixels, {n_black} of them in the set", info.width, info.height)]);
    });
}
