//! What needs to see the state inside: patience, and counts beyond what could be sent.

use super::*;
use crate::poll::{Interest, one};
use std::io::IoSlice;

#[test]
fn notices_without_end_do_not_hold_a_receiver_beyond_its_deadline() {
    let (ours, theirs) = socket::pair().unwrap();
    let mut incoming = Incoming { patience: 9, ..Incoming::new(100) };
    for _ in 0..50 {
        let notice = Header::Abort.encode();
        socket::send_packet(&ours, &[IoSlice::new(&notice)], &[], Deadline::now()).unwrap();
    }
    for _ in 0..5 {
        assert!(one(&theirs, Interest::Readable, Deadline::now()).unwrap());
        assert!(matches!(incoming.recv(&theirs, Deadline::now()), Err(RecvError::TimedOut)));
    }
    assert!(!one(&theirs, Interest::Readable, Deadline::now()).unwrap());
}
/// A stream that is inside of a message beyond what 32 bits count, without its bytes.
#[test]
fn a_message_of_more_than_four_gibibytes_is_counted_in_full() {
    const LEN: u64 = (4 << 30) + 20;
    let (ours, theirs) = socket::pair().unwrap();
    let more = |offset, bytes: &[u8]| {
        let header = Header::More { descriptors: 0, offset }.encode();
        let packet = [IoSlice::new(&header), IoSlice::new(bytes)];
        socket::send_packet(&ours, &packet, &[], Deadline::now()).unwrap();
    };
    let inside = |got| {
        let partial = Partial { got, refused: true, ..Partial::new(LEN, 0) };
        Incoming { state: State::Inside(partial), ..Incoming::new(1000) }
    };
    let mut incoming = inside(LEN - 30);
    more(LEN - 30, &[7; 20]);
    more(LEN - 10, &[7; 10]);
    crate::message::Outgoing::new().send(&ours, b"next", &[], Deadline::now()).unwrap();
    assert_eq!(incoming.recv(&theirs, Deadline::now()).unwrap().bytes, b"next");
    // One byte too many, and an offset that is right but for what is above 32 bits.
    for (offset, n, fault) in [(LEN - 10, 11, Fault::Overlong), (10, 10, Fault::Gap)] {
        let mut incoming = inside(LEN - 10);
        more(offset, &vec![7; n]);
        assert!(matches!(incoming.recv(&theirs, Deadline::now()), Err(RecvError::Corrupt(f)) if f == fault));
    }
}
