//! Events in a server.

use std::time::{Duration, Instant};

use crate::error::CallError;
use crate::proxy::proxy;
use crate::raw::Raw;
use crate::wire::{Ask, EventAsk, Kind, Load};

/// A flag in a server that can be waited for, made by [`Manager::event`](crate::Manager::event).
///
/// What a [`Dict`](crate::Dict) says of sharing and of deaths is true here.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let manager = procession_manager::Manager::start()?;
/// let go = manager.event()?;
/// let child = procession_process::spawn(|go: procession_manager::Event| go.wait().is_ok(), go.clone())?;
/// go.set()?;
/// assert!(child.join()?);
/// # Ok(()) }
/// ```
pub struct Event(Raw);

proxy!(Event, Kind::Event);

impl Event {
    /// Whether it is set.
    pub fn is_set(&self) -> Result<bool, CallError> {
        self.0.yes(Ask::Event(EventAsk::IsSet))
    }

    /// Sets it; all who wait go on.
    pub fn set(&self) -> Result<(), CallError> {
        self.0.done(Ask::Event(EventAsk::Set), Load::default())
    }

    /// Takes it back.
    pub fn clear(&self) -> Result<(), CallError> {
        self.0.done(Ask::Event(EventAsk::Clear), Load::default())
    }

    /// Blocks until it is set.
    pub fn wait(&self) -> Result<(), CallError> {
        self.wait_by(None)
    }

    /// [`wait`](Self::wait) for at most `timeout`; then [`CallError::TimedOut`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), CallError> {
        self.wait_by(Instant::now().checked_add(timeout))
    }

    /// [`wait`](Self::wait) until `instant`; then [`CallError::TimedOut`].
    pub fn wait_until(&self, instant: Instant) -> Result<(), CallError> {
        self.wait_by(Some(instant))
    }

    fn wait_by(&self, until: Option<Instant>) -> Result<(), CallError> {
        self.0.done_by(Ask::Event(EventAsk::Wait), Load::default(), until)
    }
}
