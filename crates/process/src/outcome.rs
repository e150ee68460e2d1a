//! From what a child said and how it ended to the one outcome it has.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use procession_codec::{Codec, Message, Postcard, handles};
use procession_sys::hook::{Hello, Started};
use procession_sys::image::ImageId;
use procession_sys::message::{Incoming, RecvError};
use procession_sys::signal::Signal;
use procession_sys::status::Exit;
use procession_sys::{Deadline, OsError};

use crate::error::{Hint, JoinError, Panic, Who};
use crate::panics;
use crate::wire::{self, Report};

/// What is known of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Nothing yet.
    Awaited,
    /// It runs our image.
    Ready,
    /// It runs this one.
    Other(ImageId),
    /// It was killed because nothing came in time.
    TimedOut,
}

/// An ended child's value, still encoded.
#[derive(Debug)]
pub(crate) struct Value {
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Value {
    /// Decodes the value of the process `who`.
    pub(crate) fn decode<R: Message>(self, who: &Who) -> Result<R, JoinError> {
        handles::supply(self.descriptors, || Postcard::decode(&self.bytes))
            .map_err(|error| JoinError::ResultNotDecoded { who: who.clone(), error })
    }
}

/// The receiving end of a child's reports.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) handshake: Handshake,
    incoming: Incoming,
    panic: Option<Panic>,
    last: Option<(Report, Vec<OwnedFd>)>,
    /// What the child wrote that makes no sense.
    garbled: Option<String>,
    /// Why we could not read what it wrote.
    failed: Option<OsError>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            handshake: Handshake::Awaited,
            incoming: Incoming::new(wire::LIMIT),
            panic: None,
            last: None,
            garbled: None,
            failed: None,
        }
    }

    /// Looks whether the hello has come.
    pub(crate) fn look_for_hello(&mut self, started: &Started) {
        if self.handshake != Handshake::Awaited {
            return;
        }
        match started.hello(Deadline::now()) {
            Ok(Some(Hello::Ready)) => self.handshake = Handshake::Ready,
            Ok(Some(Hello::OtherImage(image))) => self.handshake = Handshake::Other(image),
            Ok(None) => {}
            // An end of file: the process's status tells more.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(e) => self.garbled = Some(e.to_string()),
        }
    }

    /// Reads everything an ended child left behind.
    pub(crate) fn drain(&mut self, started: &Started) {
        self.look_for_hello(started);
        while self.handshake == Handshake::Ready && self.garbled.is_none() {
            let mut message = match self.incoming.recv(started.socket.as_fd(), Deadline::now()) {
                Ok(message) => message,
                Err(why) => return self.note_end(why),
            };
            match wire::decode(&message.bytes) {
                Ok(Report::LastWords) => {
                    let page = wire::take_memory(&mut message.descriptors);
                    self.panic = page.ok().as_ref().and_then(panics::last_words);
                }
                Ok(report) => self.last = Some((report, message.descriptors)),
                Err(e) => self.garbled = Some(e.to_string()),
            }
        }
    }

    /// Why nothing more is to be had from the channel.
    fn note_end(&mut self, why: RecvError) {
        match why {
            // How the process ended tells more.
            RecvError::Closed | RecvError::ClosedInside { .. } | RecvError::TimedOut => {}
            RecvError::Os(e) => self.failed = Some(e),
            e @ RecvError::DescriptorsLost => {
                self.failed = Some(OsError::new("reading what a child reported", io::Error::other(e)));
            }
            e => self.garbled = Some(e.to_string()),
        }
    }

    /// The one outcome of a child that ended like this.
    pub(crate) fn decide(
        &mut self,
        who: &Who,
        exit: Exit,
        start_timeout: Duration,
    ) -> Result<Value, JoinError> {
        let who = who.clone();
        if let Some(error) = self.garbled.take() {
            return Err(JoinError::Garbled { who, error });
        }
        match self.handshake {
            Handshake::TimedOut => return Err(JoinError::NoHandshake { who, after: start_timeout }),
            Handshake::Other(image) => {
                let ours = ImageId::current().map_or_else(|e| e.to_string(), |image| format!("{image:?}"));
                return Err(JoinError::NotSameImage {
                    who,
                    difference: format!("{image:?}, ours is {ours}"),
                });
            }
            Handshake::Awaited => return Err(JoinError::NeverStarted { who, exit }),
            Handshake::Ready => {}
        }
        if let Some(error) = self.failed.take() {
            return Err(JoinError::Os(error));
        }
        match self.last.take() {
            Some((Report::Returned(body), mut descriptors)) => match body.unpack(&mut descriptors) {
                Ok(bytes) => Ok(Value { bytes, descriptors }),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    Err(JoinError::Garbled { who, error: e.to_string() })
                }
                Err(e) => Err(JoinError::Os(e)),
            },
            Some((Report::Panicked(panic), _)) => Err(JoinError::Panicked(panic)),
            Some((Report::NotRun(error), _)) => Err(JoinError::NotRun { who, error }),
            Some((Report::BadArgument(error), _)) => Err(JoinError::Argument { who, error }),
            Some((Report::BadResult(error), _)) => Err(JoinError::ResultNotEncoded { who, error }),
            Some((Report::LastWords, _)) | None => Err(self.silent(who, exit)),
        }
    }

    /// It ended without a last word.
    fn silent(&mut self, who: Who, exit: Exit) -> JoinError {
        match exit {
            // A panic that could not unwind ends in abort().
            Exit::Signal { signal, core_dumped } => match self.panic.take() {
                Some(panic) if signal == Signal::ABRT => JoinError::Panicked(panic),
                _ => JoinError::Killed { who, signal, core_dumped, hint: Hint::of(exit) },
            },
            Exit::Code(code) => JoinError::Exited { who, code },
            _ => JoinError::StatusLost { who },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Body;

    /// What `sys` tells of a refused handshake (its own tests make one) reaches the caller.
    #[test]
    fn another_image_is_an_outcome() {
        let who = Who { name: "p".into(), pid: 1 };
        let mut reports = Reports::new();
        reports.handshake = Handshake::Other(ImageId::current().unwrap());
        let outcome = reports.decide(&who, Exit::Code(125), Duration::ZERO);
        let Err(JoinError::NotSameImage { difference, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(difference.contains("ours is ImageId("), "{difference}");
    }

    #[test]
    fn garbage_comes_before_everything_else() {
        let who = Who { name: "p".into(), pid: 1 };
        let mut reports = Reports::new();
        reports.garbled = Some("nonsense".into());
        reports.last = Some((Report::Returned(Body::Memory), Vec::new()));
        let outcome = reports.decide(&who, Exit::Code(0), Duration::ZERO);
        assert!(matches!(outcome, Err(JoinError::Garbled { .. })), "{outcome:?}");
    }
}
