//! Which process the record comes from that a logger is given at this moment.

use std::cell::RefCell;

use procession_process::Who;

use crate::frame::Writer;

thread_local! {
    static ORIGIN: RefCell<Who> = const { RefCell::new(Who { name: String::new(), pid: 0 }) };
}

/// The process that wrote the record which this thread's logger is being given: for loggers and formats of your own.
/// `None` for records of this process.
///
/// Loggers that know fields have it as `process` and `pid` of each record.
///
/// ```
/// assert!(procession_log::origin().is_none());
/// ```
pub fn origin() -> Option<Who> {
    let known = ORIGIN.try_with(|origin| Some(origin.try_borrow().ok()?.clone()).filter(|who| who.pid != 0));
    known.ok().flatten()
}

/// Calls with `writer` as the origin.
pub(crate) fn with<R>(writer: Writer<'_>, call: impl FnOnce() -> R) -> R {
    let _end = End;
    ORIGIN.with_borrow_mut(|who| {
        who.name.clear();
        who.name.push_str(writer.name);
        who.pid = writer.pid;
    });
    call()
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        ORIGIN.with_borrow_mut(|who| who.pid = 0);
    }
}
