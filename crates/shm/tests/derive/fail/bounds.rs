//! Field types that only the bound refuses.
use procession_shm::Plain;
use std::num::NonZeroU8;

type Hidden = bool;

#[derive(Clone, Copy)]
struct Unmarked(u8);

#[derive(Clone, Copy, Plain)]
struct Foo {
    hidden: Hidden,
    nonzero: NonZeroU8,
    option: Option<u8>,
    unmarked: Unmarked,
}

fn main() {}
