//! Lists, sets, values, queues and events: as those of the standard library, in several processes, and when one is killed.

mod support;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use procession_manager::{CallError, Dict, Event, List, Manager, Queue, Value};
use procession_pipe::{Connection, pipe};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{End, Victim, await_objects, await_waiting, steps};

#[test]
fn each_method_of_a_list_does_what_that_of_a_vector_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<Vec<u64>>().unwrap();
        let mut model: Vec<Vec<u64>> = Vec::new();
        let mut next = steps(11);
        for _ in 0..600 {
            let (what, index, n) = (next() % 9, next() % 12, next());
            let at = usize::try_from(index).unwrap();
            match what {
                0 => assert_eq!(list.get(index).unwrap(), model.get(at).cloned()),
                1 => {
                    let expected = model.get_mut(at).map(|old| std::mem::replace(old, vec![n]));
                    assert_eq!(list.set(index, vec![n]).unwrap(), expected);
                }
                2 => {
                    list.push(vec![n]).unwrap();
                    model.push(vec![n]);
                }
                3 => {
                    list.insert(index, vec![n]).unwrap();
                    model.insert(at.min(model.len()), vec![n]);
                }
                4 => {
                    let expected = (at < model.len()).then(|| model.remove(at));
                    assert_eq!(list.remove(index).unwrap(), expected);
                }
                5 => assert_eq!(list.pop().unwrap(), model.pop()),
                6 => {
                    list.extend([vec![], vec![n, n]]).unwrap();
                    model.extend([vec![], vec![n, n]]);
                }
                7 => {
                    let change = |values: &mut Vec<u64>, n| {
                        values.push(n);
                        values.len()
                    };
                    let expected = model.get_mut(at).map(|values| change(values, n));
                    assert_eq!(list.update(index, change, n).unwrap(), expected);
                }
                _ if n.is_multiple_of(20) => {
                    list.clear().unwrap();
                    model.clear();
                }
                _ => assert_eq!(list.to_vec().unwrap(), model),
            }
            assert_eq!(list.len().unwrap(), model.len() as u64);
            assert_eq!(list.is_empty().unwrap(), model.is_empty());
        }
    });
}

#[test]
fn each_method_of_a_set_does_what_that_of_a_hash_set_does() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let set = manager.set::<String>().unwrap();
        let mut model: HashSet<String> = HashSet::new();
        let mut next = steps(11);
        for _ in 0..300 {
            let (what, value) = (next() % 5, format!("value {}", next() % 9));
            match what {
                0 => assert_eq!(set.insert(&value).unwrap(), model.insert(value)),
                1 => assert_eq!(set.remove(&*value).unwrap(), model.remove(&value)),
                2 => assert_eq!(set.contains(&*value).unwrap(), model.contains(&value)),
                3 if next().is_multiple_of(10) => {
                    set.clear().unwrap();
                    model.clear();
                }
                3 => {
                    set.extend([value.clone(), "other".into()]).unwrap();
                    model.extend([value, "other".into()]);
                }
                _ => assert_eq!(set.to_vec().unwrap().into_iter().collect::<HashSet<_>>(), model),
            }
            assert_eq!((set.len().unwrap(), set.is_empty().unwrap()), (model.len() as u64, model.is_empty()));
        }
    });
}

#[test]
fn no_change_of_a_value_or_an_item_is_lost() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (value, list) = (manager.value(0_u64).unwrap(), manager.list::<u64>().unwrap());
        list.extend([0, 0]).unwrap();
        let task = |(value, list): (Value<u64>, List<u64>)| {
            for n in 0..100 {
                value.update(|n, by| *n += by, 1).unwrap();
                list.update(n % 2, |n, by| *n += by, 1).unwrap();
            }
        };
        let children: Vec<_> = (0..3).map(|_| spawn(task, (value.clone(), list.clone())).unwrap()).collect();
        for child in children {
            child.join().unwrap();
        }
        assert_eq!((value.get().unwrap(), list.to_vec().unwrap()), (300, vec![150, 150]));
        assert_eq!(value.replace(7).unwrap(), 300);
        value.set(8).unwrap();
        assert_eq!(value.get().unwrap(), 8);
    });
}

#[test]
fn a_queue_between_processes_keeps_order_waits_on_both_sides_and_ends() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let queue = manager.queue::<u32>(3).unwrap();
        let child = spawn(|queue: Queue<u32>| queue.iter().collect::<Vec<_>>(), queue.clone()).unwrap();
        for n in 0..200 {
            queue.send(&n).unwrap();
        }
        queue.close().unwrap();
        assert_eq!(child.join().unwrap(), (0..200).collect::<Vec<_>>());
        assert!(queue.is_closed().unwrap() && queue.is_empty().unwrap());
        assert!(matches!(queue.send(&1), Err(CallError::Closed)));
        assert!(matches!(queue.recv(), Err(CallError::Closed)));
    });
}

#[test]
fn forms_that_do_not_wait_or_give_up_leave_nothing_behind() {
    const SHORT: Duration = Duration::from_millis(3);
    guarded(|| {
        let manager = Manager::start().unwrap();
        let queue = manager.queue::<u32>(1).unwrap();
        assert!(matches!(queue.try_recv(), Err(CallError::WouldWait)));
        assert!(matches!(queue.recv_timeout(SHORT), Err(CallError::TimedOut)));
        queue.try_send(&1).unwrap();
        assert!(matches!(queue.try_send(&2), Err(CallError::WouldWait)));
        assert!(matches!(queue.send_timeout(&3, SHORT), Err(CallError::TimedOut)));
        // Neither who gave up receives, nor is what was given up ever received.
        assert_eq!((queue.recv().unwrap(), queue.len().unwrap()), (1, 0));
        assert!(matches!(queue.try_recv(), Err(CallError::WouldWait)));
        queue.send_timeout(&4, Duration::from_secs(20)).unwrap();
        assert_eq!(queue.recv_timeout(Duration::from_secs(20)).unwrap(), 4);
        // Those who wait when it is closed hear of it.
        thread::scope(|scope| {
            let receiving = scope.spawn(|| queue.recv());
            let event = manager.event().unwrap();
            assert!(matches!(event.wait_timeout(SHORT), Err(CallError::TimedOut)));
            queue.close().unwrap();
            assert!(matches!(receiving.join().unwrap(), Err(CallError::Closed)));
        });
    });
}

#[test]
fn what_waits_for_a_killed_client_goes_to_others() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let queue = manager.queue::<u32>(1).unwrap();
        let victim = Victim::start(|(queue, _end): (Queue<u32>, End)| drop(queue.recv()), queue.clone());
        // It has asked, and is parked: what comes next would be its.
        await_waiting(&manager, 1);
        victim.kill(&manager);
        assert_eq!(manager.counts().unwrap().waiting, 0);
        queue.send(&7).unwrap();
        assert_eq!(queue.try_recv().unwrap(), 7);
    });
}

#[test]
fn an_event_lets_all_go_on_until_it_is_cleared() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let event = manager.event().unwrap();
        assert!(!event.is_set().unwrap());
        let task = |event: Event| event.wait().is_ok();
        let children: Vec<_> = (0..2).map(|_| spawn(task, event.clone()).unwrap()).collect();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| event.wait());
            event.set().unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert!(children.into_iter().all(|child| child.join().unwrap()));
        event.wait_timeout(Duration::ZERO).unwrap();
        event.clear().unwrap();
        assert!(!event.is_set().unwrap());
    });
}

#[test]
fn a_proxy_of_another_kind_is_refused_when_it_arrives() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (ours, theirs) = pipe::<Event, ()>().unwrap();
        ours.send(&manager.event().unwrap()).unwrap();
        let theirs = Connection::from(theirs).into_duplex::<(), Dict<u8, u8>>();
        let refused = theirs.recv().unwrap_err().to_string();
        assert!(refused.contains("a proxy of kind Event arrived where one of kind Dict was to"), "{refused}");
        await_objects(&manager, 0);
    });
}
