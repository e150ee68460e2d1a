//! Types that are no structs of known layout.
use procession_shm::Plain;

#[derive(Clone, Copy, Plain)]
#[repr(u8)]
enum Colour {
    Red,
    Green,
}

#[derive(Clone, Copy, Plain)]
union Either {
    a: u8,
    b: i8,
}

#[derive(Clone, Copy, Plain)]
struct Generic<T> {
    item: T,
}

#[derive(Clone, Copy, Plain)]
struct Sized<const N: usize>([u8; N]);

fn main() {}
