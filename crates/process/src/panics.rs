//! Panics, caught where they start: the hook knows place and backtrace, and runs even where a panic ends the process.
//!
//! Nobody knows inside the hook whether the process survives the panic. So each panic is written into a page shared
//! with the parent, over the one before; the parent looks at it only if the child then dies without a last report. The
//! page is made, and its descriptor sent, at the first panic: a child that never panics pays nothing.
//!
//! | killed while the record is written | the parent sees |
//! |---|---|
//! | before the length is set to 0 | the panic before this one |
//! | until the length is stored | no record |
//! | after | the whole record |

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use procession_codec::{Codec, Postcard};
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{Deadline, OsError};

use crate::error::Panic;
use crate::wire::{Channel, Report};

/// Longest message and longest backtrace kept, in bytes.
const KEPT: usize = 16 << 10;
/// Size of the shared page: the record's length (8 bytes), then the record.
const PAGE: u64 = 48 << 10;
const RECORD: usize = 8;

thread_local! {
    /// The last panic of this thread.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Runs `block`; a panic in it becomes a value that tells message, place and backtrace.
///
/// Place and backtrace are known in a child of ours, as long as the task does not replace the panic hook. Where panics
/// abort, nothing is caught: the process ends, and its parent is told.
pub fn catch_panic<T>(block: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(block)).map_err(|payload| {
        let last = LAST.with_borrow_mut(Option::take);
        let panic =
            last.unwrap_or_else(|| describe(text(&*payload), "unknown location".into(), String::new()));
        // Dropping a payload can panic again.
        std::mem::forget(payload);
        panic
    })
}

/// Chains our panic hook before the present one, for the rest of this process's life.
pub(crate) fn watch(channel: Arc<Channel>) {
    IS_RECORDED.store(true, Ordering::Relaxed);
    let task = thread::current().id();
    let page = Mutex::new(None);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let panic = with_what_led_to_it(record(info));
        // A panic of another thread ends the process only where panics abort.
        if thread::current().id() == task || cfg!(panic = "abort") {
            tell(&channel, &page, &panic);
        }
        let _ = LAST.try_with(|last| last.replace(Some(panic)));
        before(info);
    }));
}

/// Makes [`catch_panic`] know place and backtrace in this process too, by a hook chained before the present one, once and
/// for the rest of this process's life. In children of ours that is so from the start.
///
/// ```
/// use procession_process::{catch_panic, record_panics};
///
/// record_panics();
/// let panic = catch_panic(|| -> () { panic!("no {}", 7) }).unwrap_err();
/// assert!(panic.message == "no 7" && !panic.backtrace.is_empty(), "{panic}");
/// assert_ne!(panic.location, "unknown location");
/// ```
pub fn record_panics() {
    if IS_RECORDED.swap(true, Ordering::Relaxed) {
        return;
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let panic = with_what_led_to_it(record(info));
        let _ = LAST.try_with(|last| last.replace(Some(panic)));
        before(info);
    }));
}

/// Whether a hook of ours is there.
static IS_RECORDED: AtomicBool = AtomicBool::new(false);

/// The record that a child left in the page, if there is a whole one.
pub(crate) fn last_words(page: &Memfd) -> Option<Panic> {
    let page = Mapping::shared(page).ok()?;
    let len = usize::try_from(page.atomic_u64(0).load(Ordering::Acquire)).ok()?;
    let fits = len > 0 && len <= page.len().checked_sub(RECORD)?;
    fits.then(|| Postcard::decode(&page.read_vec(RECORD, len)).ok()).flatten()
}

/// Writes the record into the page. Without memory or descriptors the signal alone must tell of the death.
fn tell(channel: &Channel, page: &Mutex<Option<Mapping>>, panic: &Panic) {
    let Ok(mut page) = page.try_lock() else { return };
    if page.is_none() {
        *page = share_page(channel).ok();
    }
    let mut record = Vec::new();
    if let (Some(page), Ok(())) = (&*page, Postcard::encode_into(panic, &mut record)) {
        let len = page.atomic_u64(0);
        len.store(0, Ordering::Release);
        if record.len() <= page.len() - RECORD {
            page.write(RECORD, &record);
            len.store(record.len() as u64, Ordering::Release);
        }
    }
}

fn share_page(channel: &Channel) -> Result<Mapping, OsError> {
    let memory = Memfd::sealed("procession-panic", PAGE)?;
    let mapping = Mapping::shared(&memory)?;
    channel.send(&Report::LastWords, &[memory.as_fd()], Deadline::now())?;
    Ok(mapping)
}

fn record(info: &PanicHookInfo<'_>) -> Panic {
    let location = info.location().map_or_else(|| "unknown location".into(), ToString::to_string);
    describe(text(info.payload()), location, Backtrace::force_capture().to_string())
}

/// Where unwinding itself panics, the runtime has the last word, which tells nothing: the panic before it does.
fn with_what_led_to_it(last: Panic) -> Panic {
    if last.message != UNWINDING_FAILED {
        return last;
    }
    match LAST.try_with(RefCell::take) {
        Ok(Some(before)) => Panic { message: format!("{} ({})", before.message, last.message), ..before },
        _ => last,
    }
}

/// What the runtime says when a destructor panics while unwinding. Said otherwise, it would stand alone.
const UNWINDING_FAILED: &str = "panic in a destructor during cleanup";

fn describe(message: String, location: String, backtrace: String) -> Panic {
    let thread = thread::current().name().unwrap_or("unnamed").to_owned();
    Panic { message: shortened(message), location, thread, backtrace: shortened(backtrace) }
}

fn text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("Box<dyn Any>").to_owned()
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(KEPT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_text() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        let panic = catch_panic(|| panic!("number {}", 7)).unwrap_err();
        assert_eq!(panic.message, "number 7");
        let panic = catch_panic(|| panic::panic_any(7)).unwrap_err();
        assert_eq!(panic.message, "Box<dyn Any>");
    }

    #[test]
    fn a_page_that_lies_gives_no_record() {
        let page = Memfd::sealed("test", PAGE).unwrap();
        let mapping = Mapping::shared(&page).unwrap();
        for len in [0, 1, PAGE - 8, PAGE, u64::MAX] {
            mapping.atomic_u64(0).store(len, Ordering::Release);
            assert_eq!(last_words(&page), None);
        }
    }
}
