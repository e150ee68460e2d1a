//! The protocols as state machines, searched state by state, with a kill possible before every step of every process.
//!
//! Invariants: a step is one access to a shared word or one system call, as in the code; each model says which function
//! each of its steps belongs to, and changes when that function does; nothing is sampled: a model that passes has no
//! other states within its bounds, and the bounds and the numbers are in the README beside the manifest. Beside each
//! model are broken twins, and the test fails if the search does not find them. Memory is sequentially consistent here:
//! weak memory is the business of `tests/loom.rs`.
//!
//! A run with ticks proves that nothing is lost for ever; a run without them, that the tick hides no lost wake, or names
//! the places where a kill costs a tick. `PROCESSION_LONG` makes the bounds larger.
#![allow(clippy::print_stdout, reason = "how many states there were is for whoever reads the test's output")]

#[path = "kill_model/barrier.rs"]
mod barrier;
#[path = "kill_model/condvar.rs"]
mod condvar;
#[path = "kill_model/event.rs"]
mod event;
#[path = "kill_model/event_count.rs"]
mod event_count;
#[path = "kill_model/lock.rs"]
mod lock;
#[path = "kill_model/machine.rs"]
mod machine;
#[path = "kill_model/ring.rs"]
mod ring;
#[path = "kill_model/search.rs"]
mod search;
#[path = "kill_model/semaphore.rs"]
mod semaphore;
#[path = "kill_model/tokens.rs"]
mod tokens;

/// Whether the bounds are the large ones.
fn is_long() -> bool {
    std::env::var_os("PROCESSION_LONG").is_some()
}
