//! Objects of the user's traits: whose turn it is, what comes back, and what cannot be called.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use procession_codec::{Codec, Postcard, handles};
use procession_manager::{CallError, Dict, Event, Manager, RemoteProxy, remote};
use procession_pipe::{Address, AuthKey, Client, Duplex, pipe};
use procession_process::{Message, spawn};
use procession_testkit::{guarded, guarded_for};
use serde::{Deserialize, Serialize};

#[test]
fn programs() {
    guarded_for(Duration::from_secs(300), || {
        let cases = trybuild::TestCases::new();
        cases.pass("tests/remote/pass/*.rs");
        cases.compile_fail("tests/remote/fail/*.rs");
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Overdrawn {
    by: i64,
}

#[remote]
trait Bank {
    /// Answers what there is.
    fn deposit(&mut self, cents: i64) -> i64;
    fn withdraw(&mut self, cents: i64) -> Result<i64, Overdrawn>;
    fn balance(&self) -> i64;
    fn lines(&self, name: &str, numbers: &[u8], path: &Path, pair: &(u8, String)) -> String;
    fn break_in(&mut self, loud: bool);
    fn complain(&self);
    fn nothing(&self) {}
    fn pid(&self) -> u32 {
        std::process::id()
    }
    fn hidden(&self) -> u8
    where
        Self: Sized,
    {
        7
    }
}

struct Vault(i64);

impl Bank for Vault {
    fn deposit(&mut self, cents: i64) -> i64 {
        self.0 += cents;
        self.0
    }

    fn withdraw(&mut self, cents: i64) -> Result<i64, Overdrawn> {
        if cents > self.0 {
            return Err(Overdrawn { by: cents - self.0 });
        }
        self.0 -= cents;
        Ok(self.0)
    }

    fn balance(&self) -> i64 {
        self.0
    }

    fn lines(&self, name: &str, numbers: &[u8], path: &Path, pair: &(u8, String)) -> String {
        format!("{name} {numbers:?} {} {pair:?}", path.display())
    }

    fn break_in(&mut self, loud: bool) {
        self.0 = -1;
        assert!(!loud, "the door is open");
    }

    fn complain(&self) {
        panic!("too little");
    }
}

fn vault(cents: i64) -> Box<dyn Bank> {
    Box::new(Vault(cents))
}

fn await_objects(manager: &Manager, n: u64) {
    while manager.counts().unwrap().objects != n {
        thread::yield_now();
    }
}

#[test]
fn methods_run_in_the_server_and_errors_come_back_as_themselves() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let bank = manager.register(vault, 100).unwrap();
        assert_eq!(bank.deposit(5).unwrap(), 105);
        assert_eq!(bank.withdraw(200).unwrap(), Err(Overdrawn { by: 95 }));
        assert_eq!(bank.withdraw(5).unwrap(), Ok(100));
        assert_eq!(bank.balance().unwrap(), 100);
        assert_eq!(bank.pid().unwrap(), manager.pid());
        bank.nothing().unwrap();
        let name = String::from("Ada");
        let lines = bank.lines(&name, &[1, 2], Path::new("/tmp"), &(3, "x".into())).unwrap();
        assert_eq!(lines, "Ada [1, 2] /tmp (3, \"x\")");
        assert_eq!(Vault(1).hidden(), 7);
    });
}

#[test]
fn a_proxy_is_a_value_like_others() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let bank = manager.register(vault, 0).unwrap();
        let by_name = manager.dict::<String, BankProxy>().unwrap();
        by_name.insert("bank".into(), bank.clone()).unwrap();
        let teller = |by_name: Dict<String, BankProxy>| {
            let bank = by_name.get("bank").unwrap().unwrap();
            for _ in 0..50 {
                bank.deposit(1).unwrap();
            }
            bank
        };
        let tellers: Vec<_> = (0..3).map(|_| spawn(teller, by_name.clone()).unwrap()).collect();
        for teller in tellers {
            assert!(teller.join().unwrap().is_same(&bank));
        }
        assert_eq!(bank.balance().unwrap(), 150);
        drop(bank);
        assert_eq!(by_name.get("bank").unwrap().unwrap().balance().unwrap(), 150);
        await_objects(&manager, 2);
        drop(by_name);
        await_objects(&manager, 0);
    });
}

#[test]
fn a_killed_client_leaves_nothing_and_a_message_keeps_the_object() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let (ours, theirs) = pipe::<BankProxy, bool>().unwrap();
        ours.send(&manager.register(vault, 1).unwrap()).unwrap();
        let task = |end: Duplex<bool, BankProxy>| -> () {
            let bank = end.recv().unwrap();
            end.send(&(bank.balance().unwrap() == 1)).unwrap();
            loop {
                thread::park();
            }
        };
        let child = spawn(task, theirs).unwrap();
        assert!(ours.recv().unwrap());
        assert_eq!(manager.counts().unwrap().objects, 1);
        child.kill().unwrap();
        assert!(child.join().is_err());
        await_objects(&manager, 0);
    });
}

#[test]
fn a_panic_tells_of_both_sides_and_poisons_only_what_it_could_change() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let bank = manager.register(vault, 10).unwrap();
        let CallError::Panicked(panic) = bank.complain().unwrap_err() else { panic!("something else") };
        assert_eq!(panic.server.message, "too little");
        assert!(panic.server.location.contains("tests/remote.rs"), "{}", panic.server.location);
        assert!(!panic.server.backtrace.is_empty());
        assert!(panic.caller.to_string().contains("a_panic_tells_of_both_sides"), "{panic:?}");
        assert!(!bank.is_poisoned().unwrap());
        bank.break_in(false).unwrap();
        assert_eq!(bank.deposit(11).unwrap(), 10);
        assert!(matches!(bank.break_in(true), Err(CallError::Panicked(_))));
        assert!(bank.is_poisoned().unwrap());
        for lost in [bank.balance().unwrap_err(), bank.deposit(1).unwrap_err()] {
            assert!(matches!(&lost, CallError::Poisoned(why) if why.contains("the door is open")), "{lost}");
        }
        // Others are as they were.
        assert_eq!(manager.register(vault, 1).unwrap().balance().unwrap(), 1);
        bank.clear_poison().unwrap();
        assert_eq!(bank.balance().unwrap(), -1);
    });
}

#[test]
fn a_constructor_may_panic_and_take_its_time() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let lost = manager.register(|n: u8| -> Box<dyn Bank> { panic!("no {n}") }, 7).unwrap_err();
        assert!(matches!(&lost, CallError::Panicked(panic) if panic.server.message == "no 7"), "{lost}");
        assert_eq!(manager.counts().unwrap().objects, 0);
    });
}

/// Another version of `Bank`, under the same name.
mod other {
    use procession_manager::remote;

    #[remote]
    pub(super) trait Bank {
        fn balance(&self) -> i64;
        fn deposit(&mut self, cents: u32) -> i64;
        fn rob(&mut self) -> i64;
        fn hidden(&self) -> u8;
    }

    #[remote(proxy = Shop)]
    pub(super) trait Store {
        fn balance(&self) -> i64;
    }
}

/// What arrives when `proxy` is sent to who takes it for a `P`.
fn taken_for<P: Message>(proxy: BankProxy) -> Result<P, String> {
    let (ours, theirs) = procession_pipe::Connection::pair().unwrap();
    ours.into_duplex::<BankProxy, ()>().send(&proxy).unwrap();
    theirs.into_duplex::<(), P>().recv().map_err(|error| error.to_string())
}

#[test]
fn another_version_of_the_trait_is_told_by_name() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let bank = manager.register(vault, 3).unwrap();
        let old = taken_for::<other::BankProxy>(bank.clone()).unwrap();
        // What both have.
        assert_eq!(old.balance().unwrap(), 3);
        let CallError::OtherVersion { ours, theirs } = old.deposit(1).unwrap_err() else {
            panic!("something else")
        };
        assert_eq!((&*ours, &*theirs), ("Bank::deposit(u32)->i64", "Bank::deposit(i64)->i64"));
        let unknown = old.rob().unwrap_err();
        assert!(
            matches!(&unknown, CallError::UnknownMethod { method } if method == "Bank::rob"),
            "{unknown}"
        );
        // It is in the trait, and not for callers from afar.
        assert!(matches!(old.hidden(), Err(CallError::UnknownMethod { .. })));
        let wrong = taken_for::<other::Shop>(bank.clone()).unwrap_err();
        assert!(wrong.contains("a proxy of kind Remote"), "{wrong}");
        assert!(taken_for::<Dict<u8, u8>>(bank.clone()).is_err());
        assert_eq!(bank.balance().unwrap(), 3);
    });
}

/// A place where calls meet, for tests of whose turn it is.
#[remote]
trait Hall {
    fn look(&self, come: &Event, go: &Event) -> u32;
    fn change(&mut self, come: &Event, go: &Event) -> u32;
    fn most(&self) -> u32;
}

#[derive(Default)]
struct Place {
    now: AtomicU32,
    most: AtomicU32,
}

impl Place {
    fn visit(&self, come: &Event, go: &Event) -> u32 {
        let n = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(n, Ordering::SeqCst);
        come.set().unwrap();
        go.wait().unwrap();
        self.now.fetch_sub(1, Ordering::SeqCst)
    }
}

impl Hall for Place {
    fn look(&self, come: &Event, go: &Event) -> u32 {
        self.visit(come, go)
    }

    fn change(&mut self, come: &Event, go: &Event) -> u32 {
        self.visit(come, go)
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

fn hall((): ()) -> Box<dyn Hall> {
    Box::<Place>::default()
}

#[test]
fn shared_calls_run_together_and_exclusive_ones_alone() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let hall = manager.register(hall, ()).unwrap();
        let event = || manager.event().unwrap();
        let (go, come) = (event(), [event(), event(), event(), event()]);
        thread::scope(|scope| {
            for come in &come[..2] {
                scope.spawn(|| hall.look(come, &go).unwrap());
            }
            // Both are inside at the same time.
            come[..2].iter().for_each(|come| come.wait().unwrap());
            // One that changes has to wait for them, and is not begun when it gives up.
            let late = hall.within(Duration::from_millis(1)).change(&come[3], &go);
            assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
            let changing = scope.spawn(|| hall.change(&come[2], &event()));
            // And who comes after it waits behind it, until it is inside.
            go.set().unwrap();
            come[2].wait().unwrap();
            let late = hall.within(Duration::from_millis(1)).most();
            assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
            // While the call is carried out the server serves all else. Who gave up was before it, and never began.
            assert!(!come[3].is_set().unwrap());
            manager.shutdown(Duration::from_secs(5));
            assert!(matches!(changing.join().unwrap(), Err(CallError::ServerGone { .. })));
        });
    });
}

#[test]
fn what_a_dead_client_waited_for_is_not_carried_out() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let hall = manager.register(hall, ()).unwrap();
        let (come, go, never) =
            (manager.event().unwrap(), manager.event().unwrap(), manager.event().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| hall.look(&come, &go).unwrap());
            come.wait().unwrap();
            let task = |(hall, never, end): (HallProxy, Event, Duplex<(), ()>)| -> () {
                let asked = (hall.clone(), never.clone());
                thread::spawn(move || asked.0.change(&asked.1, &asked.1));
                // Beside the one that looks, until the call above is in the queue before it.
                while hall.within(Duration::from_millis(200)).most().is_ok() {}
                end.send(&()).unwrap();
                loop {
                    thread::park();
                }
            };
            let (ours, theirs) = pipe::<(), ()>().unwrap();
            let child = spawn(task, (hall.clone(), never.clone(), theirs)).unwrap();
            ours.recv().unwrap();
            child.kill().unwrap();
            assert!(child.join().is_err());
            while manager.counts().unwrap().clients > 2 {
                thread::yield_now();
            }
            go.set().unwrap();
        });
        // It would have come before this one.
        hall.most().unwrap();
        assert!(!never.is_set().unwrap());
    });
}

/// With parameters.
#[remote]
trait Store<K, V> {
    fn put(&mut self, key: K, value: V) -> Option<V>;
    fn all(&self) -> Vec<(K, V)>;
    fn with(&self, keys: &[K]) -> usize;
}

impl<K: PartialEq + Clone + Send + Sync, V: Clone + Send + Sync> Store<K, V> for Vec<(K, V)> {
    fn put(&mut self, key: K, value: V) -> Option<V> {
        match self.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.push((key, value));
                None
            }
        }
    }

    fn all(&self) -> Vec<(K, V)> {
        self.clone()
    }

    fn with(&self, keys: &[K]) -> usize {
        self.iter().filter(|(key, _)| keys.contains(key)).count()
    }
}

fn store<K, V>((): ()) -> Box<dyn Store<K, V>>
where
    K: PartialEq + Clone + Message + Send + Sync + 'static,
    V: Clone + Message + Send + Sync + 'static,
{
    Box::<Vec<(K, V)>>::default()
}

#[test]
fn parameters_of_the_trait_are_those_of_the_proxy() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let words: StoreProxy<String, u32> = manager.register(store, ()).unwrap();
        assert_eq!(words.put("a".into(), 1).unwrap(), None);
        assert_eq!(words.put("a".into(), 2).unwrap(), Some(1));
        assert_eq!(words.with(&["a".into(), "b".into()]).unwrap(), 1);
        let nested: StoreProxy<u8, StoreProxy<String, u32>> = manager.register(store, ()).unwrap();
        nested.put(1, words).unwrap();
        let all = nested.all().unwrap();
        assert_eq!(all[0].1.all().unwrap(), [("a".to_owned(), 2)]);
    });
}

/// Whose drop is told.
#[remote]
trait Keeper {
    fn keep(&self);
}

struct Telling(Event);

impl Keeper for Telling {
    fn keep(&self) {}
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.set().unwrap();
        panic!("as it went");
    }
}

#[test]
fn an_object_is_dropped_with_its_last_proxy_and_may_panic_then() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let dropped = manager.event().unwrap();
        let make = |event: Event| -> Box<dyn Keeper> { Box::new(Telling(event)) };
        for _ in 0..3 {
            dropped.clear().unwrap();
            let keeper = manager.register(make, dropped.clone()).unwrap();
            keeper.keep().unwrap();
            drop(keeper);
            dropped.wait().unwrap();
        }
        await_objects(&manager, 1);
    });
}

/// The entrance of the server of a proxy, and its key: the first two words of it.
fn entrance(bank: &BankProxy) -> (Address, AuthKey) {
    let mut bytes = Vec::new();
    drop(handles::collect(|| Postcard::encode_into(bank, &mut bytes)).unwrap());
    let ((name, key), ..) = Postcard::decode::<((u128, [u8; 16]), u64, (u32, u64), u32)>(&bytes).unwrap();
    (Address::Abstract(format!("procession-manager-{name:032x}")), AuthKey::from_bytes(key).unwrap())
}

#[test]
fn functions_of_strangers_are_not_called() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let bank = manager.register(vault, 1).unwrap();
        let (address, key) = entrance(&bank);
        let stranger = Client::builder().key(key).connect(&address).unwrap();
        // Request 3, of the server, to be of version 1.
        stranger.send_bytes(&[3, 0, 0, 1]).unwrap();
        stranger.recv_bytes().unwrap();
        for len in [0, 39, 40, 41] {
            // Request 4, of the server, to make an object of a trait (1, 14), of number 7, by this token, of nothing.
            let request = [&[4, 0, 1, 14, 7, len][..], &vec![0x55; len.into()], &[0, 0]].concat();
            stranger.send_bytes(&request).unwrap();
            let answer = stranger.recv_bytes().unwrap();
            assert!(matches!(answer[..], [4, _]), "{len}: {answer:?}");
        }
        assert_eq!(manager.counts().unwrap().objects, 1);
        assert_eq!(bank.balance().unwrap(), 1);
    });
}
