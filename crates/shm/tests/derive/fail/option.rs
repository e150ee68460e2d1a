//! An unknown option of the derive.
use procession_shm::Plain;

#[derive(Clone, Copy, Plain)]
#[plain(krate = procession_shm)]
struct Foo {
    x: u8,
}

fn main() {}
