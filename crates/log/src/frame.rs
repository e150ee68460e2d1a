//! How a record looks in the ring: written without an allocation, read with every length checked.
//!
//! A frame is its length (4 bytes), its [`Kind`], who wrote it, and what its kind says. Numbers are little-endian; texts
//! have their length before them. Invariant: what [`Frame`] writes, [`Reader`] reads; what does not fit is `None`. Held by
//! the tests below.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use crate::ring::LENGTH;

/// What a frame tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record of the crate `log`.
    Log = 1,
    /// An event of `tracing`.
    Event,
    /// A span was made.
    Span,
    /// A span got values.
    Values,
    /// A span was closed.
    Close,
    /// A process has ended.
    Gone,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        const ALL: [Kind; 6] = [Kind::Log, Kind::Event, Kind::Span, Kind::Values, Kind::Close, Kind::Gone];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

thread_local! {
    /// The memory of the last frame of this thread.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// More than this is not kept from one frame to the next.
const KEPT: usize = 64 << 10;

/// A frame that is being written.
#[derive(Debug)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    /// Makes a frame with `fill`, and gives it to `with`.
    pub(crate) fn make(kind: Kind, who: &[u8], fill: impl FnOnce(&mut Self), with: impl FnOnce(&[u8])) {
        // A value that logs while it is being formatted finds no memory there and takes its own.
        let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
        bytes.clear();
        let mut frame = Self(bytes);
        frame.0.extend_from_slice(&[0, 0, 0, 0, kind as u8]);
        frame.0.extend_from_slice(who);
        fill(&mut frame);
        let len = u32::try_from(frame.0.len()).unwrap_or(u32::MAX);
        frame.0[..LENGTH].copy_from_slice(&len.to_le_bytes());
        with(&frame.0);
        if frame.0.capacity() <= KEPT {
            // At the end of a thread there is no place for it any more.
            let _ = BUFFER.try_with(|buffer| buffer.set(frame.0));
        }
    }

    /// Who writes, as each frame has it.
    pub(crate) fn who(name: &str, pid: u32) -> Vec<u8> {
        let mut frame = Self(Vec::new());
        frame.u32(pid);
        frame.str(name);
        frame.0
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// An empty one is written as none.
    pub(crate) fn optional(&mut self, text: Option<&str>) {
        self.str(text.unwrap_or_default());
    }

    /// What `fmt` makes of it, in place.
    pub(crate) fn text(&mut self, text: fmt::Arguments<'_>) {
        self.part(|frame| {
            // A value that refuses to be formatted is written so far.
            let _ = frame.write_fmt(text);
        });
    }

    /// A part with its length before it.
    pub(crate) fn part(&mut self, fill: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.u32(0);
        fill(self);
        let len = u32::try_from(self.0.len() - at - 4).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}

impl fmt::Write for Frame {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Who wrote a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writer<'f> {
    pub(crate) name: &'f str,
    pub(crate) pid: u32,
}

/// What is left of a frame that is being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    /// Its kind, who wrote it, and the rest.
    pub(crate) fn open(frame: &'f [u8]) -> Option<(Kind, Writer<'f>, Self)> {
        let mut reader = Self(frame.get(LENGTH..)?);
        let kind = Kind::of(reader.u8()?)?;
        let pid = reader.u32()?;
        let name = reader.str()?;
        Some((kind, Writer { name, pid }, reader))
    }

    /// Of bytes that are no frame.
    pub(crate) fn of(bytes: &'f [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.chunk().map(u128::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'f [u8]> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn str(&mut self) -> Option<&'f str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// `Some(None)` for an empty one.
    pub(crate) fn optional(&mut self) -> Option<Option<&'f str>> {
        self.str().map(|text| Some(text).filter(|text| !text.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_prefix_of_it() {
        let mut seen = Vec::new();
        let fill = |frame: &mut Frame| {
            frame.u8(7);
            frame.u64(1 << 40);
            frame.text(format_args!("{}-{}", 1, "zwei"));
            frame.optional(None);
        };
        Frame::make(Kind::Event, &Frame::who("p", 9), fill, |frame| seen = frame.to_vec());
        let read = |frame| {
            let (kind, who, mut rest) = Reader::open(frame)?;
            let all = (rest.u8()?, rest.u64()?, rest.str()?, rest.optional()?);
            Some((kind, who, all, rest.is_empty()))
        };
        let who = Writer { name: "p", pid: 9 };
        assert_eq!(read(&seen), Some((Kind::Event, who, (7, 1 << 40, "1-zwei", None), true)));
        assert!((0..seen.len()).all(|len| read(&seen[..len]).is_none()));
    }

    #[test]
    fn a_frame_within_a_frame_is_another() {
        let inner = |frame: &mut Frame| frame.str("inner");
        let mut seen = Vec::new();
        let outer = |frame: &mut Frame| {
            frame.str("outer");
            Frame::make(Kind::Log, &[], inner, |frame| assert!(frame.ends_with(b"inner")));
        };
        Frame::make(Kind::Log, &[], outer, |frame| seen = frame.to_vec());
        assert!(seen.ends_with(b"outer"));
    }
}
