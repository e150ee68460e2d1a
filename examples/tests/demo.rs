//! The program behind `cargo xtask demo`, in its short form and without a terminal: what it prints, and that its picture is right.

use std::path::Path;
use std::process::Command;

use procession_testkit::guarded;

fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (info.width, info.height, pixels)
}

/// Whether the point stays within the circle for 200 steps.
fn stays(a: f64, b: f64) -> bool {
    let (mut x, mut y) = (0.0, 0.0);
    (0..200).all(|_| {
        (x, y) = (x * x - y * y + a, 2.0 * x * y + b);
        x * x + y * y <= 4.0
    })
}

#[test]
fn demo() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/demo");
        let path = std::env::temp_dir().join(format!("procession-demo-{}.png", std::process::id()));
        let output = Command::new(program).arg("--quick").arg(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        let (width, height, pixels) = decode(&path);
        std::fs::remove_file(path).unwrap();

        // A worker was shot, its place has another, and no line is missing, or at the wrong place.
        let shot = err.lines().find_map(|line| line.strip_prefix("kill -KILL ")).expect(&err);
        assert!(out.contains(&format!("64 of 64 lines, although process {shot} was shot")), "{out}");
        assert!(out.contains(" 64 tasks done, 0 failed, 0 lost, 1 restarts\n"), "{out}");
        assert!(err.contains("render: 64 of 64 tasks done (100 %)"), "{err}");
        assert_eq!((width, height), (96, 64));
        for (n, pixel) in pixels.chunks(3).enumerate() {
            let (column, row) = (n % 96, n / 96);
            let step = 3.0 / 96.0;
            let inside = stays(column as f64 * step - 2.2, (row as f64 - 32.0) * step);
            assert_eq!(*pixel == [0; 3], inside, "column {column} of line {row}");
        }

        // The circle is told, and is got out of.
        let circle = out.lines().find_map(|line| line.strip_prefix("deadlock: ")).expect(&out);
        assert!(circle.contains("(anna) -> ") && circle.contains("(bert)"), "{circle}");
        assert!(out.contains("bert gives up after 1s; has both: false\n"), "{out}");
        assert!(out.contains("anna goes on; has both: true\n"), "{out}");

        assert!(
            out.contains(" died, and the accounts as they are: [400, 500]\nput right: [500, 500]\n"),
            "{out}"
        );
        assert!(out.contains(" was killed by SIGKILL "), "{out}");
        assert!(out.contains("processes left over: 0\n"), "{out}");
        // Nothing for a terminal where there is none.
        assert!(!out.contains('\x1b') && !err.contains('\x1b'));
    });
}
