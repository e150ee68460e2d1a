//! What this crate itself has to say: a panic, records that were lost. It comes as a record like others.

use std::fmt;

use crate::frame::Frame;
use crate::spawn::Levels;

/// A record of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice<'n> {
    pub(crate) target: &'n str,
    /// A warning otherwise.
    pub(crate) is_error: bool,
    pub(crate) file: Option<&'n str>,
    /// 0: not known.
    pub(crate) line: u32,
}

/// For what this crate says of itself.
pub(crate) const OURS: Notice<'static> =
    Notice { target: "procession::log", is_error: false, file: None, line: 0 };

impl Notice<'_> {
    /// As a frame of the kind that [`Levels::kind_of_notices`] says.
    pub(crate) fn write(&self, frame: &mut Frame, levels: Levels, message: fmt::Arguments<'_>) {
        let level = if self.is_error { ERROR } else { WARN };
        if levels.tracing == 0 {
            frame.u8(level);
            for text in [Some(self.target), None, self.file] {
                frame.optional(text);
            }
            frame.u32(self.line);
            frame.text(message);
            return;
        }
        frame.u8(0); // in no span of the child
        frame.part(|frame| {
            frame.u8(level);
            for text in [Some(self.target), Some(self.target), None, self.file] {
                frame.optional(text);
            }
            frame.u32(self.line);
            frame.str("message");
        });
        frame.u8(0);
        frame.value_text(message);
    }
}

/// Levels in frames: as `log` counts them.
pub(crate) const ERROR: u8 = 1;
pub(crate) const WARN: u8 = 2;
