//! Kill points: a child that ships records is killed wherever something changed.
//!
//! Whatever the moment: each frame is wholly there or not at all, they are in their order, and of those whose writing had
//! returned none is missing.

use std::os::fd::AsFd;

use procession_log::ring::{self, LENGTH, Producer, Written};
use procession_testkit::roles::{self, Role};
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, need, role};

/// Frames of lengths that make one of them go on at the ring's other end.
const N: u32 = 2;
const CAPACITY: usize = 4 << 10;

fn frame(n: u32) -> Vec<u8> {
    let len = 29 + 8 * n as usize;
    let mut frame = vec![n as u8; len];
    frame[..LENGTH].copy_from_slice(&(len as u32).to_le_bytes());
    frame
}

fn victim(written: u32) {
    let producer = Producer::adopt(roles::handed("ring")).unwrap();
    step::here();
    for n in 0..written {
        assert_ne!(producer.write(&frame(n)), Written::Lost);
    }
    step::end();
}

#[test]
fn a_frame_is_there_or_not_and_those_before_it_are() {
    if role().is_some() {
        return victim(N);
    }
    guarded(|| {
        if !need("ptrace") {
            return;
        }
        let current = std::cell::RefCell::new(None);
        let spawn = || {
            let (mut consumer, fd) = ring::create(CAPACITY).unwrap();
            // The ring is at its end when the victim comes, so that its first frames go around.
            let before = Producer::adopt(fd.as_fd().try_clone_to_owned().unwrap()).unwrap();
            let mut bytes = Vec::new();
            for _ in 0..(CAPACITY - 56) / 8 {
                before.write(&[8, 0, 0, 0, 0, 0, 0, 0]);
                assert_eq!(consumer.take(&mut bytes), Ok(true));
            }
            *current.borrow_mut() = Some(consumer);
            Role::new("victim").hand("ring", fd).into_command()
        };
        let mut most = 0;
        step::sweep_changes("ships", spawn, |_, outcome| {
            let mut consumer = current.take().unwrap();
            let mut bytes = Vec::new();
            let _ = consumer.take(&mut bytes).unwrap();
            let n = ring::frames(&bytes).count();
            assert!(ring::frames(&bytes).zip(0..).all(|(got, n)| got == frame(n)), "after {n} frames");
            if matches!(outcome, Outcome::Ended { .. }) {
                assert_eq!(n, N as usize);
            }
            assert_eq!(consumer.n_lost(), 0);
            most = most.max(n);
        });
        assert_eq!(most, N as usize);
    });
}
