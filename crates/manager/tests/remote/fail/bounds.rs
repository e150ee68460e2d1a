//! What only a bound refuses: values that do not travel, objects that threads cannot share.
use procession_manager::{Manager, remote};

struct Plain;

#[remote]
trait Takes {
    fn take(&self, plain: Plain);
    fn give(&self) -> Plain;
}

#[remote]
trait Counter {
    fn count(&self) -> u32;
}

struct Counting(std::cell::Cell<u32>);

impl Counter for Counting {
    fn count(&self) -> u32 {
        self.0.get()
    }
}

trait Bare {}

fn bare(_: ()) -> Box<dyn Bare> {
    unreachable!()
}

fn main() {
    let manager = Manager::start().unwrap();
    manager.register(bare, ()).unwrap();
}
