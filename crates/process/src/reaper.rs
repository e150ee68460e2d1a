//! One background thread that clears detached children out of the process table when they end, and ends those that do
//! not report within their start timeout.
//!
//! Started by the first detached child, it sleeps until a child ends, is late, or another is detached, and ends when
//! none is left. It holds what a detached child needs of its parent: the channel whose end of file would mean our death.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use procession_sys::Deadline;
use procession_sys::event::Event;
use procession_sys::per_process::PerProcess;
use procession_sys::poll::{self, Interest};

use crate::process::Shared;

/// How often it looks where the kernel has no pidfds to wait on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Reaper {
    children: Mutex<Children>,
    /// Tells the thread of a new child; absent only where no descriptor was to be had, then the thread looks again.
    news: OnceLock<Option<Event>>,
}

#[derive(Default)]
struct Children {
    detached: Vec<Arc<Shared>>,
    running: bool,
}

/// Waits for `child` in the background.
pub(crate) fn adopt(child: Arc<Shared>) {
    static REAPER: PerProcess<Reaper> = PerProcess::new();
    let reaper = REAPER.get(Reaper::default);
    let mut children = reaper.children.lock().unwrap_or_else(PoisonError::into_inner);
    children.detached.push(child);
    if let Some(news) = reaper.news.get_or_init(|| Event::new().ok()) {
        news.notify();
    }
    if !children.running {
        // Without a thread the children stay zombies until we end; the next detached child tries again.
        let thread = thread::Builder::new().name("procession-reaper".into());
        children.running = thread.spawn(move || reaper.run()).is_ok();
    }
}

impl Reaper {
    fn run(&self) {
        while let Some(children) = self.living() {
            let news = self.news.get().and_then(Option::as_ref);
            if let Some(news) = news {
                news.clear();
            }
            let pidfds = children.iter().map(|child| child.child().pidfd());
            let blind = news.is_none() || pidfds.clone().any(|pidfd| pidfd.is_none());
            let waits: Vec<_> =
                pidfds.flatten().chain(news.map(AsFd::as_fd)).map(|fd| (fd, Interest::Readable)).collect();
            let late = children.iter().map(|child| child.late_at()).fold(Deadline::NEVER, Deadline::min);
            let deadline = if blind { late.min(Deadline::after(LOOK_AGAIN)) } else { late };
            if poll::ready(&waits, deadline).is_err() {
                thread::park_timeout(LOOK_AGAIN);
            }
        }
    }

    /// Clears who has ended, kills who is late; who is left, or `None` when the thread may end.
    fn living(&self) -> Option<Vec<Arc<Shared>>> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.detached.retain(|child| matches!(child.wait(Deadline::now()), Ok(None)));
        children.running = !children.detached.is_empty();
        children.running.then(|| children.detached.clone())
    }
}
