//! What cannot be called from afar is refused, with what to do instead.
use procession_manager::remote;

#[remote]
trait Wrong {
    fn generic<T>(&self, value: T);
    fn consumes(self);
    fn makes() -> u8;
    fn changes(&self, value: &mut u8);
    fn inner(&self, value: Option<&str>);
    fn lends(&self) -> &str;
    fn calls(&self, back: impl Fn(u8));
    async fn waits(&self);
}

#[remote]
trait Typed {
    type Item;
    const N: usize;
}

#[remote]
struct NoTrait;

#[remote(nonsense)]
trait Options {}

fn main() {}
