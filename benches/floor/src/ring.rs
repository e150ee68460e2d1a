//! A ring of bytes between two processes, read in place; how its ends wait is a parameter.
//!
//! Invariants: one sender and one receiver; positions only grow, and a message lies between them in one piece, because
//! the body is mapped twice in a row; a position is published after the bytes before it. Held by the tests of
//! [`spin_ring`](crate::spin_ring) and [`hybrid_ring`](crate::hybrid_ring).
//!
//! A message is its length in 8 bytes, and its bytes, padded to 8. Its bytes are trusted: a floor checks nothing.
//!
//! # Safety
//! - Between the tail and the head only the receiver touches the body, elsewhere only the sender; each end is the only
//!   one of its kind, is not cloned, and moves the positions with release after its last access.
//! - After a fork both processes have both ends; each must use one of them only. That is kept by who forks.
#![allow(unsafe_code, reason = "bytes in shared memory")]

use std::marker::PhantomData;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::cpu::{Placement, Side, pin};
use crate::fork::{Forked, fork};
use crate::memory::Shared;

/// A value on a pair of cache lines of its own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line<T>(pub T);

/// What one end sleeps on and the other wakes. All zero: nobody sleeps.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Bell {
    /// 1 while the waiter may sleep; only the waiter writes it.
    pub asleep: AtomicU32,
    /// How often it was rung; the waiter sleeps on it.
    pub rings: AtomicU32,
}

/// How an end waits for the other.
pub trait Wait {
    /// Tries until there is an answer.
    fn until<R>(bell: &Bell, attempt: impl FnMut() -> Option<R>) -> R;

    /// Something was published that whoever waits at `bell` may wait for.
    fn notify(bell: &Bell);
}

#[derive(Debug)]
#[repr(C)]
struct Words {
    head: Line<AtomicU64>,
    tail: Line<AtomicU64>,
    data: Line<Bell>,
    space: Line<Bell>,
}

/// Where the body begins.
const BODY: usize = 4096;
/// The length before each message.
const LENGTH: usize = 8;

const _: () = assert!(size_of::<Words>() <= BODY);

#[derive(Debug)]
struct Ring {
    memory: Shared,
    capacity: usize,
}

impl Ring {
    #[inline]
    fn words(&self) -> &Words {
        // SAFETY: atomics only, and the only thing in the first page.
        unsafe { self.memory.at(0) }
    }

    /// The bytes from a position on.
    #[inline]
    fn body(&self, position: u64, len: usize) -> *mut u8 {
        self.memory.bytes(BODY + (position as usize & (self.capacity - 1)), len)
    }
}

/// The end that sends.
#[derive(Debug)]
pub struct Sender<W> {
    ring: Rc<Ring>,
    head: u64,
    /// The tail, as last seen.
    tail: u64,
    wait: PhantomData<W>,
}

/// The end that receives.
#[derive(Debug)]
pub struct Receiver<W> {
    ring: Rc<Ring>,
    tail: u64,
    /// The head, as last seen.
    head: u64,
    wait: PhantomData<W>,
}

/// A ring with room for `capacity` bytes, lengths included. To be made before the fork.
///
/// # Panics
/// If `capacity` is no power of two, or less than a page; if there is no memory.
pub fn ring<W: Wait>(capacity: usize) -> (Sender<W>, Receiver<W>) {
    assert!(capacity.is_power_of_two() && capacity >= 4096, "a ring of {capacity} bytes");
    let ring = Rc::new(Ring { memory: Shared::doubled(BODY, capacity), capacity });
    let sender = Sender { ring: Rc::clone(&ring), head: 0, tail: 0, wait: PhantomData };
    (sender, Receiver { ring, head: 0, tail: 0, wait: PhantomData })
}

const fn needed(len: usize) -> usize {
    LENGTH + len.next_multiple_of(8)
}

impl<W: Wait> Sender<W> {
    /// Copies the message into the ring; waits for room.
    ///
    /// # Panics
    /// If it is larger than the ring.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) {
        let (words, needed) = (self.ring.words(), needed(bytes.len()) as u64);
        let room = self.ring.capacity as u64;
        assert!(needed <= room, "a message of {} bytes for a ring of {room}", bytes.len());
        let end = self.head + needed;
        if end - self.tail > room {
            self.tail = W::until(&words.space.0, || {
                let tail = words.tail.0.load(Ordering::Acquire);
                (end - tail <= room).then_some(tail)
            });
        }
        let to = self.ring.body(self.head, needed as usize);
        // SAFETY: free for the sender, as the receiver's tail says; positions are multiples of 8.
        unsafe { to.cast::<u64>().write(bytes.len() as u64) };
        // SAFETY: as above; `bytes` lies elsewhere, as a message in the ring is lent with its receiver.
        unsafe { to.wrapping_add(LENGTH).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.head = end;
        words.head.0.store(end, Ordering::Release);
        W::notify(&words.data.0);
    }
}

impl<W: Wait> Receiver<W> {
    /// Waits for a message, lends it, and frees its room.
    #[inline]
    pub fn recv<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> R {
        let words = self.ring.words();
        if self.tail == self.head {
            let tail = self.tail;
            self.head = W::until(&words.data.0, || {
                let head = words.head.0.load(Ordering::Acquire);
                (head != tail).then_some(head)
            });
        }
        let at = self.ring.body(self.tail, LENGTH);
        // SAFETY: published by the sender; positions are multiples of 8.
        let len = unsafe { at.cast::<u64>().read() } as usize;
        let at = self.ring.body(self.tail, needed(len)).wrapping_add(LENGTH);
        // SAFETY: published by the sender, who writes there again only after the tail has moved.
        let result = read(unsafe { slice::from_raw_parts(at, len) });
        self.tail += needed(len) as u64;
        words.tail.0.store(self.tail, Ordering::Release);
        W::notify(&words.space.0);
        result
    }
}

/// The near end of two rings, with a child at the far end.
#[derive(Debug)]
pub struct Peer<W> {
    /// To the child.
    pub to: Sender<W>,
    /// From the child.
    pub from: Receiver<W>,
    child: Forked,
}

/// Forks a child that runs `serve` with the far ends, and pins both sides.
///
/// # Panics
/// As [`ring`], or if there is no process to be had.
pub fn peer<W: Wait>(
    capacity: usize,
    placement: Placement,
    serve: impl FnOnce(Sender<W>, Receiver<W>),
) -> Peer<W> {
    pin(placement, Side::Near);
    let (to, theirs) = ring(capacity);
    let (back, from) = ring(capacity);
    let child = fork(|| {
        pin(placement, Side::Far);
        serve(back, theirs);
    });
    Peer { to, from, child }
}

/// A [`Peer`] that sends everything back, in the order in which it comes.
///
/// # Panics
/// As [`peer`].
pub fn echo<W: Wait>(capacity: usize, placement: Placement) -> Peer<W> {
    peer(capacity, placement, |mut to, mut from| {
        loop {
            from.recv(|bytes| to.send(bytes));
        }
    })
}

impl<W: Wait> Peer<W> {
    /// Waits until the child sleeps. It must have nothing to do.
    pub fn until_asleep(&self) {
        self.child.until_asleep();
    }

    /// To the child and back.
    ///
    /// # Panics
    /// If what comes back has another length.
    #[inline]
    pub fn round_trip(&mut self, bytes: &[u8]) {
        self.to.send(bytes);
        assert_eq!(self.from.recv(<[u8]>::len), bytes.len());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of all lengths, each with contents of its own.
    fn message(n: usize) -> Vec<u8> {
        (0..n * 37 % 1900).map(|at| (at + n) as u8).collect()
    }

    /// Many times around a small ring.
    pub(crate) fn messages_arrive_whole_and_in_order<W: Wait>(messages: usize) {
        let mut peer = echo::<W>(4096, Placement::Anywhere);
        for n in 0..messages {
            peer.to.send(&message(n));
            if n % 2 == 1 {
                assert!(peer.from.recv(|bytes| bytes == message(n - 1)), "message {}", n - 1);
                assert!(peer.from.recv(|bytes| bytes == message(n)), "message {n}");
            }
        }
    }

    /// The ring is full before the receiver is there.
    pub(crate) fn a_full_ring_makes_its_sender_wait<W: Wait>(messages: usize) {
        let mut peer = peer::<W>(4096, Placement::Anywhere, |mut to, mut from| {
            let right = (0..messages).filter(|n| from.recv(|bytes| bytes == message(*n))).count();
            to.send(&right.to_ne_bytes());
            from.recv(|_| ());
        });
        (0..messages).for_each(|n| peer.to.send(&message(n)));
        assert!(peer.from.recv(|bytes| bytes == messages.to_ne_bytes()));
    }
}
