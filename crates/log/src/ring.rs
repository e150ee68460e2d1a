//! A ring of bytes in shared memory: the threads of one child write frames, its parent reads them.
//!
//! | word | written by | what it says |
//! |---|---|---|
//! | `HEAD` | the child | so many bytes were written since the start: all before it is whole |
//! | `TAIL` | the parent | so many bytes were read: what lies before it may be written over |
//! | `LOST` | the child | so many frames found no room |
//! | `ASLEEP` | the parent sets it, who writes next clears it | the parent sleeps, and wants the bell for the next frame |
//!
//! A frame is written behind `HEAD`, and then `HEAD` is stored: that is the commit. Threads of the child take turns by a
//! lock of their process, under which no code of others runs.
//!
//! | the child is killed | the parent finds |
//! |---|---|
//! | before `HEAD` is stored, with any part of the frame written | all frames before this one |
//! | after | this one too |
//! | before it rings the bell | the same: who is told of the death looks once more |
//!
//! Invariants: `HEAD` - `TAIL` is at most the capacity; what lies between them is whole frames, each of which starts at a
//! multiple of 8. The parent believes none of it and checks. Held by `tests/ring_steps.rs` and the tests below.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::sync::{Mutex, PoisonError};

use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{OsError, Result};

const HEAD: usize = 0;
const TAIL: usize = 64;
const LOST: usize = 128;
const ASLEEP: usize = 192;
/// Where the frames begin.
const DATA: usize = 4096;

/// Each frame begins with its length, in bytes and with itself.
pub const LENGTH: usize = 4;
/// Frames begin at multiples of this.
const ALIGN: usize = 8;
/// So much memory more is taken whenever the ring grows into what it never used.
const STEP: u64 = 32 << 10;
/// The longest frame, and the most that is read at once.
const LONGEST: usize = 256 << 10;
/// The smallest capacity.
const LEAST: usize = 4 << 10;

/// Why a frame was not written, or what else is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    Quietly,
    /// It is there, and the parent wants to be told.
    Ring,
    /// There was no room, or no memory; it was counted.
    Lost,
}

/// The child's end.
#[derive(Debug)]
pub struct Producer {
    memory: Memfd,
    mapping: Mapping,
    capacity: usize,
    turn: Mutex<Turn>,
}

#[derive(Debug)]
struct Turn {
    head: u64,
    /// How far into the memory it is reserved.
    reserved: u64,
}

/// The parent's end.
#[derive(Debug)]
pub struct Consumer {
    mapping: Mapping,
    capacity: usize,
    tail: u64,
}

/// What the child wrote makes no sense; nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// Makes a ring of about `capacity` bytes. The descriptor is for the child. Memory is taken as it is used.
pub fn create(capacity: usize) -> Result<(Consumer, OwnedFd)> {
    let capacity = capacity.clamp(LEAST, 1 << 30).next_power_of_two();
    let memory = Memfd::sparse("procession-log", (DATA + capacity) as u64)?;
    memory.reserve_range(0, first_reserve(capacity))?;
    let mapping = Mapping::shared(&memory)?;
    mapping.atomic_u32(ASLEEP).store(1, Relaxed);
    Ok((Consumer { mapping, capacity, tail: 0 }, memory.into_fd()))
}

fn first_reserve(capacity: usize) -> u64 {
    (DATA as u64 + STEP / 2).min((DATA + capacity) as u64)
}

impl Producer {
    /// Takes the descriptor that [`create`] gave.
    pub fn adopt(fd: OwnedFd) -> Result<Self> {
        let memory = Memfd::adopt_sparse(fd)?;
        let len = usize::try_from(memory.len()).unwrap_or(0);
        let capacity = len.saturating_sub(DATA);
        if !capacity.is_power_of_two() || capacity < LEAST {
            let why = std::io::Error::from(std::io::ErrorKind::InvalidData);
            return Err(OsError::new("taking over a ring for log records", why));
        }
        let mapping = Mapping::shared(&memory)?;
        let head = mapping.atomic_u64(HEAD).load(Acquire);
        let turn = Mutex::new(Turn { head, reserved: first_reserve(capacity) });
        Ok(Self { memory, mapping, capacity, turn })
    }

    /// Writes one frame, whose first four bytes are its length. Never waits for the parent.
    pub fn write(&self, frame: &[u8]) -> Written {
        let padded = frame.len().next_multiple_of(ALIGN) as u64;
        let capacity = self.capacity as u64;
        // Nothing panics under it, and the head in it is stored last.
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let used = turn.head.wrapping_sub(self.mapping.atomic_u64(TAIL).load(Acquire));
        if frame.len() > self.longest() || used + padded > capacity || !self.reserve(&mut turn, padded) {
            drop(turn);
            self.mapping.atomic_u64(LOST).fetch_add(1, Relaxed);
            return Written::Lost;
        }
        self.put(turn.head, frame);
        turn.head += padded;
        self.mapping.atomic_u64(HEAD).store(turn.head, Release);
        drop(turn);
        // Either we see that the parent sleeps, or it sees our frame before it does.
        fence(SeqCst);
        let asleep = self.mapping.atomic_u32(ASLEEP);
        let wakes = asleep.load(Relaxed) == 1 && asleep.swap(0, Relaxed) == 1;
        let is_half_full_now = used < capacity / 2 && used + padded >= capacity / 2;
        if wakes || is_half_full_now { Written::Ring } else { Written::Quietly }
    }

    /// The longest frame that this ring takes.
    fn longest(&self) -> usize {
        LONGEST.min(self.capacity / 4)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        let place = at as usize & (self.capacity - 1);
        let (first, rest) = bytes.split_at(bytes.len().min(self.capacity - place));
        self.mapping.write(DATA + place, first);
        if !rest.is_empty() {
            self.mapping.write(DATA, rest);
        }
    }

    /// Whether the next `len` bytes have memory.
    fn reserve(&self, turn: &mut Turn, len: u64) -> bool {
        let whole = (DATA + self.capacity) as u64;
        let end = (DATA as u64 + turn.head + len).min(whole);
        if end <= turn.reserved {
            return true;
        }
        let to = end.next_multiple_of(STEP).min(whole);
        let reserved = self.memory.reserve_range(turn.reserved, to - turn.reserved).is_ok();
        if reserved {
            turn.reserved = to;
        }
        reserved
    }
}

impl AsFd for Producer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Consumer {
    /// Moves whole frames into `frames`, in their order, as many as are there but not much more than 256 KiB; whether there
    /// were any.
    pub fn take(&mut self, frames: &mut Vec<u8>) -> std::result::Result<bool, Garbled> {
        frames.clear();
        let head = self.mapping.atomic_u64(HEAD).load(Acquire);
        let used = head.wrapping_sub(self.tail);
        if used > self.capacity as u64 || !used.is_multiple_of(ALIGN as u64) {
            return Err(Garbled);
        }
        let len = (used as usize).min(LONGEST);
        frames.resize(len, 0);
        let place = self.tail as usize & (self.capacity - 1);
        let (first, rest) = frames.split_at_mut(len.min(self.capacity - place));
        self.mapping.read(DATA + place, first);
        self.mapping.read(DATA, rest);
        let whole = whole_frames(frames).ok_or(Garbled)?;
        if whole == 0 && len > 0 {
            return Err(Garbled);
        }
        frames.truncate(whole);
        self.tail += whole as u64;
        self.mapping.atomic_u64(TAIL).store(self.tail, Release);
        Ok(whole > 0)
    }

    /// How many frames were lost so far.
    pub fn n_lost(&self) -> u64 {
        self.mapping.atomic_u64(LOST).load(Relaxed)
    }

    /// Asks for the bell at the next frame; whether there is one already, so that nobody may sleep.
    pub fn fall_asleep(&self) -> bool {
        self.mapping.atomic_u32(ASLEEP).store(1, Relaxed);
        fence(SeqCst);
        self.mapping.atomic_u64(HEAD).load(Relaxed) != self.tail
    }
}

/// How many bytes the whole frames at the beginning have; `None` where one is no frame.
fn whole_frames(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let len = length(&bytes[at..])?;
        if len <= LENGTH || len > LONGEST {
            return None;
        }
        let next = at + len.next_multiple_of(ALIGN);
        if next > bytes.len() {
            break;
        }
        at = next;
    }
    Some(at)
}

fn length(bytes: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.first_chunk::<LENGTH>()?) as usize)
}

/// The frames that [`Consumer::take`] gave, one by one.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = length(bytes)?;
        let frame = bytes.get(..len)?;
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(capacity: usize) -> (Consumer, Producer) {
        let (consumer, fd) = create(capacity).unwrap();
        (consumer, Producer::adopt(fd).unwrap())
    }

    fn frame(len: usize, salt: u8) -> Vec<u8> {
        let mut frame = vec![salt; len];
        frame[..LENGTH].copy_from_slice(&(len as u32).to_le_bytes());
        frame
    }

    #[test]
    fn every_length_at_every_place_comes_back_whole() {
        procession_testkit::guarded(|| {
            let (mut consumer, producer) = ring(LEAST);
            let mut bytes = Vec::new();
            for n in 0..5_000_usize {
                let sent = [frame(5 + n % 97, n as u8), frame(5 + n % 41, !n as u8)];
                for frame in &sent {
                    assert_ne!(producer.write(frame), Written::Lost);
                }
                assert_eq!(consumer.take(&mut bytes), Ok(true));
                assert!(frames(&bytes).eq(sent.iter().map(Vec::as_slice)), "round {n}");
            }
            assert_eq!((consumer.take(&mut bytes), consumer.n_lost()), (Ok(false), 0));
        });
    }

    #[test]
    fn what_finds_no_room_is_counted_and_the_rest_stays() {
        procession_testkit::guarded(|| {
            let (mut consumer, producer) = ring(LEAST);
            assert_eq!(producer.write(&frame(LEAST / 4 + 1, 1)), Written::Lost, "too long for any room");
            let n = (0..100).take_while(|n| producer.write(&frame(100, *n)) != Written::Lost).count();
            assert_eq!(n, LEAST / 104);
            let mut bytes = Vec::new();
            assert_eq!(consumer.take(&mut bytes), Ok(true));
            assert!(frames(&bytes).zip(0..).all(|(got, n)| got == frame(100, n)));
            assert_eq!((frames(&bytes).count(), consumer.n_lost()), (n, 2));
            assert_ne!(producer.write(&frame(100, 1)), Written::Lost);
        });
    }

    #[test]
    fn the_bell_is_for_who_sleeps_and_for_the_half() {
        procession_testkit::guarded(|| {
            let (mut consumer, producer) = ring(LEAST);
            assert_eq!(producer.write(&frame(64, 0)), Written::Ring, "a new ring sleeps");
            assert!(consumer.fall_asleep(), "there is a frame");
            assert_eq!(producer.write(&frame(64, 0)), Written::Ring);
            let rings: Vec<_> =
                (2..LEAST / 64).filter(|_| producer.write(&frame(64, 0)) == Written::Ring).collect();
            assert_eq!(rings, [LEAST / 128 - 1]);
            let mut bytes = Vec::new();
            while consumer.take(&mut bytes).unwrap() {}
            assert!(!consumer.fall_asleep());
        });
    }

    #[test]
    fn a_child_that_lies_is_found_out() {
        procession_testkit::guarded(|| {
            for head in [8, 12, LEAST as u64 + 8, u64::MAX] {
                let (mut consumer, producer) = ring(LEAST);
                producer.mapping.atomic_u64(HEAD).store(head, Release);
                assert_eq!(consumer.take(&mut Vec::new()), Err(Garbled), "head {head}");
            }
        });
    }
}
