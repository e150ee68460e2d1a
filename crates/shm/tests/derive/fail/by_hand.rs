//! The mark itself is unsafe to give.
use procession_shm::{Fingerprint, Plain};

#[derive(Clone, Copy)]
struct Foo(u8);

impl Plain for Foo {
    const FINGERPRINT: Fingerprint = Fingerprint::new("Foo", 1, 1);
}

fn takes<T: Plain>(_: T) {}

fn main() {
    takes(true);
}
