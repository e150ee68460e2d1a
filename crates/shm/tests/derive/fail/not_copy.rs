//! A struct without `Copy`.
use procession_shm::Plain;

#[derive(Plain)]
struct Foo {
    x: u8,
}

fn main() {}
