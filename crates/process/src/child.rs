//! The child's side: take the task, run it on a named thread, report, and end with the parent.
//!
//! The main thread never runs user code: it watches the parent's pidfd (or, where the kernel has none, the channel's
//! hang-up) and ends the process when the parent dies, whatever the task is doing. The task's thread ends the process by
//! itself, as if its function were `main`: its thread locals are dropped, then exit hooks and other handlers run, then
//! nothing more. A main thread that waited for it first would cost two more changes of threads, and the way out of one.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession_codec as codec;
use procession_codec::handles::{self, Outgoing as Handles};
use procession_codec::{Bytes, Codec, Postcard};
use procession_sys::Deadline;
use procession_sys::child::end_now;
use procession_sys::hook::Bootstrap;
use procession_sys::image::FunctionToken;
use procession_sys::limits;
use procession_sys::message::{Incoming, Message, RecvError};
use procession_sys::poll::{self, Interest};
use procession_sys::signal::{self, Disposition, Signal};

use crate::tree::{self, Link};
use crate::wire::{self, Body, Channel, Report, Start};
use crate::{domain, panics, start_method};

/// What a task's shim finds and leaves.
#[derive(Debug)]
pub(crate) struct Exchange {
    argument: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    outcome: Option<(Report, Vec<u8>, Handles)>,
}

/// The token of a task.
pub(crate) fn token<A: codec::Message, R: codec::Message>(task: fn(A) -> R) -> Bytes {
    FunctionToken::<Exchange>::of(task, shim).to_bytes().to_vec().into()
}

/// Decodes the argument, calls the task, encodes what it returns.
fn shim<A: codec::Message, R: codec::Message>(task: fn(A) -> R, exchange: &mut Exchange) {
    let descriptors = std::mem::take(&mut exchange.descriptors);
    let argument = handles::supply(descriptors, || Postcard::decode::<A>(&exchange.argument));
    // The bytes are not needed while the task runs.
    exchange.argument = Vec::new();
    let report = match argument {
        Err(e) => (Report::BadArgument(e.to_string()), Vec::new(), Handles::default()),
        Ok(argument) => encode(&task(argument)),
    };
    exchange.outcome = Some(report);
}

fn encode<R: codec::Message>(value: &R) -> (Report, Vec<u8>, Handles) {
    let mut bytes = Vec::new();
    match handles::collect(|| Postcard::encode_into(value, &mut bytes)) {
        Ok(((), handles)) => (Report::Returned(Body::Memory), bytes, handles),
        Err(e) => (Report::BadResult(e.to_string()), Vec::new(), Handles::default()),
    }
}

/// Exit code of a child whose task panicked; what Rust programs use.
const PANICKED: i32 = 101;
/// Exit code of a child that could not take its task or report its result; the parent knows more.
const FAILED: i32 = 1;

/// Runs in a child before `main`; the answer is the exit code.
pub(crate) fn enter(bootstrap: Bootstrap) -> i32 {
    enter_with(bootstrap, None)
}

/// Runs in a child that was forked to run `task`; the answer is the exit code.
pub(crate) fn enter_forked<R: codec::Message>(bootstrap: Bootstrap, task: impl FnOnce() -> R + Send) -> i32 {
    enter_with(bootstrap, Some(Box::new(|exchange| exchange.outcome = Some(encode(&task())))))
}

/// What the task's thread calls.
type Work<'a> = Box<dyn FnOnce(&mut Exchange) + Send + 'a>;

/// With the work that the process was forked for, or else what the parent sends.
fn enter_with(bootstrap: Bootstrap, work: Option<Work<'_>>) -> i32 {
    let Bootstrap { socket, parent } = bootstrap;
    let channel = Arc::new(Channel::new(socket));
    let link = Arc::new(Link { parent, channel: Arc::clone(&channel) });
    let outcome = match receive(&link) {
        Ok(Some(message)) => run(&link, message, work),
        Ok(None) => return FAILED,
        Err(e) => Err(e.into()),
    };
    outcome.unwrap_or_else(|error| {
        // If not even that can be said, the exit code must do.
        let _ = channel.send(&Report::NotRun(error.to_string()), &[], Deadline::now());
        FAILED
    })
}

/// Waits for the task; `None` if the parent died before it gave one. Errors: it cannot be received here.
fn receive(link: &Link) -> Result<Option<Message>, RecvError> {
    let (channel, parent) = (&*link.channel, link.parent.as_ref());
    let mut incoming = Incoming::new(wire::LIMIT);
    loop {
        let mut waits = vec![(channel.as_fd(), Interest::Readable)];
        waits.extend(parent.map(|parent| (parent.as_fd(), Interest::Readable)));
        let ready = poll::ready(&waits, Deadline::NEVER).map_err(RecvError::Os)?;
        if ready.get(1) == Some(&true) {
            return Ok(None);
        }
        match incoming.recv(channel, Deadline::now()) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvError::TimedOut) => {}
            Err(RecvError::Closed | RecvError::ClosedInside { .. }) => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}

/// Runs the task that came in `message`; answers the exit code, or why it could not be run.
fn run(link: &Arc<Link>, message: Message, work: Option<Work<'_>>) -> Result<i32, Box<dyn Error>> {
    let mut descriptors = message.descriptors;
    let start: Start = wire::decode(&message.bytes)?;
    let argument = start.argument.unpack(&mut descriptors)?;
    // Held, never used: it closes when this process ends.
    let _sentinel = if start.sentinel { descriptors.pop() } else { None };
    let work = match work {
        Some(work) => work,
        None => work_of(&start.function)?,
    };
    if start.domain {
        domain::inherit(descriptors.pop().ok_or("the domain is missing")?)?;
    }
    if start.ignore_interrupt {
        signal::set(Signal::INT, Disposition::Ignore)?;
    }
    start_method::set_start_method(start.start_method);
    // What the main thread would have: a function that recurses deeply in its parent does so here.
    let thread = thread::Builder::new().name(start.place.name.clone()).stack_size(limits::task_stack());
    let parent = start.place.ends_with_parent.then_some(link);
    tree::enter(start.place, Arc::clone(link));
    for gift in start.gifts.into_iter() {
        gift.open(&mut descriptors)?;
    }
    let task = Task { channel: Arc::clone(&link.channel), work };
    let exchange = Exchange { argument, descriptors, outcome: None };
    thread::scope(|scope| {
        thread.spawn_scoped(scope, move || task.run(exchange))?;
        watch(parent)
    })
}

/// The function that a parent has sent.
fn work_of(token: &Bytes) -> Result<Work<'static>, Box<dyn Error>> {
    let token: [u8; 40] = token.as_ref().try_into()?;
    let function = FunctionToken::<Exchange>::from_bytes(&token).resolve();
    let function = function.ok_or("its function is not of this program")?;
    Ok(Box::new(move |exchange| function.call(exchange)))
}

/// Ends the process when the parent is dead; the task's thread ends it otherwise.
fn watch(parent: Option<&Arc<Link>>) -> ! {
    loop {
        let Some(parent) = parent else {
            thread::park_timeout(Duration::MAX);
            continue;
        };
        match poll::ready(&[parent.watch()], Deadline::NEVER) {
            Ok(_) => end_now(FAILED),
            // Lack of memory in the system: it may be there later.
            Err(_) => thread::park_timeout(LOOK_AGAIN),
        }
    }
}

/// How long until the main thread tries again what the system refused.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the task's thread needs.
struct Task<'a> {
    channel: Arc<Channel>,
    work: Work<'a>,
}

impl Task<'_> {
    /// Ends the process.
    fn run(self, exchange: Exchange) {
        // Also when this thread unwinds.
        let mut end = ExitOnDrop(PANICKED);
        end.0 = self.outcome(exchange);
    }

    /// The exit code.
    fn outcome(self, mut exchange: Exchange) -> i32 {
        panics::watch(Arc::clone(&self.channel));
        let work = self.work;
        let outcome = match panics::catch_panic(|| work(&mut exchange)) {
            Ok(()) => exchange.outcome.take(),
            Err(panic) => Some((Report::Panicked(panic), Vec::new(), Handles::default())),
        };
        let Some((report, body, handles)) = outcome else { return FAILED };
        send_last(&self.channel, report, body, handles)
    }
}

/// Sends the last report; answers the exit code that fits it.
fn send_last(channel: &Channel, report: Report, body: Vec<u8>, handles: Handles) -> i32 {
    let (report, memory, code) = match report {
        Report::Returned(_) => match Body::pack(body) {
            Ok((body, memory)) => (Report::Returned(body), memory, 0),
            Err(e) => (Report::BadResult(e.to_string()), None, FAILED),
        },
        Report::Panicked(_) => (report, None, PANICKED),
        _ => (report, None, FAILED),
    };
    let descriptors: Vec<_> = handles.descriptors().chain(memory.as_ref().map(AsFd::as_fd)).collect();
    match channel.send(&report, &descriptors, Deadline::NEVER) {
        Ok(()) => {
            drop(descriptors);
            handles.commit();
            code
        }
        Err(_) => FAILED,
    }
}

/// The process ends with this code where it is dropped.
struct ExitOnDrop(i32);

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        std::process::exit(self.0);
    }
}
