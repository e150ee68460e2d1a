//! Two processes take two locks, each in its own order, and wait for each other for ever. The one that looks says who waits for
//! whom, and a time limit gets out of it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::shm::domain::Domain;
use procession::{Barrier, Mutex};

/// Takes one lock, and then the other with some patience; whether it got both.
fn take((first, second, both_have_one, patience): (Mutex<u32>, Mutex<u32>, Barrier, Duration)) -> bool {
    let _first = first.lock().expect("nobody was killed");
    let _ = both_have_one.wait();
    second.lock_timeout(patience).is_ok()
}

// ANCHOR: main
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (left, right, gate) = (Mutex::new(0)?, Mutex::new(0)?, Barrier::new(2)?);
    let impatient = Duration::from_secs(1);
    let for_ever = Duration::from_secs(3600);
    let one = procession::spawn(take, (left.clone(), right.clone(), gate.clone(), for_ever))?;
    let other = procession::spawn(take, (right.clone(), left.clone(), gate, impatient))?;

    let domain = Domain::current()?;
    let circle = loop {
        let report = domain.deadlock_report();
        if let Some(circle) = report.cycles.first() {
            break circle.iter().map(|who| who.pid).collect::<Vec<_>>();
        }
        std::thread::yield_now();
    };
    let name = |pid: &u32| if *pid == one.pid() { "one" } else { "the other" };
    println!("a circle of {}", circle.iter().map(name).collect::<Vec<_>>().join(" and "));
    println!("the other got both: {}", other.join()?);
    // It gave up, and with its first lock one can go on.
    println!("one got both: {}", one.join()?);
    println!("the cure: take locks in the same order everywhere");
    Ok(())
}
// ANCHOR_END: main
