//! Gaps between fields, after them, and inside of a field's type.
use procession_shm::Plain;

#[derive(Clone, Copy, Plain)]
#[repr(C)]
struct Between {
    key: u32,
    value: u64,
}

#[derive(Clone, Copy, Plain)]
struct After {
    value: u64,
    key: u32,
}

#[derive(Clone, Copy, Plain)]
#[repr(align(8))]
struct Tuple(u32);

fn main() {}
