//! What managers hold is given back.

use procession_manager::{Dict, Manager};
use procession_process::spawn;
use procession_shm::domain::Domain;
use procession_testkit::{Counted, processes};

/// The long run has the full number.
fn rounds() -> usize {
    if std::env::var_os("PROCESSION_LONG").is_some() { 500 } else { 20 }
}

#[test]
fn managers_and_objects_made_used_and_dropped() {
    // What the first child makes for the whole tree, and stays.
    Domain::current().unwrap();
    Counted::new().warm_ups(1).run(|| {
        for round in 0..rounds() {
            let manager = Manager::start().unwrap();
            let dicts: Vec<Dict<usize, usize>> = (0..20).map(|_| manager.dict().unwrap()).collect();
            dicts[0].insert(round, round).unwrap();
            match round % 4 {
                0 => drop(manager),
                1 => drop(processes::kill(manager.pid(), processes::Signal::KILL)),
                2 => drop(
                    spawn(|dicts: Vec<Dict<usize, usize>>| dicts[1].len().unwrap(), dicts).unwrap().join(),
                ),
                _ => drop(dicts),
            }
        }
    });
}
