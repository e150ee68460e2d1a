//! A picture in shared memory, painted by four processes, each its own rows; then softened by four others, and written to a
//! file.
//!
//! `cargo run --release --example mandelbrot -- [FILE.png]`; without a file it says only what it has painted.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::fs::File;
use std::io::BufWriter;

use procession::prelude::*;

const WIDTH: usize = 320;
const HEIGHT: usize = 200;
const DEPTH: u32 = 200;

/// How soon the point runs away, as a grey.
fn grey(column: usize, row: usize) -> u8 {
    let (a, b) = (column as f64 / 110.0 - 2.2, row as f64 / 90.0 - 1.1);
    let (mut x, mut y) = (0.0, 0.0);
    for n in 0..DEPTH {
        (x, y) = (x * x - y * y + a, 2.0 * x * y + b);
        if x * x + y * y > 4.0 {
            return (255 - n * 255 / DEPTH) as u8;
        }
    }
    0
}

fn paint((mut rows, first): (Part<u8>, usize)) {
    for (i, pixel) in rows.iter_mut().enumerate() {
        *pixel = grey(i % WIDTH, first + i / WIDTH);
    }
}

/// Each pixel becomes the mean of itself and its neighbours.
fn soften((picture, mut rows, first): (Array<u8>, Part<u8>, usize)) {
    let picture = picture.read();
    for (i, pixel) in rows.iter_mut().enumerate() {
        let (column, row) = (i % WIDTH, first + i / WIDTH);
        let mut sum = 0;
        let mut n = 0;
        for y in row.saturating_sub(1)..(row + 2).min(HEIGHT) {
            for x in column.saturating_sub(1)..(column + 2).min(WIDTH) {
                sum += u32::from(picture[y * WIDTH + x]);
                n += 1;
            }
        }
        *pixel = (sum / n) as u8;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let picture = Array::zeroed(WIDTH * HEIGHT)?;
    let soft = Array::zeroed(WIDTH * HEIGHT)?;
    let rows_each = HEIGHT / 4;
    procession::scope(|s| {
        for (n, rows) in picture.split(4).enumerate() {
            s.spawn(paint, (rows, n * rows_each))?;
        }
        Ok::<_, SpawnError>(())
    })??;
    procession::scope(|s| {
        for (n, rows) in soft.split(4).enumerate() {
            s.spawn(soften, (picture.clone(), rows, n * rows_each))?;
        }
        Ok::<_, SpawnError>(())
    })??;

    let pixels = soft.read();
    let n_inside = pixels.iter().filter(|grey| **grey == 0).count();
    println!("{WIDTH} x {HEIGHT} pixels, {n_inside} of them in the set");
    if let Some(path) = std::env::args_os().nth(1) {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), WIDTH as u32, HEIGHT as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header()?.write_image_data(&pixels)?;
    }
    Ok(())
}
