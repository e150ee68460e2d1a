//! How the ring is searched: what is promised within which bounds, where a kill costs a tick, and its broken twins.

use super::*;
use crate::is_long;
use crate::search::{Bounds, Report, search};

const fn rings(slots: u8, producers: usize, puts: u8, consumers: usize, takes: u8) -> Rings {
    let [closes, rings] = [false; 2];
    let (limits, broken) = (0, Broken::Nothing);
    Rings { slots, producers, consumers, puts, takes, closes, limits, rings, broken }
}

fn run(rings: Rings, kills: u8, ticks: bool) -> Report {
    search(&rings, Bounds { kills, ticks })
}

#[test]
fn probe() {
    for r in [
        rings(1, 1, 2, 1, 2),
        rings(1, 1, 3, 1, 3),
        rings(2, 1, 3, 1, 3),
        rings(1, 2, 1, 1, 2),
        rings(1, 1, 2, 2, 1),
        rings(2, 1, 2, 2, 1),
    ] {
        run(r, 0, false);
        run(r, 1, true);
        run(r, 1, false);
        run(Rings { rings: true, ..r }, 1, false);
    }
    for r in [rings(1, 1, 2, 1, 2), rings(1, 1, 2, 1, 3), rings(1, 1, 2, 2, 2), rings(1, 2, 1, 1, 2)] {
        let r = Rings { closes: true, ..r };
        run(r, 0, false);
        run(r, 1, true);
        run(r, 1, false);
    }
}
