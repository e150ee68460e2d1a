//! The child's side: where its records go, from before its task on.
//!
//! Invariants: there is one outlet in a process that its parent gave one, and none in others, a copy that this process
//! forks by itself included: its records would be written into the ring of another. Nothing here waits for the parent.
//! Held by `tests/forks.rs`.

use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use procession_process::companion::Luggage;
use procession_sys::event::Event;
use procession_sys::per_process::PerProcess;

use crate::frame::{Frame, Kind, Reader};
use crate::notice::Notice;
use crate::ring::{Producer, Written};
use crate::spawn::{self, Given};

/// Where this process's records go.
#[derive(Debug)]
pub(crate) struct Outlet {
    producer: Producer,
    bell: Event,
    /// As each frame has it.
    who: Vec<u8>,
    #[cfg(feature = "tracing")]
    pid: u32,
    given: Given,
}

static OUTLET: PerProcess<OnceLock<Outlet>> = PerProcess::new();

/// The outlet of this process, if its parent gave it one.
pub(crate) fn outlet() -> Option<&'static Outlet> {
    OUTLET.get(OnceLock::new).get()
}

/// Called in a child before its task.
pub(crate) fn enter(luggage: Luggage) {
    // A child that cannot take part runs without: its task is more than its records.
    let _ = try_enter(luggage);
}

fn try_enter(luggage: Luggage) -> Option<()> {
    let given = Given::read(&mut Reader::of(&luggage.bytes))?;
    let [ring, bell] = <[_; 2]>::try_from(luggage.descriptors).ok()?;
    let me = procession_process::current();
    let who = Frame::who(me.name(), me.pid());
    let outlet = Outlet {
        producer: Producer::adopt(ring).ok()?,
        bell: Event::adopt(bell).ok()?,
        who,
        #[cfg(feature = "tracing")]
        pid: me.pid(),
        given,
    };
    OUTLET.get(OnceLock::new).set(outlet).ok()?;
    spawn::take_over(given);
    #[cfg(feature = "log")]
    crate::logger::install(given.levels.log());
    #[cfg(feature = "tracing")]
    crate::layer::install(given.levels.tracing());
    watch_panics();
    Some(())
}

impl Outlet {
    /// Sends one frame.
    pub(crate) fn ship(&self, kind: Kind, fill: impl FnOnce(&mut Frame)) {
        Frame::make(kind, &self.who, fill, |frame| self.pass_on(frame));
    }

    /// Sends a frame that was made elsewhere.
    pub(crate) fn pass_on(&self, frame: &[u8]) {
        if self.producer.write(frame) == Written::Ring {
            self.bell.notify();
        }
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn given(&self) -> &Given {
        &self.given
    }
}

/// Chains a panic hook before the present one, once, which ships panics as records.
fn watch_panics() {
    static IS_THERE: AtomicBool = AtomicBool::new(false);
    // A forked child has the hook of its parent, which asks for the outlet of the process that it runs in.
    if IS_THERE.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(outlet) = outlet() {
            ship_panic(outlet, info);
        }
        before(info);
    }));
}

fn ship_panic(outlet: &Outlet, info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let text = info.payload_as_str().unwrap_or("Box<dyn Any>");
    let place = info.location();
    let notice = Notice {
        target: "panic",
        is_error: true,
        file: place.map(panic::Location::file),
        line: place.map_or(0, panic::Location::line),
    };
    let name = thread.name().unwrap_or("unnamed");
    let message = format_args!("thread '{name}' panicked: {text}");
    let levels = outlet.given.levels;
    outlet.ship(levels.kind_of_notices(), |frame| notice.write(frame, levels, message));
}
