//! From frames to records of this process's loggers, or on to the parent of this process.

use std::fmt;

use procession_process::Who;

use crate::frame::{Frame, Kind, Reader};
use crate::notice::Notice;
use crate::outlet::{Outlet, outlet};
use crate::spawn::{Levels, SpanKey};

/// Where the frames of one child go: chosen when it is started.
#[derive(Debug)]
pub(crate) struct Emitter {
    levels: Levels,
    /// In a child: its parent gets what its own children write.
    above: Option<&'static Outlet>,
    #[cfg(feature = "tracing")]
    scene: crate::scene::Scene,
}

impl Emitter {
    /// To the loggers of this thread at this moment, or above.
    pub(crate) fn here(levels: Levels) -> Self {
        Self {
            levels,
            above: outlet(),
            #[cfg(feature = "tracing")]
            scene: crate::scene::Scene::here(),
        }
    }

    /// The span that the child is started in.
    pub(crate) fn root(&self) -> Option<SpanKey> {
        #[cfg(feature = "tracing")]
        return self.scene.root(self.above);
        #[cfg(not(feature = "tracing"))]
        None
    }

    /// Hands on one frame; one that makes no sense is passed over.
    pub(crate) fn hand_on(&mut self, frame: &[u8]) {
        match self.above {
            Some(outlet) => outlet.pass_on(frame),
            None => drop(self.emit(frame)),
        }
    }

    fn emit(&mut self, frame: &[u8]) -> Option<()> {
        let (kind, writer, reader) = Reader::open(frame)?;
        crate::origin::with(writer, || match kind {
            #[cfg(feature = "log")]
            Kind::Log => crate::logger::emit(writer, reader),
            #[cfg(feature = "tracing")]
            Kind::Event | Kind::Span | Kind::Values | Kind::Close | Kind::Gone => {
                self.scene.emit(kind, writer, reader)
            }
            #[cfg(not(all(feature = "log", feature = "tracing")))]
            // None of ours: children run this program.
            _ => {
                let _ = reader;
                None
            }
        })
    }

    /// Says something of the child.
    pub(crate) fn note(&mut self, who: &[u8], notice: Notice<'_>, message: fmt::Arguments<'_>) {
        let levels = self.levels;
        let fill = |frame: &mut Frame| notice.write(frame, levels, message);
        Frame::make(levels.kind_of_notices(), who, fill, |frame| self.hand_on(frame));
    }

    /// The child has ended, and all of its frames were handed on.
    pub(crate) fn end(&mut self, who: Option<&Who>) {
        // Above, spans of it may be open.
        if let (Some(outlet), Some(who)) = (self.above, who) {
            Frame::make(Kind::Gone, &Frame::who(&who.name, who.pid), |_| (), |frame| outlet.pass_on(frame));
        }
    }
}
