//! Condition variables: no notification is lost, whoever gives up or dies.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use procession_manager::{CallError, Condvar, Failed, Manager, Mutex};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{End, Victim, await_clients, await_waiting, here};

const SHORT: Duration = Duration::from_millis(3);
const LONG: Duration = Duration::from_secs(20);

type Line = (Mutex<Vec<u32>>, Condvar);

/// Takes as many as it is told, each as soon as there is one.
fn take(((line, more), n): (Line, u32)) -> Vec<u32> {
    let one = |_| {
        let mut line = more.wait_while(line.lock().unwrap(), |line| line.is_empty()).unwrap();
        line.pop().unwrap()
    };
    (0..n).map(one).collect()
}

#[test]
fn each_item_is_taken_once_by_threads_and_processes() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let line: Line = (manager.mutex(vec![]).unwrap(), manager.condvar().unwrap());
        let takers: Vec<_> = (0..3).map(|_| spawn(take, (line.clone(), 20)).unwrap()).collect();
        let mut taken = thread::scope(|scope| {
            let here = scope.spawn(|| take((line.clone(), 20)));
            for n in 0..80 {
                line.0.lock().unwrap().push(n);
                line.1.notify_one().unwrap();
            }
            let mut taken = here.join().unwrap();
            taken.extend(takers.into_iter().flat_map(|taker| taker.join().unwrap()));
            taken
        });
        taken.sort_unstable();
        assert_eq!(taken, (0..80).collect::<Vec<_>>());
    });
}

#[test]
fn who_waits_has_given_the_lock_back_with_its_change_and_has_it_again() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (line, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        assert_eq!(more.notify_all().unwrap(), 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut guard = line.lock().unwrap();
                *guard = 1;
                let guard = more.wait(guard).unwrap();
                assert!(matches!(line.try_lock(), Err(Failed::Call(CallError::WouldWait))));
                *guard
            });
            await_waiting(&manager, 1);
            let mut guard = line.try_lock().unwrap();
            assert_eq!(*guard, 1);
            *guard = 2;
            assert_eq!(more.notify_all().unwrap(), 1);
            // Woken, and not before it is given back.
            await_waiting(&manager, 1);
            drop(guard);
            assert_eq!(waiting.join().unwrap(), 2);
        });
    });
}

#[test]
fn limits() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (line, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        let (mut guard, up) = more.wait_timeout(line.lock().unwrap(), SHORT).unwrap();
        assert!(up.timed_out());
        *guard = 5;
        let (guard, up) = more.wait_until(guard, Instant::now()).unwrap();
        assert!(up.timed_out() && *guard == 5);
        let (guard, up) = more.wait_timeout_while(guard, SHORT, |n| *n == 5).unwrap();
        assert!(up.timed_out() && *guard == 5);
        let (guard, up) = more.wait_timeout_while(guard, LONG, |n| *n != 5).unwrap();
        assert!(!up.timed_out());
        drop(guard);
        // Who gave up takes no notification along.
        assert_eq!(more.notify_all().unwrap(), 0);
        thread::scope(|scope| {
            let waiting =
                scope.spawn(|| more.wait_timeout(line.lock().unwrap(), LONG).unwrap().1.timed_out());
            await_waiting(&manager, 1);
            more.notify_one().unwrap();
            assert!(!waiting.join().unwrap());
        });
    });
}

/// Some give up when they are notified: of as many tokens as there are, none is left.
#[test]
fn limits_that_end_when_it_is_notified_lose_nothing() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (tokens, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        thread::scope(|scope| {
            for thread in 0..3 {
                let (tokens, more) = (&tokens, &more);
                scope.spawn(move || {
                    let mut n_got = 0;
                    while n_got < 30 {
                        let limit = Duration::from_micros(50 + thread * 13 + n_got);
                        let guard = tokens.lock().unwrap();
                        let (mut guard, up) = more.wait_timeout_while(guard, limit, |n| *n == 0).unwrap();
                        if !up.timed_out() {
                            *guard -= 1;
                            n_got += 1;
                        }
                    }
                });
            }
            for _ in 0..90 {
                *tokens.lock().unwrap() += 1;
                more.notify_one().unwrap();
            }
        });
        assert_eq!(*tokens.lock().unwrap(), 0);
    });
}

fn wait_and_die(((line, more), end): ((Mutex<u32>, Condvar), End)) {
    let _guard = more.wait(line.lock().unwrap()).unwrap();
    here(&end);
}

/// The victim is stopped, so it is woken and cannot hear of it, and then killed.
#[test]
fn a_dead_waiter_takes_no_notification_along() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (line, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        let victim = Victim::start(wait_and_die, (line.clone(), more.clone()));
        await_waiting(&manager, 1);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| more.wait(line.lock().unwrap()).map(|guard| *guard).unwrap());
            await_waiting(&manager, 2);
            victim.stop();
            assert_eq!(more.notify_one().unwrap(), 1);
            assert_eq!(manager.counts().unwrap().waiting, 1, "the first one was woken");
            victim.shoot();
            assert_eq!(waiting.join().unwrap(), 0);
        });
        await_clients(&manager, 1);
        assert_eq!((manager.counts().unwrap().waiting, *line.try_lock().unwrap()), (0, 0));
    });
}

#[test]
fn a_waiter_killed_before_it_is_notified_is_passed_over() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (line, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        let victim = Victim::start(wait_and_die, (line.clone(), more.clone()));
        await_waiting(&manager, 1);
        victim.kill(&manager);
        assert_eq!(more.notify_all().unwrap(), 0);
        assert_eq!(*line.try_lock().unwrap(), 0);
    });
}

#[test]
fn who_is_woken_is_told_of_a_holder_that_died() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (line, more) = (manager.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        let notify_and_die = |((line, more), end): ((Mutex<u32>, Condvar), End)| {
            let mut guard = line.lock().unwrap();
            *guard = 9;
            more.notify_one().unwrap();
            here(&end);
        };
        thread::scope(|scope| {
            let waiting = scope.spawn(|| match more.wait(line.lock().unwrap()) {
                Err(Failed::OwnerDied { guard, pid }) => (*guard, pid),
                other => panic!("{other:?}"),
            });
            await_waiting(&manager, 1);
            let victim = Victim::start(notify_and_die, (line.clone(), more.clone())).arrived();
            // Woken, and in line for the lock.
            await_waiting(&manager, 1);
            victim.shoot();
            assert_eq!(waiting.join().unwrap(), (0, victim.pid()));
        });
    });
}

#[test]
fn a_mutex_of_another_server_and_one_that_is_not_held_are_refused() {
    guarded(|| {
        let (manager, other) = (Manager::start().unwrap(), Manager::start().unwrap());
        let (line, more) = (other.mutex(0_u32).unwrap(), manager.condvar().unwrap());
        let refused = more.wait(line.lock().unwrap());
        assert!(matches!(refused, Err(Failed::Call(CallError::Refused(_)))), "{refused:?}");
        // It was given back.
        assert_eq!(*line.lock().unwrap(), 0);
        assert_eq!(manager.counts().unwrap().waiting, 0);
    });
}
