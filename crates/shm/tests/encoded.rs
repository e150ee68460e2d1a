//! Encoded values: replaced whole, refused when too large, and read in every process that has them.
#![forbid(unsafe_code)]

mod handed;
mod support;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use handed::{got, role_with};
use procession_codec::{EncodeError, Json, MessagePack, Postcard};
use procession_shm::{Atomic, Encoded, EncodedError, Nameable, Refusal, ShmError, ValueError};
use procession_testkit::roles;
use procession_testkit::{counted, guarded, role};
use support::{pack, travel, unpack};

const LIMIT: Duration = Duration::from_secs(60);
type Scores = BTreeMap<String, Vec<u32>>;

#[test]
fn every_way_to_write_is_seen_by_every_handle() {
    counted(|| {
        let text = Encoded::<String>::with_capacity(10, &"a".into()).unwrap();
        assert_eq!(text.capacity(), 16);
        let other: Encoded<String> = travel(&text);
        let soon = || Instant::now() + LIMIT;
        let seen = |expected: &str| {
            assert_eq!((text.get().unwrap(), other.get().unwrap()), (expected.into(), expected.into()));
        };
        text.set(&"b".into()).unwrap();
        seen("b");
        other.try_set(&String::new()).unwrap();
        seen("");
        other.set_timeout(&"fifteen letters".into(), LIMIT).unwrap();
        seen("fifteen letters");
        text.set_until(&"c".into(), soon()).unwrap();
        let push = |text: &mut String| {
            text.push('!');
            text.len()
        };
        assert_eq!(other.update(push).unwrap(), 2);
        assert_eq!(text.try_update(push).unwrap(), 3);
        assert_eq!(text.update_timeout(LIMIT, push).unwrap(), 4);
        assert_eq!(other.update_until(soon(), push).unwrap(), 5);
        seen("c!!!!");
        let json = Encoded::<Scores, Json>::with_capacity(100, &Scores::new()).unwrap();
        json.update(|s| s.entry("ada".into()).or_default().push(1)).unwrap();
        assert_eq!(travel(&json).get().unwrap()["ada"], [1]);
    });
}

#[test]
fn what_does_not_fit_or_travel_leaves_the_old_value() {
    guarded(|| {
        let text = Encoded::<String>::with_capacity(8, &"old".into()).unwrap();
        let too_large = |answer: Result<(), EncodedError>| match answer {
            Err(EncodedError::TooLarge { len, capacity }) => assert_eq!((len, capacity), (9, 8)),
            other => panic!("{other:?}"),
        };
        too_large(text.set(&"8 bytes.".into()));
        too_large(text.update(|text| *text = "8 bytes.".into()));
        too_large(Encoded::<String>::with_capacity(3, &"8 bytes.".into()).map(drop));
        assert_eq!(text.get().unwrap(), "old");
        text.set(&"7 bytes".into()).unwrap();
        let panics = || text.update(|_| -> () { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert!(matches!(
            text.update(|_| text.set(&"x".into())).unwrap(),
            Err(EncodedError::Lock(ValueError::Deadlock))
        ));
        assert_eq!(text.get().unwrap(), "7 bytes");
        let atomic = Atomic::new(1_u8).unwrap();
        let handle = Encoded::<Option<Atomic<u8>>>::with_capacity(64, &None).unwrap();
        // Also in the middle of a message that carries handles: they are not the message's.
        let error = procession_codec::handles::collect(|| handle.set(&Some(atomic))).map(drop).unwrap_err();
        assert!(matches!(error, EncodedError::Encode(EncodeError::Handle(_))), "{error}");
        assert!(handle.get().unwrap().is_none());
        assert!(matches!(
            Encoded::<u8>::with_capacity(usize::MAX, &1),
            Err(EncodedError::Memory(ShmError::OutOfMemory(_) | ShmError::Os(_)))
        ));
    });
}

#[test]
fn other_types_and_codecs_are_refused() {
    guarded(|| {
        let number = Encoded::<u32>::with_capacity(64, &7).unwrap();
        let fd = || number.as_fd().try_clone_to_owned().unwrap();
        let is_type = |e| matches!(e, ShmError::Refused(Refusal::Type { .. }));
        assert!(is_type(Encoded::<u64>::try_from(fd()).unwrap_err()));
        assert!(is_type(Encoded::<u32, MessagePack>::try_from(fd()).unwrap_err()));
        assert_eq!(Encoded::<u32, Postcard>::try_from(fd()).unwrap().get().unwrap(), 7);
        assert!(unpack::<Encoded<i32>>(pack(&number).unwrap()).is_err());
        let name = format!("encoded.{}", std::process::id());
        let named = number.publish(&name).unwrap();
        Encoded::<u32>::open_named(&name).unwrap().set(&8).unwrap();
        assert_eq!(named.get().unwrap(), 8);
    });
}

#[test]
fn processes_add_to_a_map_and_readers_see_whole_maps() {
    const EACH: u32 = 500;
    if let Some(role) = role() {
        let scores: Encoded<Scores> = got();
        roles::say("writing");
        for n in 0..EACH {
            scores.update(|s| s.entry(role.clone()).or_default().push(n)).unwrap();
        }
        return;
    }
    guarded(|| {
        let scores = Encoded::<Scores>::with_capacity(8192, &Scores::new()).unwrap();
        let names = ["ada", "grace"];
        let mut writers = names.map(|name| role_with(name, &scores).spawn());
        writers.iter_mut().for_each(|w| assert_eq!(w.hear(LIMIT).as_deref(), Some("writing")));
        let mut n_seen = 0;
        while n_seen < 2 * EACH as usize {
            let seen = scores.get().unwrap();
            assert!(seen.values().all(|list| list.iter().copied().eq(0..list.len() as u32)), "{seen:?}");
            let n = seen.values().map(Vec::len).sum();
            assert!(n >= n_seen, "{n} after {n_seen}");
            n_seen = n;
        }
        for writer in writers {
            writer.wait_with_output(LIMIT).expect_success();
        }
    });
}
