//! What crates above this one give to each child at its start, and do when it has ended.
//!
//! A crate gives its function to [`at_spawn`] once. That is then asked before each start of a child; what it answers is a
//! [`Gift`]: a function with bytes and descriptors, which the child calls before its task is begun (its argument is not
//! decoded yet, its place in the tree is known), and a [`Companion`] that stays here.
//!
//! | where | what happens |
//! |---|---|
//! | the start fails after the gift was made | the companion is dropped, and was never told of a start |
//! | the gift's function panics in the child | the panic hook reports it there; the task runs |
//! | the child is killed before, in or after the gift's function | the companion is told of the end, as of any other |
//! | this process forks by itself | the copy asks the same functions; its children are its own |
//!
//! Invariants: a companion is told of the end before anybody else here is, by each who sees it; a process without such
//! functions pays one load for them at each start. Held by `tests/companions.rs`.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use procession_codec::Bytes;
use procession_sys::Deadline;
use procession_sys::image::FunctionToken;
use serde::{Deserialize, Serialize};

use crate::error::Who;
use crate::start_method::StartMethod;

/// Asked before each start, with the method of it.
pub type SpawnHook = fn(StartMethod) -> Option<Gift>;

/// How many crates may give a function.
const PLACES: usize = 4;

static HOOKS: [OnceLock<SpawnHook>; PLACES] = [const { OnceLock::new() }; PLACES];

/// Has `hook` asked before each start of a child of this process, for the rest of its life. Given twice, it is asked twice.
/// `false`: four others were given before, and this one is never asked.
///
/// It is called by the thread that starts the child, and must not start one itself.
///
/// ```
/// use procession_process::companion::{Companion, Gift, Luggage, at_spawn};
/// use procession_process::{Deadline, Who, spawn};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static ENDED: AtomicU32 = AtomicU32::new(0);
/// static GIVEN: AtomicU32 = AtomicU32::new(0);
///
/// #[derive(Debug)]
/// struct Counts;
/// impl Companion for Counts {
///     fn ended(&self, _: &Who, _: Deadline) {
///         ENDED.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// fn in_child(luggage: Luggage) {
///     GIVEN.store(luggage.bytes[0].into(), Ordering::Relaxed);
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// at_spawn(|_| Some(Gift::new(in_child, vec![7], Vec::new(), Arc::new(Counts))));
/// assert_eq!(spawn(|()| GIVEN.load(Ordering::Relaxed), ())?.join()?, 7);
/// assert!(ENDED.load(Ordering::Relaxed) >= 1);
/// # Ok(()) }
/// ```
pub fn at_spawn(hook: SpawnHook) -> bool {
    HOOKS.iter().any(|place| place.set(hook).is_ok())
}

/// What a child is to call before its task, and who stays here for it.
#[derive(Debug)]
pub struct Gift {
    sent: Sent,
    descriptors: Vec<OwnedFd>,
    companion: Arc<dyn Companion>,
}

/// What a gift's function gets in the child.
#[derive(Debug)]
pub struct Luggage {
    /// The bytes that were given.
    pub bytes: Vec<u8>,
    /// The descriptors that were given, in their order.
    pub descriptors: Vec<OwnedFd>,
}

/// Who stays in this process for one child.
pub trait Companion: Send + Sync + fmt::Debug {
    /// The child is there.
    fn started(&self, who: &Who) {
        let _ = who;
    }

    /// The child has ended: all that it ever wrote is there, and nobody here has been told of the end yet.
    ///
    /// Called by each who sees the end, so more than once, and by several threads at once. Who calls goes on when this
    /// returns, so it must not wait for others beyond `deadline`, which is now where the call that it is part of never
    /// blocks. It must not panic.
    fn ended(&self, who: &Who, deadline: Deadline);
}

impl Gift {
    /// `enter` is called in the child with `bytes` (a few hundred: they travel with the task) and the descriptors.
    pub fn new(
        enter: fn(Luggage),
        bytes: Vec<u8>,
        descriptors: Vec<OwnedFd>,
        companion: Arc<dyn Companion>,
    ) -> Self {
        let function = FunctionToken::<Option<Luggage>>::of(enter, open).to_bytes().to_vec().into();
        let sent = Sent { function, bytes: bytes.into(), n_descriptors: descriptors.len() };
        Self { sent, descriptors, companion }
    }
}

/// Calls a gift's function with what came for it.
fn open(enter: fn(Luggage), luggage: &mut Option<Luggage>) {
    if let Some(luggage) = luggage.take() {
        enter(luggage);
    }
}

/// A gift in a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    function: Bytes,
    bytes: Bytes,
    n_descriptors: usize,
}

impl Sent {
    /// In the child: takes its descriptors from the end of `descriptors`, and calls its function.
    ///
    /// Errors: it is not of this program.
    pub(crate) fn open(self, descriptors: &mut Vec<OwnedFd>) -> Result<(), &'static str> {
        let first = descriptors.len().checked_sub(self.n_descriptors).ok_or("a descriptor is missing")?;
        let descriptors = descriptors.split_off(first);
        let token = <&[u8; 40]>::try_from(&*self.function).map_err(|_| "a function is missing")?;
        let function = FunctionToken::<Option<Luggage>>::from_bytes(token).resolve();
        let function = function.ok_or("a function is not of this program")?;
        let mut luggage = Some(Luggage { bytes: self.bytes.into_vec(), descriptors });
        // The panic hook has told of a panic. It is no reason to leave the task undone.
        let _ = catch_unwind(AssertUnwindSafe(|| function.call(&mut luggage)));
        Ok(())
    }
}

/// All gifts for one child.
pub(crate) fn gifts(method: StartMethod) -> Vec<Gift> {
    HOOKS.iter().map_while(OnceLock::get).filter_map(|hook| hook(method)).collect()
}

/// What the child is told of them, in order.
pub(crate) fn sent(gifts: &[Gift]) -> Vec<Sent> {
    gifts.iter().map(|gift| gift.sent.clone()).collect()
}

/// Their descriptors: those of the last come first, as a child takes them from the end.
pub(crate) fn descriptors(gifts: &[Gift]) -> impl Iterator<Item = BorrowedFd<'_>> {
    gifts.iter().rev().flat_map(|gift| &gift.descriptors).map(AsFd::as_fd)
}

/// Those who stay here for one child.
#[derive(Debug, Default)]
pub(crate) struct Companions(OnceLock<Vec<Arc<dyn Companion>>>);

impl Companions {
    /// The child is there. Once for each child.
    pub(crate) fn started(&self, gifts: &[Gift], who: &Who) {
        let all = self.0.get_or_init(|| gifts.iter().map(|gift| Arc::clone(&gift.companion)).collect());
        all.iter().for_each(|companion| companion.started(who));
    }

    /// The child has ended.
    pub(crate) fn ended(&self, who: &Who, deadline: Deadline) {
        self.0.get().into_iter().flatten().for_each(|companion| companion.ended(who, deadline));
    }
}
