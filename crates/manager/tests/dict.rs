//! Dictionaries: each method as that of the standard library, changes of many processes, and waiting.

mod support;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use procession_manager::{CallError, Dict, Manager};
use procession_process::spawn;
use procession_testkit::guarded;
use support::steps;

#[test]
fn each_method_does_what_that_of_a_hash_map_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<String, Vec<u64>>().unwrap();
        let mut model: HashMap<String, Vec<u64>> = HashMap::new();
        let mut next = steps(7);
        for _ in 0..600 {
            let (what, key, n) = (next() % 8, next() % 9, next());
            let key = format!("key {key}");
            match what {
                0 => assert_eq!(dict.insert(key.clone(), vec![n]).unwrap(), model.insert(key, vec![n])),
                1 => assert_eq!(dict.get(&key).unwrap(), model.get(&key).cloned()),
                2 => assert_eq!(dict.remove(&*key).unwrap(), model.remove(&key)),
                3 => assert_eq!(dict.contains_key(&*key).unwrap(), model.contains_key(&key)),
                4 => {
                    let expected = model.entry(key.clone()).or_insert_with(|| vec![n]);
                    assert_eq!(dict.get_or_insert(key, vec![n]).unwrap(), *expected);
                }
                5 => {
                    let change = |values: &mut Vec<u64>, n| {
                        values.push(n);
                        values.len()
                    };
                    let expected = change(model.entry(key.clone()).or_default(), n);
                    assert_eq!(dict.update(key, change, n).unwrap(), expected);
                }
                6 => {
                    let pairs = [(key.clone(), vec![n, n]), ("other".to_owned(), vec![])];
                    model.extend(pairs.clone());
                    dict.extend(pairs).unwrap();
                }
                _ if n.is_multiple_of(20) => {
                    model.clear();
                    dict.clear().unwrap();
                }
                _ => {
                    let entries: HashMap<_, _> = dict.entries().unwrap().into_iter().collect();
                    assert_eq!(entries, model);
                    let mut keys = dict.keys().unwrap();
                    keys.sort();
                    let mut expected: Vec<_> = model.keys().cloned().collect();
                    expected.sort();
                    assert_eq!(keys, expected);
                    assert_eq!(dict.values().unwrap().len(), model.len());
                }
            }
            assert_eq!(dict.len().unwrap(), model.len() as u64);
            assert_eq!(dict.is_empty().unwrap(), model.is_empty());
        }
    });
}

fn teller(seen: Dict<String, Vec<u32>>) {
    for n in 0..50 {
        seen.update("tellers".into(), Vec::push, n).unwrap();
    }
}

#[test]
fn no_update_of_several_processes_is_lost() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let seen = manager.dict::<String, Vec<u32>>().unwrap();
        let tellers: Vec<_> = (0..4).map(|_| spawn(teller, seen.clone()).unwrap()).collect();
        for teller in tellers {
            teller.join().unwrap();
        }
        let mut all = seen.get("tellers").unwrap().unwrap();
        all.sort_unstable();
        let expected: Vec<u32> = (0..50).flat_map(|n| [n; 4]).collect();
        assert_eq!(all, expected);
    });
}

#[test]
fn many_threads_share_one_connection_and_one_that_waits_is_in_nobodys_way() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u64, u64>().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| dict.wait_for(&u64::MAX).unwrap());
            let threads: Vec<_> = (0..8_u64)
                .map(|thread| {
                    let dict = &dict;
                    scope.spawn(move || {
                        for n in 0..100 {
                            let key = thread * 1000 + n;
                            assert_eq!(dict.insert(key, n).unwrap(), None);
                            assert_eq!(dict.get(&key).unwrap(), Some(n));
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(manager.counts().unwrap().clients, 1);
            dict.insert(u64::MAX, 7).unwrap();
            assert_eq!(waiting.join().unwrap(), 7);
        });
    });
}

#[test]
fn who_waits_for_a_key_gets_it_or_hears_that_the_time_is_up() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<String, String>().unwrap();
        let early = dict.wait_for_timeout("key", Duration::from_millis(5));
        assert!(matches!(early, Err(CallError::TimedOut)), "{early:?}");
        assert!(matches!(dict.wait_for_until("key", Instant::now()), Err(CallError::TimedOut)));
        let child = spawn(|dict: Dict<String, String>| dict.wait_for("key").unwrap(), dict.clone()).unwrap();
        // The child is there, and so is what it waits for, in whichever order.
        dict.insert("key".into(), "value".into()).unwrap();
        assert_eq!(child.join().unwrap(), "value");
        assert_eq!(dict.wait_for_timeout("key", Duration::from_secs(20)).unwrap(), "value");
    });
}

#[test]
fn long_values_travel_and_too_long_ones_are_refused_on_either_side() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u8, Vec<u64>>().unwrap();
        let long: Vec<u64> = (0..500_000).collect();
        dict.insert(1, long.clone()).unwrap();
        assert_eq!(dict.get(&1).unwrap(), Some(long));
        let bytes = manager.dict::<u8, procession_codec::Bytes>().unwrap();
        let refused = bytes.insert(1, vec![0; 65 << 20].into());
        assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
        for key in 0..3 {
            bytes.insert(key, vec![0; 30 << 20].into()).unwrap();
        }
        let refused = bytes.values();
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        assert_eq!(bytes.get(&2).unwrap().map(|bytes| bytes.len()), Some(30 << 20));
    });
}

#[test]
fn a_value_of_another_type_is_an_error_of_who_gets_it() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let texts = manager.dict::<u8, String>().unwrap();
        let task = |numbers: Dict<u8, [u64; 9]>| {
            let got = numbers.get(&1);
            assert!(matches!(got, Err(CallError::Decode(_))), "{got:?}");
        };
        texts.insert(1, "text".into()).unwrap();
        // The types of a proxy are not checked on its way.
        let (ours, theirs) = procession_pipe::pipe::<Dict<u8, String>, ()>().unwrap();
        ours.send(&texts).unwrap();
        let theirs = procession_pipe::Connection::from(theirs).into_duplex::<(), Dict<u8, [u64; 9]>>();
        spawn(task, theirs.recv().unwrap()).unwrap().join().unwrap();
        assert_eq!(texts.get(&1).unwrap().as_deref(), Some("text"));
    });
}

#[test]
fn many_threads_that_meet_a_server_at_once_share_one_greeted_connection() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let task = |dicts: Vec<Dict<u8, u8>>| {
            thread::scope(|scope| {
                let all = dicts.iter().map(|dict| scope.spawn(|| dict.insert(1, 1).is_ok()));
                all.collect::<Vec<_>>().into_iter().all(|thread| thread.join().unwrap())
            })
        };
        for _ in 0..10 {
            let dicts: Vec<_> = (0..8).map(|_| manager.dict().unwrap()).collect();
            assert!(spawn(task, dicts).unwrap().join().unwrap());
        }
    });
}
