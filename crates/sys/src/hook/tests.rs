//! The handshake under forged packets, and what a child finds done before it.
//!
//! # Safety
//! The constructor below only adds to an atomic.
#![allow(unsafe_code, reason = "puts a constructor behind the hook's")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::*;
use crate::status::Exit;

fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Says that it runs.
fn speak(bootstrap: Bootstrap) -> i32 {
    let said = socket::send_packet(bootstrap.socket.as_fd(), &[IoSlice::new(b"!")], &[], patience());
    i32::from(said.is_err())
}

/// Everything the child says after its hello, and how it ends.
fn rest(started: &Started) -> (bool, Option<Exit>) {
    let mut byte = [0];
    let buffer = &mut [IoSliceMut::new(&mut byte)];
    let spoke = socket::recv_packet(started.socket.as_fd(), buffer, &mut Vec::new(), patience()).is_ok();
    (spoke, started.child.wait(patience()).unwrap())
}

#[test]
fn another_image_is_refused_before_any_jump() {
    let ours = ImageId::current().unwrap();
    for word in 0..4 {
        let mut words = ours.to_words();
        words[word] ^= 1;
        let started = start_as(ImageId::from_words(words), speak, None, &Differences::default()).unwrap();
        assert_eq!(started.hello(patience()).unwrap(), Some(Hello::OtherImage(ours)), "word {word}");
        assert_eq!(rest(&started), (false, Some(Exit::Code(NOT_OURS))), "word {word}");
    }
    let started = start_as(ours, speak, None, &Differences::default()).unwrap();
    assert_eq!(started.hello(patience()).unwrap(), Some(Hello::Ready));
    assert_eq!(rest(&started), (true, Some(Exit::Code(0))));
}

/// A child started with `packet` on its socket, and this nonce in its environment.
fn started_with(packet: &[u8], nonce: [u64; 2]) -> Started {
    let (socket, theirs) = socket::pair().unwrap();
    socket::send_packet(socket.as_fd(), &[IoSlice::new(packet)], &[], patience()).unwrap();
    let name = CString::new("child").unwrap();
    let environment = environment(std::env::vars_os().collect(), nonce).unwrap();
    let child =
        spawn::spawn(c"/proc/self/exe", &[name], &environment, theirs.as_fd(), &Differences::default())
            .unwrap();
    Started { child, socket, nonce }
}

#[test]
fn a_first_packet_that_is_none_is_refused_in_silence() {
    let boot = |nonce: [u64; 2], token: [u8; 40]| {
        let (key, i) = (image::tree_key(), ImageId::current().unwrap().to_words());
        let head = [MAGIC, nonce[0], nonce[1], key[0], key[1], i[0], i[1], i[2], i[3]];
        [head.map(u64::to_le_bytes).as_flattened(), &token].concat()
    };
    let whole = boot([1, 2], [0; 40]);
    // Nonsense, a packet cut short, and one that is meant for somebody else.
    for packet in [&b"?"[..], &whole[..whole.len() - 1], &boot([1, 3], [0; 40])] {
        let started = started_with(packet, [1, 2]);
        let refused = started.hello(patience()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(started.child.wait(patience()).unwrap(), Some(Exit::Code(NOT_OURS)));
    }
    // Whole, but its token was not made in this tree: the images agree, and still there is no jump.
    let started = started_with(&whole, [1, 2]);
    assert_eq!(started.hello(patience()).unwrap(), Some(Hello::Ready));
    assert_eq!(rest(&started), (false, Some(Exit::Code(NOT_OURS))));
}

#[test]
fn a_hello_that_is_none_is_an_error() {
    fn lie(bootstrap: Bootstrap) -> i32 {
        i32::from(bootstrap.parent.is_none())
    }
    let mut started = start_as(ImageId::current().unwrap(), lie, None, &Differences::default()).unwrap();
    // As if it answered somebody else.
    started.nonce[0] ^= 1;
    assert_eq!(started.hello(patience()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    started.child.wait(patience()).unwrap();
}

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct(_: c_int, _: *const *const c_char, _: *const *const c_char) {
    CONSTRUCTED.fetch_add(1, Ordering::Relaxed);
}

/// Constructors in units of their own: the linker places all of them behind the hook, in any order.
macro_rules! constructors {
    ($($module:ident)+) => {
        $(mod $module {
            #[used]
            #[unsafe(link_section = ".init_array")]
            pub(super) static BEHIND: super::Constructor = super::construct;
        })+

        fn constructors() -> Vec<usize> {
            vec![$((&raw const $module::BEHIND).addr()),+]
        }
    };
}

constructors! { alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu }

/// A child finds the program as `main` would.
#[test]
fn constructors_behind_the_hook_have_run() {
    fn count(_: Bootstrap) -> i32 {
        CONSTRUCTED.load(Ordering::Relaxed).cast_signed()
    }
    let places = constructors();
    let hook = (&raw const HOOK).addr();
    assert!(places.iter().all(|place| hook < *place), "the linker placed one before: less is shown");
    let started = start(count).unwrap();
    assert_eq!(started.child.wait(patience()).unwrap(), Some(Exit::Code(places.len() as i32)));
    assert_eq!(CONSTRUCTED.load(Ordering::Relaxed) as usize, places.len());
}
