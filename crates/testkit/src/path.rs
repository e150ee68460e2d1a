//! Which test this is.
//!
//! Invariant: under libtest every test runs in a thread that bears the test's path as its name, also with
//! one test thread; `tests/roles.rs` holds it.

use std::thread;

/// The path of the test that calls, such as `module::a_test`.
///
/// It is the name of the calling thread: call it in the test's own thread. A thread without a name gives
/// `unnamed`, and a doctest or a program gives `main`.
#[must_use]
pub fn test_path() -> String {
    thread::current().name().unwrap_or("unnamed").to_owned()
}
