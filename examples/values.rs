//! A cloud of particles in shared memory, moved by four processes at once, each with a part of it of its own.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

type R = Result<(), Box<dyn std::error::Error>>;

#[derive(Clone, Copy, Plain)]
struct Particle {
    x: f64,
    v: f64,
}

fn step((mut part, hits): (Part<Particle>, Atomic<u64>)) {
    for p in part.iter_mut() {
        p.x += p.v;
        if p.x > 1.0 {
            hits.fetch_add(1);
        }
    }
}

fn main() -> R {
    let still = Particle { x: 0.0, v: 1.0 };
    let fast = Particle { x: 0.0, v: 1.5 };
    let cloud = Array::from_slice(&[[still; 500], [fast; 500]].concat())?;
    let hits = Atomic::new(0)?;
    procession::scope(|s| {
        for part in cloud.split(4) {
            s.spawn(step, (part, hits.clone())).unwrap();
        }
    })?;
    println!("{} hits, the first at {}, the last at {}", hits.load(), cloud.read()[0].x, cloud.read()[999].x);
    Ok(())
}
