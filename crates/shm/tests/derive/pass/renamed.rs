//! The crate under other names: re-exported, and with nothing of it in scope.
#![no_implicit_prelude]

mod facade {
    pub mod memory {
        pub use ::procession_shm::*;
    }
}

#[derive(::std::clone::Clone, ::std::marker::Copy, facade::memory::Plain)]
#[plain(crate = facade::memory)]
struct Renamed {
    x: u64,
}

#[derive(::std::clone::Clone, ::std::marker::Copy, ::procession_shm::Plain)]
struct Direct {
    x: u64,
}

fn main() {
    let print = <Renamed as facade::memory::Plain>::FINGERPRINT;
    ::std::assert_ne!(print, <Direct as facade::memory::Plain>::FINGERPRINT);
    ::std::assert_eq!(Renamed { x: 1 }.x, Direct { x: 1 }.x);
}
