//! Values between threads and processes: nothing is lost, nothing is torn, and what is not committed does not count.
#![forbid(unsafe_code)]

mod handed;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use handed::{got, role_with};
use procession_shm::domain::Domain;
use procession_shm::{Atomic, Nameable, Plain, Shape, Shared, Value, ValueError};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, guarded, role};
use support::travel;

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
struct Account {
    cents: i64,
    entries: u64,
}

#[derive(Clone, Shared)]
struct Bank {
    open: Atomic<bool>,
    accounts: [Value<Account>; 2],
    note: Value<[u8; 33]>,
}

fn there_and_back<const N: usize>() {
    let pattern: [u8; N] = std::array::from_fn(|at| (at as u8).wrapping_add(1));
    let value = Value::new([0; N]).unwrap();
    assert_eq!(value.get(), [0; N]);
    for add in 0..3 {
        let pattern = pattern.map(|byte| byte.wrapping_add(add));
        value.set(pattern).unwrap();
        assert_eq!((value.get(), *value.lock().unwrap()), (pattern, pattern));
    }
}

#[test]
fn values_of_all_sizes_come_back_as_they_were() {
    guarded(|| {
        there_and_back::<0>();
        there_and_back::<1>();
        there_and_back::<7>();
        there_and_back::<8>();
        there_and_back::<9>();
        there_and_back::<24>();
        there_and_back::<64>();
        there_and_back::<1001>();
        assert_eq!(Value::<u64>::SHAPE.len(), 64);
        assert_eq!(Value::<[u8; 24]>::SHAPE.len(), 64);
        assert_eq!(Value::<[u8; 25]>::SHAPE.len(), 128);
        let other: [Shape; 3] = [Value::<u64>::SHAPE, Value::<i64>::SHAPE, Atomic::<u64>::SHAPE];
        assert!(other[1..].iter().all(|shape| shape.fingerprint() != other[0].fingerprint()));
    });
}

#[test]
fn every_way_to_write_is_seen_by_every_handle() {
    counted(|| {
        let value = Value::new(Account::default()).unwrap();
        let other: Value<Account> = travel(&value);
        let soon = || Instant::now() + LIMIT;
        let with = |cents| Account { cents, entries: 0 };
        value.set(with(1)).unwrap();
        assert_eq!(other.swap(with(2)).unwrap(), with(1));
        other.try_set(with(3)).unwrap();
        other.set_timeout(with(4), LIMIT).unwrap();
        assert_eq!(value.get(), with(4));
        other.set_until(with(5), soon()).unwrap();
        let add = |a: &mut Account| {
            a.cents += 1;
            a.cents
        };
        assert_eq!(value.update(add), Ok(6));
        assert_eq!(other.try_update(add), Ok(7));
        assert_eq!(value.update_timeout(LIMIT, add), Ok(8));
        assert_eq!(other.update_until(soon(), add), Ok(9));
        value.lock().unwrap().cents += 1;
        other.try_lock().unwrap().cents += 1;
        value.lock_timeout(LIMIT).unwrap().cents += 1;
        other.lock_until(soon()).unwrap().cents += 1;
        assert_eq!(
            (value.get(), format!("{other:?}")),
            (with(13), "Value(Account { cents: 13, entries: 0 })".into())
        );
    });
}

#[test]
fn parts_of_a_struct_are_values_too_and_the_whole_can_have_a_name() {
    guarded(|| {
        let init = |cents| Account { cents, entries: 1 };
        let bank = Bank::create((true, [init(5), init(6)], [7; 33])).unwrap();
        let other: Bank = travel(&bank);
        let second: Value<Account> = travel(&other.accounts[1]);
        second.update(|a| a.cents *= 10).unwrap();
        assert_eq!((bank.accounts[0].get(), bank.accounts[1].get()), (init(5), init(60)));
        assert_eq!((bank.open.load(), bank.note.get()), (true, [7; 33]));
        let name = format!("value.{}", std::process::id());
        let owner = bank.accounts[0].clone();
        assert!(owner.publish(&name).is_err(), "a part");
        let value = Value::new(3_u8).unwrap().publish(&name).unwrap();
        Value::<u8>::open_named(&name).unwrap().set(4).unwrap();
        assert_eq!(value.get(), 4);
    });
}

#[test]
fn a_guard_is_seen_when_it_is_dropped_and_not_when_it_is_discarded() {
    guarded(|| {
        let value = Value::new([1, 2]).unwrap();
        let mut guard = value.lock().unwrap();
        guard[0] = 10;
        assert_eq!((*guard, value.get()), ([10, 2], [1, 2]));
        drop(guard);
        assert_eq!(value.get(), [10, 2]);
        let mut guard = value.lock().unwrap();
        *guard = [0; 2];
        guard.discard();
        assert_eq!(value.try_update(|v| *v), Ok([10, 2]));
    });
}

#[test]
fn a_panic_leaves_the_old_value_and_the_lock_free() {
    guarded(|| {
        let value = Value::new(1).unwrap();
        let with_guard = || {
            let mut guard = value.lock().unwrap();
            *guard = 2;
            panic!("on purpose");
        };
        let in_update = || {
            value.update(|n| {
                *n = 3;
                panic!("on purpose");
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(with_guard)).is_err());
        assert_eq!((value.get(), value.try_update(|n| *n)), (1, Ok(1)));
        assert!(catch_unwind(AssertUnwindSafe(in_update)).is_err());
        assert_eq!((value.get(), value.try_update(|n| *n)), (1, Ok(1)));

        struct Writes<'a>(&'a Value<i32>);
        impl Drop for Writes<'_> {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = 4;
            }
        }
        // A guard taken while the thread unwinds already is like any other.
        let unwinds = || {
            let _writes = Writes(&value);
            panic!("on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(unwinds)).is_err());
        assert_eq!(value.get(), 4);
    });
}

#[test]
fn who_cannot_have_the_lock_hears_why_and_reads_all_the_same() {
    if role().is_some() {
        // A domain in which one thread has a place.
        Domain::adopt(roles::handed("domain")).unwrap();
        let value = Value::new(1).unwrap();
        value.set(2).unwrap();
        return thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!((value.get(), value.set(3)), (2, Err(ValueError::NoSlot)));
                assert_eq!(value.update(|n| *n).unwrap_err().to_string(), ValueError::NoSlot.to_string());
            });
        });
    }
    guarded(|| {
        let value = Value::new(1).unwrap();
        let guard = value.lock().unwrap();
        assert_eq!((value.set(2), value.get()), (Err(ValueError::Deadlock), 1));
        assert!(matches!(value.lock(), Err(ValueError::Deadlock)));
        thread::scope(|scope| {
            scope.spawn(|| {
                let error = value.try_set(2).unwrap_err();
                assert!(error.to_string().contains(&format!("of process {}", std::process::id())), "{error}");
                assert!(matches!(
                    value.lock_timeout(Duration::from_millis(1)),
                    Err(ValueError::TimedOut { .. })
                ));
                assert!(matches!(value.try_update(|n| *n), Err(ValueError::TimedOut { holder: Some(_) })));
                assert_eq!(value.get(), 1);
            });
        });
        drop(guard);
        let domain = Domain::with_slots(1).unwrap();
        let fd = std::os::fd::AsFd::as_fd(&domain).try_clone_to_owned().unwrap();
        Role::new("crowded").hand("domain", fd).spawn().wait_with_output(LIMIT).expect_success();
    });
}

#[test]
fn threads_and_processes_add_and_nothing_is_lost() {
    const EACH: u64 = 20_000;
    let add = |value: &Value<Account>| {
        for n in 0..EACH {
            if n % 2 == 0 {
                value.update(|a| (a.cents, a.entries) = (a.cents - 2, a.entries + 1)).unwrap();
            } else {
                let mut guard = value.lock().unwrap();
                guard.cents -= 2;
                guard.entries += 1;
            }
        }
    };
    if role().is_some() {
        return add(&got());
    }
    guarded(|| {
        let value = Value::new(Account::default()).unwrap();
        let children = [(); 2].map(|()| role_with("adder", &value).spawn());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| add(&value));
            }
        });
        for child in children {
            child.wait_with_output(LIMIT).expect_success();
        }
        assert_eq!(value.get(), Account { cents: -8 * EACH as i64, entries: 4 * EACH });
    });
}

/// Large enough that a reader is overtaken often, and has to take the lock.
type Large = [u64; 200];

#[test]
fn no_reader_ever_sees_two_halves() {
    const READS: u64 = 20_000;
    if let Some(role) = role() {
        let value: Value<Large> = got();
        let mine = role.parse::<u64>().unwrap() << 32;
        roles::say("writing");
        for n in 0.. {
            if value.set([mine | n; 200]).is_err() {
                return;
            }
        }
    }
    guarded(|| {
        let value = Value::<Large>::new([0; 200]).unwrap();
        let mut writers = ["1", "2"].map(|number| role_with(number, &value).spawn());
        for writer in &mut writers {
            assert_eq!(writer.hear(LIMIT).as_deref(), Some("writing"));
        }
        let mut changes = 0;
        let mut last = value.get()[0];
        for _ in 0..READS {
            let seen = value.get();
            assert!(seen.iter().all(|word| *word == seen[0]), "{seen:x?}");
            changes += u64::from(seen[0] != last);
            last = seen[0];
        }
        assert!(changes > 10, "the writers did not run: {changes}");
        for writer in &mut writers {
            writer.kill();
        }
    });
}

#[test]
fn a_killed_guard_leaves_the_old_value_and_its_lock_to_the_next() {
    if role().is_some() {
        let value: Value<Account> = got();
        let mut guard = value.lock().unwrap();
        guard.cents = 99;
        roles::say("locked");
        let _ = roles::hear();
        return;
    }
    guarded(|| {
        let before = Account { cents: 1, entries: 2 };
        let value = Value::new(before).unwrap();
        let mut holder = role_with("holder", &value).spawn();
        assert_eq!(holder.hear(LIMIT).as_deref(), Some("locked"));
        let pid = holder.identity().pid();
        match value.try_lock() {
            Err(ValueError::TimedOut { holder: Some(holder) }) => assert_eq!(holder.pid(), pid),
            other => panic!("{other:?}"),
        }
        assert_eq!(value.get(), before);
        // One is asleep when the holder dies.
        let asleep = Barrier::new(2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                asleep.wait();
                value.update(|a| a.entries += 1)
            });
            asleep.wait();
            holder.kill();
            assert_eq!(waiter.join().unwrap(), Ok(()));
        });
        assert_eq!(value.get(), Account { cents: 1, entries: 3 });
        assert_eq!(value.try_set(before), Ok(()));
    });
}
