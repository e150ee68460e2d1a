//! What is special here, in half a minute: a picture is rendered while one of its workers is shot, two processes that wait for
//! each other are found out, a lock is got back from a dead process, and a pool says where its time went.
//!
//! `cargo xtask demo`, or `cargo run --release --example demo -- [--quick] [FILE.png]`
//!
//! On a terminal there are a bar and colours; in a pipe or a file there are plain lines.
//! ci: --quick
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use procession::pool::{Insights, Progress};
use procession::prelude::*;
use procession::shm::domain::Domain;
use procession::{Barrier, Mutex};
use serde::{Deserialize, Serialize};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let mut quick = false;
    let mut path = None;
    for word in std::env::args_os().skip(1) {
        match word.to_str() {
            Some("--quick") => quick = true,
            _ => path = Some(PathBuf::from(word)),
        }
    }
    let insights = picture(if quick { Size::QUICK } else { Size::FULL }, path.as_deref())?;
    deadlock(Duration::from_secs(if quick { 1 } else { 5 }))?;
    inheritance()?;
    title("Where the time of the picture went");
    println!("{insights}");
    println!("\nprocesses left over: {}", procession::active_children().len());
    println!("next: docs/start.md, and the other programs in examples/");
    Ok(())
}

fn title(text: &str) {
    let (bold, plain) = if stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("\n{bold}== {text} =={plain}");
}

/// Kills a process of ours by its number, as a stranger would: it can do nothing about it.
fn shoot(pid: u32) {
    let killed = Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status();
    assert!(killed.is_ok_and(|status| status.success()), "process {pid} could not be killed");
}

// 1. A picture, and a worker that is shot.

/// How large, and how exactly.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Size {
    width: u32,
    height: u32,
    depth: u32,
    /// Each pixel is the mean of so many times so many points.
    points: u32,
}

impl Size {
    const FULL: Self = Self { width: 1200, height: 800, depth: 3000, points: 3 };
    const QUICK: Self = Self { width: 96, height: 64, depth: 200, points: 1 };
}

/// A line of the picture: red, green and blue of each pixel.
fn render(size: &Size, row: u32) -> Bytes {
    let n = size.points;
    let step = 3.0 / f64::from(size.width * n);
    let mut line = Vec::with_capacity(3 * size.width as usize);
    for column in 0..size.width {
        let mut sum = [0; 3];
        for point in 0..n * n {
            let x = f64::from(column * n + point % n) * step - 2.2;
            let y = (f64::from(row * n + point / n) - f64::from(size.height * n) / 2.0) * step;
            sum.iter_mut().zip(colour(escape(x, y, size.depth))).for_each(|(sum, part)| *sum += part);
        }
        line.extend(sum.map(|sum| (sum / (n * n)) as u8));
    }
    line.into()
}

/// After how many steps the point has run away, if it does.
fn escape(a: f64, b: f64, depth: u32) -> Option<u32> {
    let (mut x, mut y) = (0.0, 0.0);
    (0..depth).find(|_| {
        (x, y) = (x * x - y * y + a, 2.0 * x * y + b);
        x * x + y * y > 4.0
    })
}

fn colour(steps: Option<u32>) -> [u32; 3] {
    // From a dark blue far away to white at the edge.
    steps.map_or([0; 3], |n| [6 * n, 4 * n, 50 + 10 * n].map(|part| part.min(255)))
}

fn picture(size: Size, path: Option<&Path>) -> Result<Insights, Box<dyn Error>> {
    let workers = std::thread::available_parallelism()?.get().clamp(2, 8);
    title(&format!(
        "A picture of {} x {}, by {workers} processes; one of them is shot",
        size.width, size.height
    ));
    // A line may be rendered twice, so a worker that dies costs nothing but its time.
    let pool = Pool::builder().workers(workers).name("render").retries(1).build()?;
    pool.warm_up()?;

    let mut shot = None;
    let at_a_third = |progress: Progress| {
        if shot.is_none() && progress.done * 3 >= size.height as usize {
            shot = pool.pids().first().copied();
            shot.iter().for_each(|pid| shoot(*pid));
            let clear = if stderr().is_terminal() { "\r\x1b[2K" } else { "" };
            eprintln!("{clear}kill -KILL {}", shot.unwrap_or_default());
        }
    };
    let scene = pool.with(&size);
    let rows = (0..size.height).par_procs(&pool).on_progress(at_a_third).progress();
    let lines = rows.map_with(&scene, render).collect::<Result<Vec<_>, _>>()?;
    let pixels: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied()).collect();

    sketch(size, &pixels);
    let shot = shot.map_or("nobody".into(), |pid| format!("process {pid}"));
    println!("{} of {} lines, although {shot} was shot at a third of them", lines.len(), size.height);
    if let Some(path) = path {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), size.width, size.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&pixels)?;
        println!("written to {}", path.display());
    }
    Ok(pool.insights())
}

/// The picture in letters, small; the bar above it is left as it is.
fn sketch(size: Size, pixels: &[u8]) {
    const COLUMNS: u32 = 72;
    const ROWS: u32 = 22;
    let coloured = stdout().is_terminal();
    for row in 0..ROWS {
        let mut line = String::new();
        for column in 0..COLUMNS {
            let at = (row * size.height / ROWS * size.width + column * size.width / COLUMNS) as usize * 3;
            let [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
            if coloured {
                line += &format!("\x1b[48;2;{red};{green};{blue}m ");
            } else {
                line.push(if [red, green, blue] == [0; 3] {
                    '#'
                } else {
                    [' ', '.', '-', '+'][usize::from(red) / 64]
                });
            }
        }
        println!(
            "{}{}",
            line.trim_end_matches(|c| c == ' ' && !coloured),
            if coloured { "\x1b[0m" } else { "" }
        );
    }
}

// 2. A deadlock, which says itself who waits for whom.

fn take((first, second, both_have_one, patience): (Mutex<u32>, Mutex<u32>, Barrier, Duration)) -> bool {
    let Ok(_first) = first.lock() else { return false };
    both_have_one.wait().is_ok() && second.lock_timeout(patience).is_ok()
}

fn deadlock(patience: Duration) -> Done {
    title("Two processes take two locks, each in its own order");
    let (left, right, gate) = (Mutex::new(0)?, Mutex::new(0)?, Barrier::new(2)?);
    let start = |name: &str, first: &Mutex<u32>, second: &Mutex<u32>, patience| {
        let arguments = (first.clone(), second.clone(), gate.clone(), patience);
        Process::builder().name(name).spawn(take, arguments)
    };
    let anna = start("anna", &left, &right, Duration::from_secs(3600))?;
    let bert = start("bert", &right, &left, patience)?;

    let domain = Domain::current()?;
    let report = loop {
        let report = domain.deadlock_report();
        if !report.cycles.is_empty() {
            break report;
        }
        std::thread::yield_now();
    };
    println!("{report}");
    println!("bert gives up after {patience:?}; has both: {}", bert.join()?);
    println!("so anna goes on; has both: {}", anna.join()?);
    Ok(())
}

// 3. A lock whose holder is killed in the middle of a change.

fn book((account, halfway): (Mutex<[i64; 2]>, Event)) {
    let Ok(mut account) = account.lock() else { return };
    account[0] -= 100;
    halfway.set();
    loop {
        std::thread::park();
    }
}

fn inheritance() -> Done {
    title("A process is shot while it moves 100 from one account to another");
    let (accounts, halfway) = (Mutex::new([500, 500])?, Event::new()?);
    let clerk = procession::spawn(book, (accounts.clone(), halfway.clone()))?;
    halfway.wait();
    shoot(clerk.pid());
    let repaired = accounts.lock().or_repair(|accounts, dead| {
        println!(
            "the lock comes with the news that process {} died, and the accounts as they are: {accounts:?}",
            dead.pid()
        );
        *accounts = [500, 500];
    })?;
    println!("put right: {:?}", *repaired);
    if let Err(end) = clerk.join() {
        println!("and how it ended: {end}");
    }
    Ok(())
}
