//! Field types that the derive recognises.
use procession_shm::Plain;

#[derive(Clone, Copy, Plain)]
struct Foo {
    x: bool,
    letter: char,
    name: &'static str,
    next: *const Foo,
    call: fn(u8) -> u8,
    pair: (u8, u8),
    flags: [bool; 4],
    fine: u64,
}

#[derive(Clone, Copy, Plain)]
struct Tuple(u8, bool);

#[derive(Clone, Plain)]
struct Owned {
    text: String,
    items: Vec<u8>,
    one: Box<u8>,
}

fn main() {}
