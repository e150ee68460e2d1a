//! What is said between a process and its fork server.
//!
//! A request is one message on the server's socket. Its descriptors: the child's end of its own channel, the server's end
//! of the child's status socket, the directory, then those of the standard three that are open. On the status socket come
//! at most two packets: [`Answer`] to the request, with the pidfd if a child was made, and later its status, unless the
//! kernel is there to be asked for it.

use std::os::fd::OwnedFd;

use rustix::process::Rlimit;

use crate::hook::ENTRY;
use crate::surroundings::Surroundings;

/// What the server is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) nonce: [u64; 2],
    /// What the child runs: a function token.
    pub(super) entry: [u8; ENTRY],
    /// Which of the standard three come along.
    pub(super) standard: [bool; 3],
    /// The group of processes the child shall be in; 0 is a new one.
    pub(super) group: u32,
    pub(super) surroundings: Surroundings,
    /// `NAME=value` each, with a NUL behind it.
    pub(super) environment: Vec<u8>,
}

/// The descriptors of a request.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) channel: OwnedFd,
    pub(super) status: OwnedFd,
    pub(super) directory: OwnedFd,
    pub(super) standard: [Option<OwnedFd>; 3],
}

impl Descriptors {
    pub(super) fn take(all: Vec<OwnedFd>, standard: [bool; 3]) -> Option<Self> {
        let mut all = all.into_iter();
        let (channel, status, directory) = (all.next()?, all.next()?, all.next()?);
        let standard = standard.map(|open| if open { all.next() } else { None });
        Some(Self { channel, status, directory, standard })
    }
}

impl Request {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let s = &self.surroundings;
        let mut bytes = Vec::with_capacity(1024 + self.environment.len());
        let mut word = |word: u64| bytes.extend_from_slice(&word.to_ne_bytes());
        self.nonce.into_iter().for_each(&mut word);
        self.entry.as_chunks().0.iter().for_each(|chunk| word(u64::from_ne_bytes(*chunk)));
        self.standard.into_iter().for_each(|open| word(open.into()));
        word(self.group.into());
        for n in
            [u64::from(s.umask), s.blocked, s.ignored, i64::from(s.niceness).cast_unsigned(), s.group.into()]
        {
            word(n);
        }
        for limit in s.limits {
            // No limit can be this: it is how the kernel writes that there is none.
            word(limit.current.unwrap_or(u64::MAX));
            word(limit.maximum.unwrap_or(u64::MAX));
        }
        for text in [s.identity.as_bytes(), s.processors.as_bytes(), &self.environment] {
            bytes.extend_from_slice(&(text.len() as u64).to_ne_bytes());
            bytes.extend_from_slice(text);
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let nonce = [rest.word()?, rest.word()?];
        let entry = rest.chunk()?;
        let standard = [rest.word()? != 0, rest.word()? != 0, rest.word()? != 0];
        let group = rest.word()?.try_into().ok()?;
        let umask = rest.word()?.try_into().ok()?;
        let (blocked, ignored) = (rest.word()?, rest.word()?);
        let niceness = rest.word()?.cast_signed().try_into().ok()?;
        let own_group = rest.word()?.try_into().ok()?;
        let mut limits = [Rlimit { current: None, maximum: None }; 16];
        for limit in &mut limits {
            let known = |limit: u64| (limit != u64::MAX).then_some(limit);
            *limit = Rlimit { current: known(rest.word()?), maximum: known(rest.word()?) };
        }
        let identity = String::from_utf8(rest.text()?.to_vec()).ok()?;
        let processors = String::from_utf8(rest.text()?.to_vec()).ok()?;
        let environment = rest.text()?.to_vec();
        let surroundings = Surroundings {
            identity,
            processors,
            umask,
            blocked,
            ignored,
            niceness,
            group: own_group,
            limits,
        };
        rest.0.is_empty().then_some(Self { nonce, entry, standard, group, surroundings, environment })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn word(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_ne_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.word()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }
}

/// Where a request failed, as far as a caller can tell one from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Step {
    /// The server cannot have the caller's surroundings. Another one, started now, has them.
    Surroundings = 1,
    Directory,
    Group,
    Fork,
    Pidfd,
}

impl Step {
    const ALL: [Self; 5] = [Self::Surroundings, Self::Directory, Self::Group, Self::Fork, Self::Pidfd];
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The number of the child. Its pidfd comes along.
    Started(u32),
    /// As `Started`, and the server tells no more: the kernel remembers how the child ends.
    Released(u32),
    Failed(Step, i32),
    /// The child ended; the status word of `wait(2)`.
    Ended(i32),
}

/// Bytes of an answer.
pub(super) const ANSWER: usize = 16;

impl Answer {
    pub(super) fn to_bytes(self) -> [u8; ANSWER] {
        let (kind, value) = match self {
            Self::Started(pid) => (100, u64::from(pid)),
            Self::Released(pid) => (102, u64::from(pid)),
            Self::Ended(status) => (101, i64::from(status).cast_unsigned()),
            Self::Failed(step, errno) => (step as u64, i64::from(errno).cast_unsigned()),
        };
        let mut bytes = [0; ANSWER];
        bytes[..8].copy_from_slice(&u64::to_ne_bytes(kind));
        bytes[8..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; ANSWER]) -> Option<Self> {
        let mut words = Reader(bytes);
        let (kind, value) = (words.word()?, words.word()?);
        let signed = i32::try_from(value.cast_signed());
        match kind {
            100 => value.try_into().ok().map(Self::Started),
            101 => signed.ok().map(Self::Ended),
            102 => value.try_into().ok().map(Self::Released),
            kind => {
                let step = Step::ALL.into_iter().find(|step| *step as u64 == kind)?;
                signed.ok().map(|errno| Self::Failed(step, errno))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let request = Request {
            nonce: [1, u64::MAX],
            entry: std::array::from_fn(|n| n as u8),
            standard: [true, false, true],
            group: 7,
            surroundings: Surroundings::now().unwrap(),
            environment: b"A=1\0B=\0".to_vec(),
        };
        let bytes = request.to_bytes();
        assert_eq!(Request::from_bytes(&bytes), Some(request));
        assert!((0..bytes.len()).all(|len| Request::from_bytes(&bytes[..len]).is_none()));
        let answers =
            [Answer::Started(9), Answer::Released(8), Answer::Ended(0x8b), Answer::Failed(Step::Group, 1)];
        assert!(answers.iter().all(|answer| Answer::from_bytes(&answer.to_bytes()) == Some(*answer)));
        assert_eq!(Answer::from_bytes(&[9; ANSWER]), None);
    }
}
