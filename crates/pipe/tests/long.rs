//! A message as long as the memory of a machine allows.

use std::thread;

use procession_pipe::Connection;
use procession_testkit::guarded;

/// Above 4 GiB with `PROCESSION_LONG`, which takes three times as much memory, and a few MiB without.
#[test]
fn a_long_message_arrives_whole() {
    guarded(|| {
        let len = if std::env::var_os("PROCESSION_LONG").is_some() { (4 << 30) + 5 } else { (4 << 20) + 5 };
        let byte = |at: usize| (at >> 12) as u8;
        let (ours, theirs) = Connection::pair().unwrap();
        let (ours, theirs) = (ours.with_limit(u64::MAX), theirs.with_limit(u64::MAX));
        thread::scope(|scope| {
            scope.spawn(move || ours.send_bytes(&(0..len).map(byte).collect::<Vec<u8>>()).unwrap());
            let got = theirs.recv_bytes().unwrap();
            assert!(got.len() == len && (0..len).all(|at| got[at] == byte(at)), "{} bytes", got.len());
        });
    });
}
