//! The contract of arrays, on threads: what is there, who keeps whom out, and what is told of those who failed.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procession_shm::{Array, ArrayError, Atomic, Part, Plain, Refusal, Segment, ShmError};
use procession_testkit::{counted, guarded};

#[derive(Clone, Copy, Debug, PartialEq, Plain)]
struct Particle {
    x: f64,
    v: f64,
}

fn panics<R>(what: impl FnOnce() -> R) -> String {
    let Err(payload) = panic::catch_unwind(AssertUnwindSafe(what)) else { panic!("it did not panic") };
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| (*payload.downcast::<&str>().unwrap()).to_owned())
}

#[test]
fn items_are_those_it_was_made_from() {
    counted(|| {
        let particle = |i: usize| Particle { x: i as f64, v: -1.0 };
        let cloud = Array::from_slice(&[0, 1, 2].map(particle)).unwrap();
        assert_eq!(cloud.read()[..], [0, 1, 2].map(particle));
        assert_eq!((cloud.len(), cloud.is_empty()), (3, false));
        assert_eq!(Array::from_fn(3, particle).unwrap().read()[..], cloud.read()[..]);
        assert_eq!(Array::<u16>::zeroed(5).unwrap().read()[..], [0; 5]);
        let none = Array::<u64>::zeroed(0).unwrap();
        assert!(none.is_empty() && none.read().is_empty() && none.write().is_empty());
        assert_eq!((none.split(3).len(), none.chunks(3).len()), (0, 0));
        let mut items = cloud.write();
        items[1].v = 5.0;
        assert_eq!(items.as_bytes()[24..32], 5.0_f64.to_ne_bytes());
        items.as_bytes_mut()[24..32].copy_from_slice(&7.0_f64.to_ne_bytes());
        drop(items);
        assert_eq!(cloud.read()[1].v, 7.0);
        assert_eq!(cloud.read().as_bytes().len(), 48);
    });
}

#[test]
fn items_are_aligned_and_too_many_are_refused() {
    counted(|| {
        assert!(Array::<u128>::zeroed(3).unwrap().read().as_ptr().addr().is_multiple_of(64));
        for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            assert!(matches!(Array::<u64>::zeroed(len), Err(ShmError::OutOfMemory(_))), "{len}");
        }
    });
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    guarded(|| {
        let array = Array::from_slice(&[1, 2, 3]).unwrap();
        let first = array.read();
        thread::scope(|scope| {
            let other = || {
                assert_eq!(array.try_read().unwrap()[..], [1, 2, 3]);
                let error = array.try_write().unwrap_err();
                assert!(
                    matches!(error, ArrayError::TimedOut { by: Some(by) } if by.pid == std::process::id())
                );
                let soon = Duration::from_millis(1);
                assert!(matches!(array.split_timeout(2, soon), Err(ArrayError::TimedOut { .. })));
            };
            scope.spawn(other).join().unwrap();
        });
        drop(first);
        let items = array.write();
        thread::scope(|scope| {
            let other = || {
                assert!(matches!(array.try_read(), Err(ArrayError::TimedOut { by: Some(_) })));
                assert!(matches!(
                    array.write_until(Instant::now()),
                    Err(ArrayError::TimedOut { by: Some(_) })
                ));
            };
            scope.spawn(other).join().unwrap();
        });
        drop(items);
        drop(array.try_write().unwrap());
    });
}

#[test]
fn who_waits_gets_the_items_when_they_are_free() {
    guarded(|| {
        let array = Array::from_slice(&[0_u64; 100]).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        array.write().iter_mut().for_each(|item| *item += 1);
                        let items = array.read();
                        assert!(items.iter().all(|item| *item == items[0]));
                        drop(items);
                        array.split(3).for_each(|mut part| part.iter_mut().for_each(|item| *item += 1));
                    }
                });
            }
        });
        assert_eq!(array.read()[..], [1600; 100]);
    });
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    guarded(|| {
        let array = Array::from_slice(&[0_u8; 4]).unwrap();
        let items = array.read();
        drop(array.read());
        assert_eq!(array.try_write().unwrap_err(), ArrayError::Deadlock);
        assert!(panics(|| array.write()).contains("holds the array already"));
        assert!(panics(|| array.split(2)).contains("holds the array already"));
        drop(items);
        let items = array.write();
        assert_eq!(array.try_read().unwrap_err(), ArrayError::Deadlock);
        assert!(panics(|| array.read()).contains("holds the array already"));
        drop(items);
        // None of these left anything behind.
        assert_eq!(array.try_split(4).unwrap().len(), 4);
        assert!(array.is_consistent());
        assert!(panics(|| array.split(0)).contains("no parts"));
        assert!(panics(|| array.chunks(0)).contains("without items"));
        assert!(panics(|| Array::<u8>::zeroed(1025).unwrap().chunks(1)).contains("1025 parts, of 1024"));
    });
}

#[test]
fn parts_are_disjoint_and_together_everything() {
    guarded(|| {
        for len in [1, 2, 7, 1000, 5000] {
            let array = Array::<u32>::zeroed(len).unwrap();
            for n in [1, 2, 3, 7, 999, 5000] {
                let parts: Vec<_> = array.split(n).collect();
                assert_eq!(parts.len(), n.min(len).min(1024));
                let lens: Vec<_> = parts.iter().map(Part::len).collect();
                assert!(lens.iter().max().unwrap() - lens.iter().min().unwrap() <= 1, "{lens:?}");
                follow_each_other(parts.iter().map(Part::range), len);
            }
            let parts: Vec<_> = array.chunks(6).collect();
            assert!(parts[..parts.len() - 1].iter().all(|part| part.len() == 6));
            follow_each_other(parts.iter().map(Part::range), len);
            for mut part in parts {
                let first = part.range().start as u32;
                (first..).zip(&mut *part).for_each(|(i, item)| *item += i);
            }
            assert!((0..).zip(&array.read()[..]).all(|(i, item)| *item == i));
        }
    });
}

fn follow_each_other(ranges: impl Iterator<Item = std::ops::Range<usize>>, len: usize) {
    let mut end = 0;
    for range in ranges {
        assert!(range.start == end && !range.is_empty(), "{range:?} after {end}");
        end = range.end;
    }
    assert_eq!(end, len);
}

#[test]
fn while_there_is_a_part_nobody_has_the_whole() {
    guarded(|| {
        let array = Array::from_slice(&[0_u8; 10]).unwrap();
        let last = array.split(5).last().unwrap();
        let leased = |error| matches!(error, ArrayError::Leased { by } if by.pid() == std::process::id());
        assert!(leased(array.try_read().unwrap_err()));
        assert!(leased(array.try_write().unwrap_err()));
        assert!(leased(array.try_split(1).unwrap_err()));
        assert!(leased(array.read_timeout(Duration::from_millis(1)).unwrap_err()));
        assert!(leased(array.chunks_until(1, Instant::now()).unwrap_err()));
        let (started, starts) = mpsc::channel();
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                started.send(()).unwrap();
                array.read().to_vec()
            });
            starts.recv().unwrap();
            let mut last = last;
            last[1] = 9;
            drop(last);
            assert_eq!(reader.join().unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        });
    });
}

#[test]
fn a_panic_is_remembered_until_somebody_repairs() {
    guarded(|| {
        let array = Array::from_slice(&[0_u8; 10]).unwrap();
        let broken = || {
            assert!(!array.is_consistent() && !array.read().is_consistent());
            assert_eq!((array.left_by(), array.write().left_by()), (None, None), "nobody died");
            array.write().mark_consistent();
            assert!(array.is_consistent() && array.write().is_consistent() && array.read().is_consistent());
        };
        panics(|| {
            let _items = array.write();
            panic!("half written")
        });
        drop(array.read());
        broken();
        panics(|| {
            let _part = array.split(2).next();
            panic!("half written")
        });
        broken();
        // A panic that began before, and a reader's, break nothing.
        panics(|| {
            let _items = array.read();
            panic!("while reading")
        });
        drop(array.read());
        assert!(array.is_consistent());
    });
}

#[test]
fn what_is_something_else_is_refused() {
    counted(|| {
        let array = Array::from_slice(&[1_u32, 2]).unwrap();
        let fd = |of: &dyn AsFd| of.as_fd().try_clone_to_owned().unwrap();
        let same = Array::<u32>::from_descriptor(fd(&array), None).unwrap();
        same.write()[0] = 5;
        assert_eq!(array.read()[..], [5, 2]);
        let different =
            |error: Result<Array<i32>, _>| matches!(error, Err(ShmError::Refused(Refusal::Type { .. })));
        assert!(different(Array::from_descriptor(fd(&array), None)));
        assert!(different(Array::from_descriptor(fd(&Atomic::new(1_i32).unwrap()), None)));
        assert!(different(Array::from_descriptor(fd(&Segment::new(1 << 20).unwrap()), None)));
    });
}
