//! Arrays, namespaces, and what lists, dictionaries, sets, values and queues do with many at once: as those of the standard
//! library, in one step, and when there is too much.

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::thread;
use std::time::Duration;

use procession_codec::Bytes;
use procession_manager::{Array, CallError, Dict, List, Manager, Namespace, Value};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{await_objects, await_waiting, steps};

fn out_of(index: u64, len: u64) -> impl Fn(&CallError) -> bool {
    move |error| matches!(*error, CallError::OutOfBounds { index: i, len: l } if (i, l) == (index, len))
}

#[test]
fn each_method_of_an_array_does_what_that_of_a_slice_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let mut model: Vec<Vec<u64>> = (0..7).map(|n| vec![n]).collect();
        let array = manager.array(model.clone()).unwrap();
        let mut next = steps(3);
        for _ in 0..500 {
            let (what, a, b, n) = (next() % 10, next() % 7, next() % 7, next());
            let (at, other) = (a as usize, b as usize);
            let (from, to) = (at.min(other), at.max(other));
            match what {
                0 => assert_eq!(array.get(a).unwrap(), model[at]),
                1 => {
                    array.set(a, vec![n]).unwrap();
                    model[at] = vec![n];
                }
                2 => {
                    array.swap(a, b).unwrap();
                    model.swap(at, other);
                }
                3 => assert_eq!(array.replace(a, vec![]).unwrap(), std::mem::take(&mut model[at])),
                4 => assert_eq!(array.range(from as u64..to as u64).unwrap(), model[from..to]),
                5 => {
                    let new: Vec<_> = (from..to).map(|i| vec![n, i as u64]).collect();
                    model[from..to].clone_from_slice(&new);
                    array.set_range(from as u64, new).unwrap();
                }
                6 => {
                    let change = |part: &mut [Vec<u64>], n| part.iter_mut().for_each(|one| one.push(n));
                    change(&mut model[from..=to], n);
                    array.update_range(from as u64..=to as u64, change, n).unwrap();
                }
                7 => {
                    let change = |one: &mut Vec<u64>, n| {
                        one.push(n);
                        one.len()
                    };
                    assert_eq!(array.update(a, change, n).unwrap(), change(&mut model[at], n));
                }
                8 if n.is_multiple_of(9) => {
                    array.fill(vec![n]).unwrap();
                    model.fill(vec![n]);
                }
                8 => {
                    array.reverse().unwrap();
                    model.reverse();
                }
                _ => {
                    let expected = model.iter().position(|one| *one == model[at]).map(|at| at as u64);
                    assert_eq!(array.position(&model[at]).unwrap(), expected);
                    assert!(!array.contains(&vec![u64::MAX]).unwrap());
                    assert_eq!(array.range(..).unwrap(), model);
                    let all: Result<Vec<_>, _> = array.iter().unwrap().collect();
                    assert_eq!(all.unwrap(), model);
                }
            }
            assert_eq!((array.to_vec().unwrap(), array.len().unwrap()), (model.clone(), 7));
        }
    });
}

#[test]
fn what_is_not_in_an_array_is_an_error_and_nothing_is_done() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let array = manager.array([1_u8, 2, 3]).unwrap();
        let refused = |result: Result<(), CallError>, index| {
            let error = result.unwrap_err();
            assert!(out_of(index, 3)(&error), "{error:?} is not of {index}");
        };
        for index in [3, 4, u64::MAX - 1] {
            refused(array.get(index).map(drop), index);
            refused(array.set(index, 9), index);
            refused(array.replace(index, 9).map(drop), index);
            refused(array.swap(0, index), index);
            refused(array.swap(index, 0), index);
            refused(array.update(index, |n, ()| *n = 9, ()), index);
        }
        refused(array.range(1..4).map(drop), 3);
        refused(array.range(..=3).map(drop), 3);
        refused(array.range(4..).map(drop), 4);
        #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let backwards = 2..1;
        refused(array.range(backwards).map(drop), 2);
        refused(array.set_range(2, [8, 9]), 3);
        refused(array.set_range(u64::MAX, [8, 9]), u64::MAX - 1);
        refused(array.update_range(2..5, |part, ()| part.fill(9), ()), 4);
        assert!(array.range(3..).unwrap().is_empty());
        array.set_range(3, []).unwrap();
        assert_eq!(array.to_vec().unwrap(), [1, 2, 3]);
        let empty = manager.array::<u8>([]).unwrap();
        assert!(empty.is_empty().unwrap() && empty.to_vec().unwrap().is_empty());
        assert!(out_of(0, 0)(&empty.get(0).unwrap_err()));
        assert!(array.get(3).unwrap_err().to_string().ends_with("there is no index 3 among 3"));
    });
}

#[test]
fn no_update_of_a_range_is_lost() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let array = manager.array([0_u32; 8]).unwrap();
        let task = |(array, from): (Array<u32>, u64)| {
            for _ in 0..40 {
                let change = |part: &mut [u32], ()| part.iter_mut().for_each(|n| *n += 1);
                array.update_range(from..from + 4, change, ()).unwrap();
            }
        };
        let children: Vec<_> =
            [0, 2, 4].into_iter().map(|from| spawn(task, (array.clone(), from)).unwrap()).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(array.to_vec().unwrap(), [40, 40, 80, 80, 80, 80, 40, 40]);
    });
}

#[test]
fn each_method_of_a_list_for_many_does_what_that_of_a_vector_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<u64>().unwrap();
        let mut model: Vec<u64> = Vec::new();
        let mut next = steps(5);
        for _ in 0..500 {
            let (what, a, b, n) = (next() % 12, next() % 12, next() % 12, next() % 5);
            let cut = |index: u64| (index as usize).min(model.len());
            let (from, to) = (cut(a.min(b)), cut(a.max(b)));
            let range = a.min(b)..a.max(b);
            match what {
                0..=2 => {
                    list.extend([n, n + 1, n + 2]).unwrap();
                    model.extend([n, n + 1, n + 2]);
                }
                3 => assert_eq!(list.range(range).unwrap(), model[from..to]),
                4 => assert_eq!(list.drain(range).unwrap(), model.drain(from..to).collect::<Vec<_>>()),
                5 => {
                    let expected = ((a as usize) < model.len()).then(|| model.swap_remove(a as usize));
                    assert_eq!(list.swap_remove(a).unwrap(), expected);
                }
                6 => {
                    list.truncate(a + 3).unwrap();
                    model.truncate(a as usize + 3);
                }
                7 => {
                    list.reverse().unwrap();
                    model.reverse();
                }
                8 => {
                    let before = model.len();
                    model.retain(|one| ![n, n + 1].contains(one));
                    let n_removed = (before - model.len()) as u64;
                    assert_eq!(list.remove_all(&[n, n + 1]).unwrap(), n_removed);
                }
                9 => {
                    let sorts = |part: &mut Vec<u64>, n| {
                        part.sort_unstable();
                        part.dedup();
                        part.push(n);
                    };
                    let mut part: Vec<_> = model.drain(from..to).collect();
                    sorts(&mut part, n);
                    model.splice(from..from, part);
                    list.update_range(range, sorts, n).unwrap();
                }
                10 if (a.max(b) as usize) < model.len() => {
                    list.swap(a, b).unwrap();
                    model.swap(a as usize, b as usize);
                }
                10 => assert!(matches!(list.swap(a, b), Err(CallError::OutOfBounds { .. }))),
                _ => {
                    let expected = model.iter().position(|one| *one == n).map(|at| at as u64);
                    assert_eq!(list.position(&n).unwrap(), expected);
                    assert_eq!(list.contains(&n).unwrap(), expected.is_some());
                }
            }
            assert_eq!(list.to_vec().unwrap(), model);
            assert_eq!(list.first().unwrap(), model.first().copied());
            assert_eq!(list.last().unwrap(), model.last().copied());
        }
    });
}

#[test]
fn an_item_that_moved_is_not_changed_by_who_read_it_before() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<u64>().unwrap();
        list.extend(0..20).unwrap();
        let task = |list: List<u64>| {
            for _ in 0..60 {
                list.update_range(.., |all, ()| all.rotate_left(1), ()).unwrap();
                let last = list.pop().unwrap().unwrap();
                list.insert(0, last).unwrap();
            }
        };
        let children: Vec<_> = (0..2).map(|_| spawn(task, list.clone()).unwrap()).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        let mut all = list.to_vec().unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn each_method_of_a_dictionary_for_many_does_what_a_hash_map_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (dict, set) = (manager.dict::<String, u64>().unwrap(), manager.set::<u64>().unwrap());
        let (mut model, mut some) = (HashMap::<String, u64>::new(), HashSet::<u64>::new());
        let mut next = steps(9);
        for _ in 0..300 {
            let (what, n) = (next() % 7, next() % 20);
            let keys = [n, n + 1, n + 2];
            let names = keys.map(|key| key.to_string());
            match what {
                0 | 1 => {
                    dict.extend(names.iter().map(|name| (name.clone(), n))).unwrap();
                    model.extend(names.iter().map(|name| (name.clone(), n)));
                    set.extend(keys).unwrap();
                    some.extend(keys);
                }
                2 => {
                    let expected: Vec<_> = names.iter().map(|name| model.get(name).copied()).collect();
                    assert_eq!(dict.get_many(&names).unwrap(), expected);
                    let expected = keys.iter().all(|key| some.contains(key));
                    assert_eq!(set.contains_all(&keys).unwrap(), expected);
                }
                3 => {
                    let expected: Vec<_> = names.iter().map(|name| model.remove(name)).collect();
                    assert_eq!(dict.remove_many(names.iter().map(String::as_str)).unwrap(), expected);
                    let expected: Vec<_> = keys.iter().map(|key| some.remove(key)).collect();
                    assert_eq!(set.remove_many(&keys).unwrap(), expected);
                }
                4 if n < 4 => {
                    let n_before = (model.len(), some.len());
                    model.retain(|name, _| names.contains(name));
                    some.retain(|key| keys.contains(key));
                    assert_eq!(dict.keep_only(&names).unwrap() as usize, n_before.0 - model.len());
                    assert_eq!(set.keep_only(&keys).unwrap() as usize, n_before.1 - some.len());
                }
                5 => {
                    let (popped, one) = (dict.pop().unwrap(), set.pop().unwrap());
                    assert_eq!((popped.is_some(), one.is_some()), (!model.is_empty(), !some.is_empty()));
                    assert!(popped.is_none_or(|(name, n)| model.remove(&name) == Some(n)));
                    assert!(one.is_none_or(|one| some.remove(&one)));
                }
                6 if n == 0 => {
                    assert_eq!(dict.drain().unwrap().into_iter().collect::<HashMap<_, _>>(), model);
                    assert_eq!(set.drain().unwrap().into_iter().collect::<HashSet<_>>(), some);
                    model.clear();
                    some.clear();
                }
                _ => {
                    let all: Result<HashMap<_, _>, _> = dict.iter().unwrap().collect();
                    assert_eq!(all.unwrap(), model);
                    let all: Result<HashSet<_>, _> = set.iter().unwrap().collect();
                    assert_eq!(all.unwrap(), some);
                }
            }
            assert_eq!((dict.len().unwrap(), set.len().unwrap()), (model.len() as u64, some.len() as u64));
        }
    });
}

#[test]
fn each_method_of_a_namespace_does_what_a_map_of_fields_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let mut next = steps(13);
        for _ in 0..300 {
            let (what, name, n) = (next() % 7, format!("field {}", next() % 6), next());
            match what {
                0 => {
                    space.set(&name, &n).unwrap();
                    model.insert(name, n);
                }
                1 => assert_eq!(space.get::<u64>(&name).unwrap(), model.get(&name).copied()),
                2 => assert_eq!(space.remove(&name).unwrap(), model.remove(&name).is_some()),
                3 => {
                    let expected = *model.entry(name.clone()).or_insert(n);
                    assert_eq!(space.get_or_insert(&name, &n).unwrap(), expected);
                }
                4 => {
                    let change = |value: &mut u64, by| {
                        *value = value.wrapping_add(by);
                        *value
                    };
                    let expected = change(model.entry(name.clone()).or_default(), n);
                    assert_eq!(space.update(&name, change, n).unwrap(), expected);
                }
                5 if n.is_multiple_of(7) => {
                    space.clear().unwrap();
                    model.clear();
                }
                _ => {
                    let all = space.snapshot().unwrap();
                    assert!(all.names().eq(model.keys()));
                    assert!(model.iter().all(|(name, n)| all.get(name).unwrap() == Some(*n)));
                    assert_eq!((all.len(), all.is_empty()), (model.len(), model.is_empty()));
                }
            }
            assert_eq!(space.names().unwrap(), model.keys().cloned().collect::<Vec<_>>());
            assert_eq!(space.contains("field 1").unwrap(), model.contains_key("field 1"));
            assert_eq!(space.is_empty().unwrap(), model.is_empty());
        }
    });
}

#[test]
fn a_field_of_another_type_is_an_error_that_names_both() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        space.set("n", &7_u32).unwrap();
        let wrong = |error: CallError| {
            let CallError::WrongType { is, asked } = &error else { panic!("{error:?}") };
            assert_eq!((&**is, *asked), ("u32", "i64"));
            assert!(error.to_string().ends_with("it is of type u32 and was asked for as i64"), "{error}");
        };
        wrong(space.get::<i64>("n").unwrap_err());
        wrong(space.get_or_insert::<i64>("n", &1).unwrap_err());
        wrong(space.update("n", |n: &mut i64, ()| *n = 1, ()).unwrap_err());
        wrong(space.wait_for::<i64>("n").unwrap_err());
        wrong(space.snapshot().unwrap().get::<i64>("n").unwrap_err());
        assert_eq!(space.get::<u32>("n").unwrap(), Some(7));
        space.set("n", &-1_i64).unwrap();
        assert_eq!(space.get::<i64>("n").unwrap(), Some(-1));
    });
}

#[test]
fn who_waits_for_a_field_gets_it() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let space = manager.namespace().unwrap();
        let early = space.wait_for_timeout::<u8>("go", Duration::from_millis(3));
        assert!(matches!(early, Err(CallError::TimedOut)), "{early:?}");
        let child = spawn(|space: Namespace| space.wait_for::<u8>("go").unwrap(), space.clone()).unwrap();
        await_waiting(&manager, 1);
        space.update("go", |n: &mut u8, by| *n += by, 3).unwrap();
        assert_eq!(child.join().unwrap(), 3);
    });
}

#[test]
fn a_value_is_exchanged_only_if_it_is_the_expected_one() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let value = manager.value("one".to_owned()).unwrap();
        assert_eq!(value.compare_exchange(&"two".into(), "three".into()).unwrap(), Err("one".into()));
        assert_eq!(value.compare_exchange(&"one".into(), "two".into()).unwrap(), Ok(()));
        assert_eq!(value.get().unwrap(), "two");
        let count = manager.value(0_u32).unwrap();
        let task = |count: Value<u32>| {
            for _ in 0..50 {
                let mut seen = count.get().unwrap();
                while let Err(other) = count.compare_exchange(&seen, seen + 1).unwrap() {
                    seen = other;
                }
            }
        };
        let child = spawn(task, count.clone()).unwrap();
        task(count.clone());
        child.join().unwrap();
        assert_eq!(count.get().unwrap(), 100);
    });
}

#[test]
fn many_are_received_at_once_also_those_that_waited_for_room() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let queue = manager.queue::<u32>(2).unwrap();
        assert_eq!((queue.capacity().unwrap(), queue.is_full().unwrap()), (2, false));
        assert!(queue.try_recv_many(9).unwrap().is_empty());
        queue.send(&1).unwrap();
        queue.send(&2).unwrap();
        assert!(queue.is_full().unwrap());
        thread::scope(|scope| {
            let sending = scope.spawn(|| queue.send(&3));
            await_waiting(&manager, 1);
            assert_eq!(queue.try_recv_many(9).unwrap(), [1, 2, 3]);
            sending.join().unwrap().unwrap();
        });
        queue.send(&4).unwrap();
        queue.send(&5).unwrap();
        assert_eq!(queue.try_recv_many(1).unwrap(), [4]);
        queue.close().unwrap();
        assert_eq!(queue.try_recv_many(9).unwrap(), [5]);
        assert!(matches!(queue.try_recv_many(9), Err(CallError::Closed)));
    });
}

#[test]
fn what_is_too_much_for_one_answer_stays_and_comes_in_blocks() {
    const N: u64 = 5;
    guarded(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<Bytes>().unwrap();
        let dict = manager.dict::<u64, Bytes>().unwrap();
        let queue = manager.queue::<Bytes>(N).unwrap();
        let one = |n| Bytes::from(vec![n as u8; 15 << 20]);
        for n in 0..N {
            list.push(one(n)).unwrap();
            dict.insert(n, one(n)).unwrap();
            queue.send(&one(n)).unwrap();
        }
        assert!(matches!(list.drain(..), Err(CallError::Refused(_))));
        assert!(matches!(list.to_vec(), Err(CallError::Refused(_))));
        assert!(matches!(dict.drain(), Err(CallError::Refused(_))));
        assert!(matches!(dict.remove_many(&[0, 1, 2, 3, 4]), Err(CallError::Refused(_))));
        assert_eq!((list.len().unwrap(), dict.len().unwrap()), (N, N));
        assert_eq!(queue.try_recv_many(9).unwrap(), (0..4).map(one).collect::<Vec<_>>());
        assert_eq!(queue.try_recv_many(9).unwrap(), [one(4)]);
        for (n, item) in (0..).zip(list.iter().unwrap()) {
            assert_eq!(item.unwrap(), one(n));
        }
        let sum: u64 = dict
            .iter()
            .unwrap()
            .map(|entry| {
                entry
                    .map(|(n, item)| {
                        assert_eq!(item, one(n));
                        n
                    })
                    .unwrap()
            })
            .sum();
        assert_eq!(sum, 10);
        assert_eq!(list.drain(1..4).unwrap().len(), 3);
    });
}

#[test]
fn what_is_iterated_is_of_one_instant_and_is_dropped_with_the_iterator() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u64, u64>().unwrap();
        dict.extend((0..3000).map(|n| (n, n))).unwrap();
        let mut iter = dict.iter().unwrap();
        assert_eq!(manager.counts().unwrap().objects, 2);
        let first = iter.next().unwrap().unwrap();
        dict.clear().unwrap();
        let mut all: Vec<u64> = iter.by_ref().map(|entry| entry.unwrap().1).collect();
        assert!(iter.next().is_none());
        all.push(first.0);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..3000));
        drop(iter);
        await_objects(&manager, 1);
        drop(dict);
        await_objects(&manager, 0);
    });
}

type Inner = Dict<u8, u8>;

/// A proxy in each kind of object keeps its dictionary, and whoever gets it uses the same one.
#[test]
fn a_proxy_lives_in_every_kind_of_object() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let inner = || {
            let inner = manager.dict::<u8, u8>().unwrap();
            inner.insert(1, 41).unwrap();
            inner
        };
        let (array, list) = (manager.array([inner()]).unwrap(), manager.list().unwrap());
        list.push(inner()).unwrap();
        let (value, mutex) = (manager.value(inner()).unwrap(), manager.mutex(inner()).unwrap());
        let rwlock = manager.rwlock(inner()).unwrap();
        let (queue, jobs) = (manager.queue(1).unwrap(), manager.job_queue(1).unwrap());
        queue.send(&inner()).unwrap();
        jobs.send(&inner()).unwrap();
        let space = manager.namespace().unwrap();
        space.set("inner", &inner()).unwrap();
        await_objects(&manager, 8 + 8);
        let all = (array, list, value, mutex, rwlock, queue, jobs, space);
        let task = |all: All| {
            let (array, list, value, mutex, rwlock, queue, jobs, space) = &all;
            let inners: Vec<Inner> = vec![
                array.get(0).unwrap(),
                list.iter().unwrap().next().unwrap().unwrap(),
                value.get().unwrap(),
                mutex.lock().unwrap().clone(),
                rwlock.read().unwrap().clone(),
                queue.recv().unwrap(),
                jobs.recv().unwrap().into_inner(),
                space.get("inner").unwrap().unwrap(),
            ];
            for inner in &inners {
                inner.update(1, |n, by| *n += by, 1).unwrap();
            }
            inners
        };
        let inners = spawn(task, all.clone()).unwrap().join().unwrap();
        assert!(inners.iter().all(|inner| inner.get(&1).unwrap() == Some(42)));
        assert_eq!(all.0.get(0).unwrap().get(&1).unwrap(), Some(42));
        assert_eq!(
            all.7.snapshot().unwrap().get::<Inner>("inner").unwrap().unwrap().get(&1).unwrap(),
            Some(42)
        );
        assert_eq!(all.1.position(&inners[1]).unwrap(), None, "handles are equal to nothing");
        drop(inners);
        // What was received is gone with who received it.
        await_objects(&manager, 8 + 6);
        drop(all);
        await_objects(&manager, 0);
    });
}

type All = (
    Array<Inner>,
    List<Inner>,
    Value<Inner>,
    procession_manager::Mutex<Inner>,
    procession_manager::RwLock<Inner>,
    procession_manager::Queue<Inner>,
    procession_manager::JobQueue<Inner>,
    Namespace,
);
