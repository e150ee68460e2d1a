//! Lists of mixed items: Python's sizes, whole items, and errors for what is not there.
#![forbid(unsafe_code)]

mod handed;
mod support;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use handed::{got, role_with};
use procession_shm::{Item, List, ListError, Nameable, Segment, ShmError};
use procession_testkit::roles;
use procession_testkit::{counted, guarded, role};
use support::travel;

const LIMIT: Duration = Duration::from_secs(60);

fn mixed() -> [Item; 8] {
    let bytes: &[u8] = b"\0bytes\0\0";
    ["text".into(), 7.into(), 2.5.into(), true.into(), Item::None, bytes.into(), "".into(), "\0".into()]
}

#[test]
fn items_of_all_types_come_back_as_they_were() {
    counted(|| {
        let list = List::from_items(mixed()).unwrap();
        let other: List = travel(&list);
        assert_eq!((other.len(), other.is_empty()), (8, false));
        assert_eq!(other.iter().collect::<Result<Vec<_>, _>>().unwrap(), mixed());
        // Every slot takes every item that fits.
        for index in 0..8 {
            for item in mixed() {
                let fits = item != b"\0bytes\0\0"[..].into() || other.capacity(index).unwrap() >= 8;
                assert!(fits);
                other.set(index, item.clone()).unwrap();
                assert_eq!(list.get(index).unwrap(), item);
            }
        }
        list.try_set(0, i64::MIN).unwrap();
        list.set_timeout(1, -0.5_f32, LIMIT).unwrap();
        list.set_until(2, Some("so"), Instant::now() + LIMIT).unwrap();
        let first: Vec<_> = other.iter().take(3).map(Result::unwrap).collect();
        assert_eq!(first, [Item::Int(i64::MIN), Item::Float(-0.5), Item::Text("so".into())]);
        assert_eq!(
            format!("{:?}", List::from_items([1.into(), ().into()]).unwrap()),
            "[Some(Int(1)), Some(None)]"
        );
    });
}

#[test]
fn slots_have_python_s_sizes() {
    guarded(|| {
        let items = [1.into(), "1234567".into(), "12345678".into(), vec![0_u8; 16].into(), "".into()];
        let list = List::from_items(items).unwrap();
        let capacities: Vec<_> = (0..5).map(|index| list.capacity(index).unwrap()).collect();
        assert_eq!(capacities, [8, 8, 16, 24, 8]);
        let large = List::with_capacity(3, 100).unwrap();
        assert_eq!((large.capacity(2).unwrap(), large.get(2).unwrap()), (104, Item::None));
        large.set(2, "x".repeat(104)).unwrap();
        assert!(matches!(
            large.set(2, "x".repeat(105)),
            Err(ListError::TooLarge { index: 2, len: 105, capacity: 104 })
        ));
        assert_eq!(large.get(2).unwrap(), Item::Text("x".repeat(104)));
        assert_eq!(List::with_capacity(1, 0).unwrap().capacity(0).unwrap(), 8);
    });
}

#[test]
fn what_is_not_there_is_an_error() {
    guarded(|| {
        let list = List::from_items([5.into(), "five".into(), 5.into(), f64::NAN.into()]).unwrap();
        assert_eq!(list.index_of(&5.into()).unwrap(), Some(0));
        assert_eq!((list.count(&5.into()).unwrap(), list.count(&5.0.into()).unwrap()), (2, 0));
        assert_eq!(
            (list.index_of(&Item::None).unwrap(), list.index_of(&f64::NAN.into()).unwrap()),
            (None, None)
        );
        let out = |error: ListError| matches!(error, ListError::OutOfRange { index: 4, len: 4 });
        assert!(out(list.get(4).unwrap_err()) && out(list.set(4, 1).unwrap_err()));
        assert!(out(list.capacity(4).unwrap_err()));
        let none = List::from_items([]).unwrap();
        assert!(none.is_empty() && travel(&none).get(0).is_err());
        for (slots, bytes) in [(usize::MAX, 8), (1, usize::MAX), (usize::MAX, usize::MAX), (1 << 55, 8)] {
            let error = List::with_capacity(slots, bytes).unwrap_err();
            assert!(
                matches!(error, ListError::Memory(ShmError::OutOfMemory(_) | ShmError::Os(_))),
                "{error}"
            );
        }
        let segment = Segment::new(64).unwrap();
        assert!(List::try_from(segment.as_fd().try_clone_to_owned().unwrap()).is_err());
        let name = format!("list.{}", std::process::id());
        let named = list.publish(&name).unwrap();
        List::open_named(&name).unwrap().set(0, 6).unwrap();
        assert_eq!(named.get(0).unwrap(), 6.into());
    });
}

#[test]
fn readers_see_whole_items_while_processes_set_them() {
    const TIMES: usize = 20_000;
    if role().is_some() {
        let list: List = got();
        roles::say("writing");
        for n in 0..TIMES {
            // No two in a row of one letter.
            let letter = char::from(b'a' + (n % 23) as u8).to_string();
            list.set(1, letter.repeat(1 + n % 4000)).unwrap();
            list.set(0, n as i64).unwrap();
        }
        return roles::say("done");
    }
    guarded(|| {
        let list = List::from_items([0.into(), "x".repeat(4000).into(), "end".into()]).unwrap();
        let mut writers = ["a", "b"].map(|letter| role_with(letter, &list).spawn());
        writers.iter_mut().for_each(|w| assert_eq!(w.hear(LIMIT).as_deref(), Some("writing")));
        while list.get(0).unwrap() != (TIMES as i64 - 1).into() {
            let Item::Text(text) = list.get(1).unwrap() else { panic!("a text") };
            // As quick as can be, to be in the middle of a copy most of the time.
            assert!(text.as_bytes() == vec![text.as_bytes()[0]; text.len()], "{text}");
        }
        for writer in &mut writers {
            assert_eq!(writer.hear(LIMIT).as_deref(), Some("done"));
        }
        assert_eq!((list.get(0).unwrap(), list.get(2).unwrap()), ((TIMES as i64 - 1).into(), "end".into()));
        for writer in writers {
            writer.wait_with_output(LIMIT).expect_success();
        }
    });
}
