//! Where this process may have no more, the answer is an error that names what was wanted, and not a signal.
//! One test, as it moves limits of the whole process.

mod support;

use std::io::ErrorKind;

use procession_sys::event::Event;
use procession_sys::memory::{Mapping, Memfd};
use procession_sys::{limits, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs `call` with the soft limit of `resource` at `most`.
fn limited<R>(resource: Resource, most: u64, call: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(most), maximum: before.maximum }).unwrap();
    let answer = call();
    setrlimit(resource, before).unwrap();
    answer
}

#[test]
fn lack_of_something_is_an_error() {
    let _watchdog = support::watchdog();
    let memory = Memfd::sealed("ready", 64 << 20).unwrap();

    // Beyond this limit the kernel would send SIGXFSZ, which kills.
    let sealed = limited(Resource::Fsize, 1 << 16, || Memfd::sealed("too long", (1 << 16) + 1));
    assert_eq!(sealed.unwrap_err().kind(), ErrorKind::FileTooLarge);
    let blob = limited(Resource::Fsize, 3, || Memfd::from_bytes("too long", b"four"));
    assert_eq!(blob.unwrap_err().kind(), ErrorKind::FileTooLarge);
    limited(Resource::Fsize, 4, || Memfd::from_bytes("just right", b"four")).unwrap();

    let mapped = limited(Resource::As, 32 << 20, || Mapping::shared(&memory)).unwrap_err();
    assert_eq!(mapped.kind(), ErrorKind::OutOfMemory);
    assert_eq!(mapped.doing(), "mapping 67108864 bytes of shared memory");

    let too_many = Some(libc::EMFILE);
    let (made, pair, event, open) = limited(Resource::Nofile, 0, || {
        (Memfd::sealed("x", 1), socket::pair(), Event::new(), limits::open_descriptors())
    });
    assert_eq!(made.unwrap_err().errno(), too_many);
    assert_eq!(pair.unwrap_err().errno(), too_many);
    assert_eq!(event.unwrap_err().errno(), too_many);
    assert_eq!(open.unwrap_err().errno(), too_many);

    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum: getrlimit(Resource::Nofile).maximum })
        .unwrap();
    let raised = limits::raise_descriptor_limit().unwrap();
    assert_eq!(raised, limits::get().descriptors);
    assert_eq!(raised.soft, raised.hard);
    let lowered =
        limited(Resource::Nofile, 100, || (limits::raise_descriptor_limit(), limits::get().descriptors.soft));
    assert_eq!((lowered.0.unwrap(), lowered.1), (raised, Some(100)), "raised once only");
}
