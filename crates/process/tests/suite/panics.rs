//! Tasks that panic.

use procession_process::{JoinError, Panic, Process, catch_panic};

use super::{PATIENCE, Start, expected};

fn panic_of<R: procession_process::Message>(child: Process<R>) -> Panic {
    expected!(child.join().map(drop), Err(JoinError::Panicked(panic)) => panic)
}

/// Where the panic of [`fall`] is.
const LINE: u32 = line!() + 3;

fn fall(depth: u32) -> u32 {
    assert!(depth > 0, "fell {depth} deep");
    fall(depth - 1) + 1
}

pub(crate) fn message_place_and_thread(start: Start) {
    let child = start().name("climber").spawn(fall, 3).unwrap();
    let panic = panic_of(child);
    assert_eq!((panic.message.as_str(), panic.thread.as_str()), ("fell 0 deep", "climber"));
    let place = format!("{}:{LINE}:", file!());
    assert!(panic.location.starts_with(&place), "{} is not at {place}", panic.location);
    let text = JoinError::Panicked(panic.clone()).to_string();
    assert_eq!(text, format!("panicked at {}: fell 0 deep", panic.location));
    let fixed = panic_of(start().spawn(|()| -> () { panic!("a literal") }, ()).unwrap());
    assert_eq!(fixed.message, "a literal");
    assert!(fixed.thread.starts_with("Process-"), "{fixed:?}");
}

pub(crate) fn the_backtrace_names_the_function(start: Start) {
    let panic = panic_of(start().spawn(fall, 3).unwrap());
    let frames = panic.backtrace.matches("suite::panics::fall").count();
    assert!(frames >= 4, "{frames} frames: {}", panic.backtrace);
}

pub(crate) fn a_payload_that_is_no_text(start: Start) {
    let panic = panic_of(start().spawn(|()| -> () { std::panic::panic_any(7_u8) }, ()).unwrap());
    assert_eq!(panic.message, "Box<dyn Any>");
    assert!(panic.location.starts_with(file!()), "{panic:?}");
}

struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("the second");
    }
}

pub(crate) fn a_payload_that_panics_when_dropped(start: Start) {
    let panic = panic_of(start().spawn(|()| -> () { std::panic::panic_any(Grenade) }, ()).unwrap());
    assert_eq!(panic.message, "Box<dyn Any>");
}

/// The runtime aborts then. The outcome is the panic that could not unwind.
pub(crate) fn a_panic_while_unwinding(start: Start) {
    fn both(_: ()) {
        let _grenade = Grenade;
        panic!("the first");
    }
    let panic = panic_of(start().spawn(both, ()).unwrap());
    assert_eq!(panic.message, "the second (panic in a destructor during cleanup)");
    assert!(panic.location.starts_with(file!()), "{}", panic.location);
    assert!(panic.backtrace.contains("Grenade"), "{}", panic.backtrace);
}

pub(crate) fn a_caught_panic_is_no_outcome(start: Start) {
    let child = start().spawn(|n: u32| catch_panic(|| fall(n)).map_err(|panic| panic.message), 2).unwrap();
    assert_eq!(child.join().unwrap(), Err("fell 0 deep".to_owned()));
    fn aborts_later(_: ()) {
        let _ = catch_panic(|| fall(1));
        std::process::exit(3);
    }
    expected!(start().spawn(aborts_later, ()).unwrap().join(), Err(JoinError::Exited { code: 3, .. }));
}

pub(crate) fn a_panic_in_another_thread_is_no_outcome(start: Start) {
    fn helped(n: u32) -> (bool, u32) {
        (std::thread::spawn(|| fall(0)).join().is_err(), n + 1)
    }
    let child = start().spawn(helped, 1).unwrap();
    assert_eq!(child.join_timeout(PATIENCE).unwrap(), Some((true, 2)));
}

/// A task that takes our hook away loses the place, not the outcome.
pub(crate) fn a_replaced_hook(start: Start) {
    fn silent(_: ()) {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("unheard");
    }
    let panic = panic_of(start().spawn(silent, ()).unwrap());
    assert_eq!((panic.message.as_str(), panic.location.as_str()), ("unheard", "unknown location"));
}
