//! From what a child said and how it ended to the one outcome it has.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use procession_codec::{Codec, Message, Postcard, handles};
use procession_sys::Deadline;
use procession_sys::hook::{Hello, Started};
use procession_sys::image::ImageId;
use procession_sys::message::Incoming;
use procession_sys::signal::Signal;
use procession_sys::status::Exit;

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
    garbled: Option<String>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            handshake: Handshake::Awaited,
            incoming: Incoming::new(wire::LIMIT),
            panic: None,
            last: None,
            garbled: None,
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
            let Ok(mut message) = self.incoming.recv(started.socket.as_fd(), Deadline::now()) else { break };
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
        match self.last.take() {
            Some((Report::Returned(body), mut descriptors)) => {
                Ok(Value { bytes: body.unpack(&mut descriptors)?, descriptors })
            }
            Some((Report::Panicked(panic), _)) => Err(JoinError::Panicked(panic)),
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
