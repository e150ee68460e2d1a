//! The handle table: taken once, closed when nobody takes, empty after an error and after a panic, nested
//! like a stack, and transactional for unique handles. No test touches more than its own thread's table.

use std::cell::Cell;
use std::io::{Read, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use procession_codec::handles::{Carried, Outgoing, attempt, collect, note, put, refuse, supply, take};
use procession_codec::{Codec, DecodeError, EncodeError, HandleError, Postcard};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// A unique handle: it is here, on its way, or gone.
#[derive(Clone)]
struct Unique(Arc<Inner>);

struct Inner {
    descriptor: OwnedFd,
    state: AtomicU8,
    rollbacks: AtomicUsize,
}

const HERE: u8 = 0;
const MOVING: u8 = 1;
const GONE: u8 = 2;

impl Unique {
    fn new() -> Self {
        let descriptor = pipe().unwrap().0.into();
        Self(Arc::new(Inner { descriptor, state: AtomicU8::new(HERE), rollbacks: AtomicUsize::new(0) }))
    }

    fn state(&self) -> u8 {
        self.0.state.load(SeqCst)
    }

    fn rollbacks(&self) -> usize {
        self.0.rollbacks.load(SeqCst)
    }
}

impl Carried for Inner {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    fn commit(&self) {
        assert_eq!(self.state.swap(GONE, SeqCst), MOVING);
    }

    fn rollback(&self) {
        assert_eq!(self.state.swap(HERE, SeqCst), MOVING);
        self.rollbacks.fetch_add(1, SeqCst);
    }
}

impl Serialize for Unique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moving = self.0.state.compare_exchange(HERE, MOVING, SeqCst, SeqCst);
        moving.map_err(|_| ser::Error::custom(note(HandleError::Moved)))?;
        let index = put(Arc::clone(&self.0) as _).map_err(|error| {
            self.0.state.store(HERE, SeqCst);
            ser::Error::custom(error)
        })?;
        serializer.serialize_u32(index)
    }
}

/// A shared handle, and what its receiver takes.
struct Shared(OwnedFd);

impl<'de> Deserialize<'de> for Shared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        take(u32::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

fn encode(value: &impl Serialize) -> Result<(Vec<u8>, Outgoing), EncodeError> {
    collect(|| {
        let mut bytes = Vec::new();
        Postcard::encode_into(value, &mut bytes).map(|()| bytes)
    })
}

/// A pipe whose reader is at its end as soon as the returned descriptor is closed.
fn watched() -> (impl FnOnce(), OwnedFd) {
    let (mut reader, writer) = pipe().unwrap();
    let closed = move || assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    (closed, writer.into())
}

fn assert_no_scope() {
    assert_eq!(put(Arc::new(watched().1)), Err(HandleError::NotCarried));
    assert_eq!(take(0).unwrap_err(), HandleError::NotCarried);
}

#[test]
fn each_handle_is_taken_once() {
    let fds: Vec<OwnedFd> = (0..3).map(|_| watched().1).collect();
    supply(fds, || {
        assert!(take(1).is_ok());
        assert_eq!(take(1).unwrap_err(), HandleError::Taken { index: 1 });
        assert!(take(0).is_ok() && take(2).is_ok());
        assert_eq!(take(3).unwrap_err(), HandleError::Missing { index: 3, carried: 3 });
        assert_eq!(take(u32::MAX).unwrap_err(), HandleError::Missing { index: u32::MAX, carried: 3 });
    });
    assert_no_scope();
}

#[test]
fn what_nobody_took_is_closed() {
    let (first_closed, first) = watched();
    let (second_closed, second) = watched();
    let taken = supply(vec![first, second], || take(0)).unwrap();
    second_closed();
    drop(taken);
    first_closed();
}

#[test]
fn what_nobody_took_is_closed_after_a_panic() {
    let (taken_closed, first) = watched();
    let (left_closed, second) = watched();
    let result = catch_unwind(|| {
        supply(vec![first, second], || {
            let _taken = take(0).unwrap();
            resume_unwind(Box::new("panic"));
        });
    });
    assert!(result.is_err());
    taken_closed();
    left_closed();
    assert_no_scope();
}

#[test]
fn what_a_failed_decode_took_is_closed() {
    let (closed, fd) = watched();
    let bytes = [0, 0];
    let result =
        supply(vec![fd], || Postcard::decode::<(Shared, Shared)>(&bytes).map(|(_, shared)| shared.0));
    assert_eq!(result.unwrap_err(), DecodeError::Handle(HandleError::Taken { index: 0 }));
    closed();
    // Also where all handles arrived and the value did not.
    let (closed, fd) = watched();
    assert!(supply(vec![fd], || Postcard::decode::<(Shared, u8)>(&[0])).is_err());
    closed();
}

#[test]
fn a_unique_handle_moves_on_commit_only() {
    let handle = Unique::new();
    let (bytes, outgoing) = encode(&("it", &handle)).unwrap();
    assert_eq!((handle.state(), outgoing.len(), bytes.last()), (MOVING, 1, Some(&0)));
    outgoing.commit();
    assert_eq!(handle.state(), GONE);
    assert_eq!(encode(&handle).unwrap_err(), EncodeError::Handle(HandleError::Moved));
    assert_no_scope();
}

#[test]
fn a_unique_handle_comes_back_when_not_committed() {
    let handle = Unique::new();
    drop(encode(&handle).unwrap());
    assert_eq!((handle.state(), handle.rollbacks()), (HERE, 1));
    // And can be sent after all.
    encode(&handle).unwrap().1.commit();
    assert_eq!((handle.state(), handle.rollbacks()), (GONE, 1));
}

#[test]
fn a_unique_handle_is_refused_the_second_time_in_one_message() {
    let handle = Unique::new();
    assert_eq!(encode(&(&handle, &handle)).unwrap_err(), EncodeError::Handle(HandleError::Moved));
    assert_eq!((handle.state(), handle.rollbacks()), (HERE, 1));
}

struct Fails;

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("no"))
    }
}

struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        resume_unwind(Box::new("panic"))
    }
}

#[test]
fn an_error_rolls_back_and_leaves_no_scope() {
    let handles = [Unique::new(), Unique::new()];
    assert_eq!(encode(&(&handles[0], &handles[1], Fails)).unwrap_err(), EncodeError::Value("no".into()));
    assert!(handles.iter().all(|handle| (handle.state(), handle.rollbacks()) == (HERE, 1)));
    assert_no_scope();
}

#[test]
fn a_scope_that_fails_after_a_good_encoding_rolls_back() {
    let handle = Unique::new();
    let result = collect(|| {
        Postcard::encode_into(&handle, &mut Vec::new()).and(Err::<(), _>(EncodeError::TooSmall { needed: 1 }))
    });
    assert!(result.is_err());
    assert_eq!((handle.state(), handle.rollbacks()), (HERE, 1));
}

#[test]
fn refusals_of_nested_encodings_are_kept_apart() {
    /// Hears that its handle is not carried, uses a codec for something else, and only then gives up.
    struct Late;
    impl Serialize for Late {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            let error = put(Arc::new(watched().1)).unwrap_err();
            assert!(Postcard::encoded_size(&1).is_ok());
            assert_eq!(Postcard::encoded_size(&Fails), Err(EncodeError::Value("no".into())));
            assert!(Postcard::decode::<u8>(&[1]).is_ok());
            assert!(matches!(Postcard::decode::<bool>(&[7]), Err(DecodeError::Malformed(_))));
            Err(ser::Error::custom(error))
        }
    }
    assert_eq!(Postcard::encoded_size(&Late), Err(EncodeError::Handle(HandleError::NotCarried)));
    assert_eq!(Postcard::encoded_size(&Fails), Err(EncodeError::Value("no".into())));
}

#[test]
fn a_panic_rolls_back_and_leaves_no_scope() {
    let handle = Unique::new();
    assert!(catch_unwind(AssertUnwindSafe(|| encode(&(&handle, Panics)))).is_err());
    assert_eq!((handle.state(), handle.rollbacks()), (HERE, 1));
    assert_no_scope();
}

#[test]
fn a_panic_caught_inside_of_the_scope_rolls_back_its_attempt() {
    let (kept, lost) = (Unique::new(), Unique::new());
    let ((), outgoing) = collect(|| {
        Postcard::encode_into(&kept, &mut Vec::new())?;
        let panicked =
            catch_unwind(AssertUnwindSafe(|| Postcard::encode_into(&(&lost, Panics), &mut Vec::new())));
        assert!(panicked.is_err());
        Ok::<(), EncodeError>(())
    })
    .unwrap();
    assert_eq!((lost.state(), outgoing.len()), (HERE, 1));
    outgoing.commit();
    assert_eq!(kept.state(), GONE);
}

#[test]
fn retries_and_measurements_do_not_consume_a_move() {
    let handle = Unique::new();
    let (n, outgoing) = collect(|| {
        let needed = Postcard::encoded_size(&("text", &handle))?;
        let short = Postcard::encode_to_slice(&("text", &handle), &mut [0; 2]);
        assert_eq!((short, handle.state()), (Err(EncodeError::TooSmall { needed }), HERE));
        Postcard::encode_to_slice(&("text", &handle), &mut vec![0; needed])
    })
    .unwrap();
    assert_eq!((n, outgoing.len(), handle.rollbacks(), handle.state()), (6, 1, 2, MOVING));
}

#[test]
fn attempts_of_other_codecs_roll_back_too() {
    let (kept, lost) = (Unique::new(), Unique::new());
    let (refusal, outgoing) = collect(|| {
        attempt(|| Postcard::encode_into(&kept, &mut Vec::new())).unwrap();
        let failed = attempt(|| {
            put(Arc::clone(&lost.0) as _).unwrap();
            lost.0.state.store(MOVING, SeqCst);
            Err::<(), _>(take(0).unwrap_err())
        });
        Ok::<_, ()>(failed.unwrap_err())
    })
    .unwrap();
    assert_eq!(refusal, (HandleError::NotCarried, Some(HandleError::NotCarried)));
    assert_eq!((outgoing.len(), lost.state(), kept.state()), (1, HERE, MOVING));
}

#[test]
fn scopes_nest_like_a_stack() {
    let fd = || -> Arc<dyn Carried> { Arc::new(watched().1) };
    let ((), outer) = collect(|| {
        assert_eq!(put(fd()), Ok(0));
        // A `Serialize` that sends something of its own.
        let ((), inner) = collect(|| {
            assert_eq!((put(fd()), put(fd())), (Ok(0), Ok(1)));
            Ok::<_, ()>(())
        })?;
        assert_eq!(inner.len(), 2);
        assert_eq!(put(fd()), Ok(1));
        // One that receives, and one that uses a carrier without descriptors.
        supply(vec![watched().1], || {
            assert_eq!(put(fd()), Err(HandleError::NotCarried));
            refuse(|| assert_eq!(take(0).unwrap_err(), HandleError::NotCarried));
            assert!(take(0).is_ok());
        });
        assert_eq!(take(0).unwrap_err(), HandleError::NotCarried);
        // One whose own sending fails.
        assert!(collect(|| put(fd()).and(Err::<(), _>(HandleError::Moved))).is_err());
        assert_eq!(put(fd()), Ok(2));
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(outer.len(), 3);
    assert_no_scope();
}

#[test]
fn a_panic_in_an_inner_scope_leaves_the_outer_one() {
    let ((), outgoing) = collect(|| {
        put(Arc::new(watched().1)).unwrap();
        let inner =
            || supply(vec![watched().1], || collect(|| -> Result<(), ()> { resume_unwind(Box::new(())) }));
        assert!(catch_unwind(AssertUnwindSafe(inner)).is_err());
        assert_eq!(put(Arc::new(watched().1)), Ok(1));
        Ok::<_, ()>(())
    })
    .unwrap();
    assert_eq!(outgoing.len(), 2);
}

/// Uses the table from within every call-back that the table makes.
struct Reentrant(OwnedFd);

fn use_the_table() {
    let ((), outgoing) = collect(|| put(Arc::new(watched().1)).map(drop)).unwrap();
    drop(outgoing);
    supply(vec![watched().1], || take(0)).unwrap();
    let _ = put(Arc::new(watched().1));
}

impl Carried for Reentrant {
    fn descriptor(&self) -> BorrowedFd<'_> {
        use_the_table();
        self.0.as_fd()
    }

    fn commit(&self) {
        use_the_table();
    }

    fn rollback(&self) {
        use_the_table();
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        use_the_table();
    }
}

#[test]
fn no_call_back_runs_while_the_table_is_borrowed() {
    let handle = || Arc::new(Reentrant(watched().1)) as Arc<dyn Carried>;
    put(handle()).unwrap_err();
    let put_one = || collect(|| put(handle())).unwrap().1;
    put_one().commit();
    let outgoing = put_one();
    assert_eq!(outgoing.descriptors().count(), 1);
    drop(outgoing);
    collect(|| put(handle()).and(Err::<(), _>(HandleError::Moved))).unwrap_err();
    let fails = || attempt(|| put(handle()).and(Err::<(), _>(HandleError::Moved))).unwrap_err();
    drop(collect(|| Ok::<_, ()>(fails())).unwrap());
}

#[test]
fn a_thread_that_ends_has_no_table_and_does_not_panic() {
    struct AtExit;
    impl Drop for AtExit {
        fn drop(&mut self) {
            // The table may be gone by now, or may not yet be: both must do.
            let collected = collect(|| Postcard::encode_into(&7, &mut Vec::new()));
            FINE.with(|fine| fine.get().unwrap().store(usize::from(collected.is_ok()), SeqCst));
            let (closed, fd) = watched();
            supply(vec![fd], || Postcard::decode::<u8>(&[1])).unwrap();
            closed();
        }
    }
    thread_local! {
        static FINE: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };
        static AT_EXIT: AtExit = const { AtExit };
    }
    static COUNT: AtomicUsize = AtomicUsize::new(7);
    let thread = std::thread::spawn(|| {
        FINE.set(Some(&COUNT));
        AT_EXIT.with(|_| ());
        use_the_table();
    });
    thread.join().unwrap();
    assert_eq!(COUNT.load(SeqCst), 1);
}

#[test]
fn errors_say_what_is_wrong() {
    let texts = [
        (HandleError::NotCarried, "handles are not carried here"),
        (HandleError::Missing { index: 2, carried: 1 }, "handle 2 is missing, 1 came with the message"),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
        assert_eq!(DecodeError::Handle(error).to_string(), format!("decoding a handle: {text}"));
    }
    let outgoing = collect(|| put(Arc::new(watched().1))).unwrap().1;
    assert!(format!("{outgoing:?}").starts_with("[BorrowedFd"), "{outgoing:?}");
}
