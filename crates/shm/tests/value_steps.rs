//! Kill points: a thread that writes a value, an encoded value or an item of a list is killed wherever bytes changed.
//!
//! Whatever the moment: the value is the old one or the new one, whole, and a survivor takes the lock and writes.
//! `PROCESSION_LONG` tries every instruction.
#![forbid(unsafe_code)]

mod handed;

use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;

use handed::{got, role_with};
use procession_shm::domain::TICK;
use procession_shm::{Encoded, Item, List, Value};
use procession_testkit::roles::Role;
use procession_testkit::step::{self, Outcome};
use procession_testkit::{guarded, guarded_for, need, role};

const LIMIT: Duration = Duration::from_secs(60);
/// 64 bytes.
type Block = [u64; 8];
const OLD: Block = [0x1111; 8];
const NEW: Block = [0x2222; 8];

fn old_text() -> String {
    "old ".repeat(20)
}

fn new_text() -> String {
    "new!".repeat(18)
}

/// What the victims do, and what is there before it and after it.
trait Act {
    type Seen: PartialEq + std::fmt::Debug;
    fn fresh() -> Self;
    fn role(&self, name: &str) -> Role;
    fn victim(name: &str);
    fn look(&self) -> Self::Seen;
    /// Old, new, and what a survivor writes.
    fn states() -> [Self::Seen; 3];
    /// As a survivor.
    fn write_third(&self);
}

impl Act for Value<Block> {
    type Seen = Block;

    fn fresh() -> Self {
        Self::new(OLD).unwrap()
    }

    fn role(&self, name: &str) -> Role {
        role_with(name, self)
    }

    fn victim(name: &str) {
        let value: Self = got();
        // Takes a place in the domain outside of the window.
        value.set(OLD).unwrap();
        match name {
            "updates" => {
                step::here();
                value.update(|v| *v = NEW).unwrap();
                step::end();
            }
            "drops a guard" => {
                let mut guard = value.lock().unwrap();
                *guard = NEW;
                step::here();
                drop(guard);
                step::end();
            }
            other => panic!("no role {other}"),
        }
    }

    fn look(&self) -> Block {
        self.get()
    }

    fn states() -> [Block; 3] {
        [OLD, NEW, [0x3333; 8]]
    }

    fn write_third(&self) {
        // The old value under the lock is whole, too.
        let before = self.update(|v| std::mem::replace(v, [0x3333; 8])).unwrap();
        assert!(before == OLD || before == NEW, "{before:x?}");
    }
}

impl Act for Encoded<String> {
    type Seen = String;

    fn fresh() -> Self {
        Self::with_capacity(128, &old_text()).unwrap()
    }

    fn role(&self, name: &str) -> Role {
        role_with(name, self)
    }

    fn victim(_: &str) {
        let (value, new): (Self, _) = (got(), new_text());
        value.set(&old_text()).unwrap();
        step::here();
        value.set(&new).unwrap();
        step::end();
    }

    fn look(&self) -> String {
        self.get().unwrap()
    }

    fn states() -> [String; 3] {
        [old_text(), new_text(), "third".into()]
    }

    fn write_third(&self) {
        self.update(|text| *text = "third".into()).unwrap();
    }
}

impl Act for List {
    type Seen = Item;

    fn fresh() -> Self {
        Self::from_items([1.into(), old_text().into(), 2.into()]).unwrap()
    }

    fn role(&self, name: &str) -> Role {
        role_with(name, self)
    }

    fn victim(_: &str) {
        let (list, new): (Self, _) = (got(), new_text());
        list.set(1, old_text()).unwrap();
        step::here();
        list.set(1, new).unwrap();
        step::end();
    }

    fn look(&self) -> Item {
        assert_eq!((self.get(0).unwrap(), self.get(2).unwrap()), (1.into(), 2.into()));
        self.get(1).unwrap()
    }

    fn states() -> [Item; 3] {
        [old_text().into(), new_text().into(), 2.5.into()]
    }

    fn write_third(&self) {
        self.set(1, 2.5).unwrap();
    }
}

fn survivors_go_on<A: Act>(act: &A, n: u64) -> bool {
    let [old, new, third] = A::states();
    let seen = act.look();
    assert!(seen == old || seen == new, "after {n} instructions: {seen:?}");
    act.write_third();
    assert_eq!(act.look(), third, "after {n} instructions");
    seen == new
}

fn sweep<A: Act>(name: &str) {
    if !need("ptrace") {
        return;
    }
    let fresh = RefCell::new(A::fresh());
    let mut n_new = 0;
    let start = || {
        fresh.replace(A::fresh());
        fresh.borrow().role(name).into_command()
    };
    let kills = step::sweep_changes(&scenario::<A>(name), start, |n, outcome| {
        let is_new = survivors_go_on(&*fresh.borrow(), n);
        n_new += u64::from(is_new && outcome == Outcome::Killed);
    });
    assert!((1..kills.n_killed).contains(&n_new), "{kills}, {n_new} with the new value");
}

/// What is done to what.
fn scenario<A>(name: &str) -> String {
    let place = std::any::type_name::<A>().replace("alloc::string::", "").replace("procession_shm::", "");
    let place = place.rsplit("::").next().unwrap_or_default();
    format!("{name}: {place}")
}

/// Sweeps in a role of its own, so that the survivors' tick is short.
fn with_a_short_tick<A: Act>(name: &str) {
    match role().as_deref() {
        Some("sweeper") => guarded_for(LIMIT * 60, || sweep::<A>(name)),
        Some(victim) => A::victim(victim),
        None => guarded_for(LIMIT * 60, || {
            let output = Role::new("sweeper").env(TICK, "1").spawn().wait_with_output(LIMIT * 60);
            let _ = write!(std::io::stderr(), "{}", output.expect_success().stderr);
            guarded(|| {
                // As it is, without a tracer: it ends well, and what it wrote is there.
                let act = A::fresh();
                act.role(name).spawn().wait_with_output(LIMIT).expect_success();
                assert_eq!(act.look(), A::states()[1]);
            });
        }),
    }
}

#[test]
fn updating_a_value() {
    with_a_short_tick::<Value<Block>>("updates");
}

#[test]
fn dropping_a_guard() {
    with_a_short_tick::<Value<Block>>("drops a guard");
}

#[test]
fn setting_an_encoded_value() {
    with_a_short_tick::<Encoded<String>>("sets");
}

#[test]
fn setting_an_item_of_a_list() {
    with_a_short_tick::<List>("sets");
}
