//! What others write over values, encoded values and lists hurts no reader: it gets an answer or an error, and no writer
//! waits for ever with a limit.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use procession_codec::{Codec, Message, MessagePack, Postcard};
use procession_shm::{Encoded, EncodedError, Item, List, ListError, Refusal, ShmError, Value};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::{Storm, guarded, guarded_for};

/// Bytes before what a type lays out.
const HEADER: usize = 64;
const LIMIT: Duration = Duration::from_millis(1);

fn descriptor(of: &impl AsFd) -> OwnedFd {
    of.as_fd().try_clone_to_owned().unwrap()
}

fn mapping(of: &impl AsFd) -> Mapping {
    Mapping::shared(&Memfd::adopt(descriptor(of)).unwrap()).unwrap()
}

fn put(memory: &Mapping, word: usize, value: u64) {
    memory.write(HEADER + word * 8, &value.to_ne_bytes());
}

/// Numbers that are wrong in most places.
fn wrong(storm: &mut Storm) -> u64 {
    let bits = storm.bits();
    *storm.pick(&[0, 1, 7, 8, 9, 255, 1 << 8, 9 << 8, u64::from(u32::MAX), 1 << 29, 1 << 63, u64::MAX, bits])
}

#[test]
fn garbage_is_an_answer_or_an_error() {
    guarded_for(Duration::from_secs(300), || {
        let mut storm = Storm::seeded();
        let value = Value::new([1_u64; 5]).unwrap();
        let text = Encoded::<String>::with_capacity(40, &"text".into()).unwrap();
        let list = List::from_items([1.into(), "text".into(), Item::None]).unwrap();
        let memories = [mapping(&value), mapping(&text), mapping(&list)];
        let mut n_errors = 0;
        for _ in 0..2000 {
            let memory = storm.pick(&memories);
            let n_words = ((memory.len() - HEADER) / 8) as u64;
            put(memory, storm.below(n_words) as usize, wrong(&mut storm));
            let _ = value.get();
            n_errors += u32::from(text.get().is_err());
            for index in 0..3 {
                n_errors += u32::from(list.get(index).is_err());
            }
            let _ = value.set_timeout([2; 5], LIMIT);
            let _ = value.lock_timeout(LIMIT).map(|mut guard| guard[0] += 1);
            let _ = text.set_timeout(&"other".into(), LIMIT);
            let _ = text.update_timeout(LIMIT, |text| text.len());
            let _ = list.set_timeout(1, "other", LIMIT);
            assert_eq!((list.len(), text.capacity(), list.capacity(1).unwrap()), (3, 40, 8));
        }
        assert!(n_errors > 0, "nothing was garbage");
    });
}

#[test]
fn a_version_that_never_rests_does_not_hold_a_reader() {
    guarded(|| {
        let value = Value::new([7_u64; 100]).unwrap();
        let (memory, done) = (mapping(&value), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    if done.load(Relaxed) {
                        return;
                    }
                    put(&memory, 1, n);
                }
            });
            for _ in 0..1000 {
                assert!(value.get().iter().all(|word| [0, 7].contains(word)));
            }
            done.store(true, Relaxed);
        });
    });
}

#[test]
fn lengths_and_kinds_are_checked() {
    guarded(|| {
        let text = Encoded::<String>::with_capacity(40, &"text".into()).unwrap();
        // Lock, version, length.
        put(&mapping(&text), 2, 41);
        assert!(matches!(text.get(), Err(EncodedError::Damaged { len: 41, capacity: 40 })));
        put(&mapping(&text), 2, 3);
        assert!(matches!(text.get(), Err(EncodedError::Decode(_))));
        text.set(&"mended".into()).unwrap();
        assert_eq!(text.get().unwrap(), "mended");
        // Lock, number, two capacities, version, head.
        let list = List::from_items(["text".into(), 1.into()]).unwrap();
        for head in [6, 9 << 8 | 4, 4 << 8 | 2, 1 << 8, 9 << 8 | 1, u64::MAX] {
            put(&mapping(&list), 5, head);
            assert!(matches!(list.get(0), Err(ListError::Damaged { index: 0 })), "{head:x}");
        }
        put(&mapping(&list), 5, 4 << 8 | 4);
        assert_eq!(list.get(0).unwrap(), "text".into());
        put(&mapping(&list), 6, u64::MAX);
        assert!(list.get(0).is_err(), "no UTF-8");
        list.set(0, 3).unwrap();
        assert_eq!((list.get(0).unwrap(), list.get(1).unwrap()), (3.into(), 1.into()));
    });
}

/// The lengths inside of the encoding are the codec's business, which believes none beyond its input.
#[test]
fn a_length_inside_of_the_value_allocates_nothing() {
    fn is_refused<T: Message, C: Codec>(value: &T, bytes: &[u8]) {
        let encoded = Encoded::<T, C>::with_capacity(40, value).unwrap();
        mapping(&encoded).write(HEADER + 3 * 8, bytes);
        put(&mapping(&encoded), 2, bytes.len() as u64);
        assert!(matches!(encoded.get(), Err(EncodedError::Decode(_))), "{bytes:?}");
        assert!(matches!(encoded.update(|_| ()), Err(EncodedError::Decode(_))), "{bytes:?}");
    }
    guarded(|| {
        // As many as can be, and nothing behind them.
        let postcard = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let message_pack = [0xdd, 0xff, 0xff, 0xff, 0xff];
        is_refused::<Vec<u64>, Postcard>(&vec![], &postcard);
        is_refused::<Vec<()>, Postcard>(&vec![], &postcard);
        is_refused::<String, Postcard>(&String::new(), &postcard);
        is_refused::<BTreeMap<u8, [u64; 32]>, Postcard>(&BTreeMap::new(), &postcard);
        is_refused::<Vec<[u64; 32]>, MessagePack>(&vec![], &message_pack);
        is_refused::<Vec<()>, MessagePack>(&vec![], &message_pack);
    });
}

#[test]
fn a_list_whose_table_is_wrong_does_not_arrive() {
    guarded(|| {
        let list = List::from_items(["text".into(), 1.into()]).unwrap();
        let memory = mapping(&list);
        let arrives = || match List::try_from(descriptor(&list)) {
            Ok(_) => true,
            Err(ShmError::Refused(Refusal::Damaged)) => false,
            Err(error) => panic!("{error}"),
        };
        for (word, right) in [(1, 2), (2, 8), (3, 8)] {
            for wrong in [0, 1, 3, 7, 9, 16, 1 << 32, u64::MAX, u64::MAX - 7, u64::MAX / 2 + 1] {
                put(&memory, word, wrong);
                assert!(!arrives(), "word {word}: {wrong}");
            }
            put(&memory, word, right);
            assert!(arrives());
        }
        // Who has it already is not concerned.
        put(&memory, 2, u64::MAX);
        assert_eq!(list.get(1).unwrap(), 1.into());
    });
}
