//! A task that kills its worker: what is told of it, and how it is run once more, alone.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use procession::pool::{Replayed, TaskOptions};
use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// What all tasks need: every worker gets it once.
#[derive(Serialize, Deserialize)]
struct Scene {
    lights: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Frame {
    n: usize,
    size: (u32, u32),
}

fn trace(scene: &Scene, frame: Frame) -> u32 {
    match scene.lights.get(frame.n) {
        Some(light) => frame.size.0 * frame.size.1 * light,
        // Only in a worker: where it is run again it lives, and says more.
        None if procession::parent().is_some() => std::process::abort(),
        None => panic!("there is no light {} in the scene", frame.n),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().workers(2).name("render").retries(1).build()?;
    let scene = pool.with(&Scene { lights: vec![1, 2, 3] });
    let frames = (0..5).map(|n| Frame { n, size: (40, 30) });
    let shown = TaskOptions::new().show_arguments::<Frame>();
    let mut n_saved = 0;
    for rendered in frames.par_procs(&pool).options(shown).map_with(&scene, trace) {
        let failed = match rendered {
            Ok(brightness) => {
                println!("{brightness}");
                continue;
            }
            Err(failed) => failed,
        };
        println!("{failed}");
        let path = std::env::temp_dir().join(format!("frame-{}-{n_saved}", std::process::id()));
        n_saved += 1;
        failed.save_replay(&path)?;
        // A program of its own would do this, in a debugger.
        let again = procession::replay(&path)?;
        std::fs::remove_file(&path)?;
        if let Replayed::Panicked(panic) = again {
            println!("run again: {}", panic.message);
        }
    }
    Ok(())
}
