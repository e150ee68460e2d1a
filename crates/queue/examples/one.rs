//! One.
use procession_queue::*;
fn main() {
    let (tx, rx) = bounded_as::<u64, AsPlain>(1024, 64 << 20).unwrap();
    for i in 0..3_000_000u64 {
        tx.send(i).unwrap();
        assert_eq!(rx.recv().unwrap(), i);
    }
}
