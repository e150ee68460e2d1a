//! What maps show on standard error: lines in a pipe or a file, a bar on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use procession_pool::{ParProcs, Pool};
use procession_testkit::roles::Role;
use procession_testkit::{guarded, role};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(30);

/// A map of a hundred, which shows its progress.
fn map(pool: &Pool) {
    let sum: u32 = (0..100).par_procs(pool).progress().map(|n: u32| n).map(Result::unwrap).sum();
    assert_eq!(sum, 4950);
}

/// One whose results nobody takes beyond the first.
fn stop(pool: &Pool) {
    (0..100).par_procs(pool).in_flight(1).progress().map(|n: u32| n).next().unwrap().unwrap();
}

fn pool() -> Pool {
    Pool::builder().workers(1).name("render").build().unwrap()
}

#[test]
fn plain_lines_where_it_is_no_terminal() {
    match role().as_deref() {
        Some("map") => return map(&pool()),
        Some(_) => return stop(&pool()),
        None => {}
    }
    guarded(|| {
        let output = Role::new("map").spawn().wait_with_output(PATIENCE).expect_success();
        let lines: Vec<_> = output.stderr.lines().collect();
        let last = lines.last().expect("a line");
        assert!(
            last.starts_with("render: 100 of 100 tasks done (100 %), ") && last.ends_with(" s"),
            "{lines:?}"
        );
        // More than one only if it took seconds.
        assert!(
            lines.iter().all(|line| line.starts_with("render: ") && !line.contains('\u{1b}')),
            "{lines:?}"
        );
        let output = Role::new("stop").spawn().wait_with_output(PATIENCE).expect_success();
        assert_eq!(output.stderr, "");
    });
}

/// A terminal of 100 columns: our side of it, and that of a program.
fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: 25, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(ours), theirs.into())
}

/// What a role shows on a terminal.
fn shown(name: &str) -> String {
    let (mut ours, theirs) = terminal();
    let mut command = Role::new(name).env("TERM", "xterm").env_remove("NO_COLOR").into_command();
    let mut child = command.stderr(Stdio::from(theirs)).spawn().unwrap();
    // The last descriptor of the other side goes with it; then reading fails.
    drop(command);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_bar_on_a_terminal() {
    match role().as_deref() {
        Some("map") => return map(&pool()),
        Some(_) => return stop(&pool()),
        None => {}
    }
    guarded(|| {
        let map = shown("map");
        // The end stays, whatever was seen of the way.
        assert!(map.contains("render [██████████████████████████████] 100/100"), "{map:?}");
        assert!(!map.contains("tasks done"), "no lines besides: {map:?}");
        let stop = shown("stop");
        // What was drawn is cleared at the end.
        assert!(
            !stop.contains("100/100") && stop.trim_end_matches(['\r', '\n']).ends_with("\u{1b}[2K"),
            "{stop:?}"
        );
    });
}
