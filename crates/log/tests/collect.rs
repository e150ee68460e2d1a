//! Records of children in the logger of their parent: all of them, in order, whatever becomes of who wrote them.

mod memory;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use log::{Level, info};
use memory::{Got, install, take, texts};
use procession_process::{Builder, JoinError, Process, StartMethod, scope};
use procession_shm::Atomic;
use procession_testkit::{counted, guarded};

const METHODS: [StartMethod; 3] = [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork];

/// Children of rings that are not the usual ones are started under this.
static RINGS: Mutex<()> = Mutex::new(());

fn rings_of(bytes: usize) -> MutexGuard<'static, ()> {
    let turn = RINGS.lock().unwrap_or_else(PoisonError::into_inner);
    procession_log::set_capacity(bytes);
    turn
}

fn child(name: &str) -> Builder {
    install();
    // The children of these tests take no lock that a thread here may hold.
    Process::builder().name(name).allow_threads(true)
}

#[test]
fn all_has_come_when_join_returns_with_fields_whatever_the_method() {
    guarded(|| {
        for (n, method) in METHODS.into_iter().enumerate() {
            let name = format!("fields {n}");
            let task = |n: u32| {
                info!(target: "here", flag = true, n, word = "w"; "the {} of {n}", "text");
                log::debug!("is filtered where it is written");
                info!(target: "unwanted", "is filtered where it comes");
            };
            let process = child(&name).start_method(method).spawn(task, 7).unwrap();
            let pid = process.pid();
            process.join().unwrap();
            let fields = [&*format!("process={name}"), &format!("pid={pid}"), "flag=true", "n=7", "word=w"];
            let expected = Got {
                process: name.clone(),
                pid,
                level: Level::Info,
                target: "here".into(),
                file: file!().into(),
                text: "the text of 7".into(),
                fields: fields.map(str::to_owned).to_vec(),
            };
            assert_eq!(take(&name), [expected], "{method:?}");
        }
    });
}

#[test]
fn eight_children_at_full_rate_and_two_of_them_killed() {
    guarded(|| {
        const N: u64 = 6_000;
        let turn = rings_of(8 << 20);
        let children: Vec<_> = (0..8)
            .map(|n| {
                let written = Atomic::new(0_u64).unwrap();
                let name = format!("storm {n}");
                let forever = n < 2;
                let task = |(written, forever): (Atomic<u64>, bool)| {
                    for n in (0..N).chain(if forever { N..10 * N } else { 0..0 }) {
                        info!("{}", storm_text(n));
                        written.fetch_add(1);
                    }
                };
                let process = child(&name).spawn(task, (written.clone(), forever)).unwrap();
                (name, written, process, forever)
            })
            .collect();
        drop(turn);
        for (_, written, process, forever) in &children {
            while *forever && written.load() < N / 2 {
                assert!(process.is_alive());
                thread::yield_now();
            }
            if *forever {
                process.kill().unwrap();
            }
        }
        for (name, written, process, forever) in children {
            assert_eq!(process.join().is_err(), forever);
            let texts = texts(&name);
            let all_in_order_and_whole = texts.iter().zip(0..).all(|(text, n)| *text == storm_text(n));
            assert!(all_in_order_and_whole, "{name}");
            let (came, written) = (texts.len() as u64, written.load());
            let may_be_in_flight = u64::from(forever);
            assert!((written..=written + may_be_in_flight).contains(&came), "{came} of {written}");
        }
    });
}

fn storm_text(n: u64) -> String {
    format!("{n} {} {n}", "x".repeat(n as usize % 71))
}

#[test]
fn what_finds_no_room_is_counted_to_the_record() {
    guarded(|| {
        const N: u64 = 20_000;
        let turn = rings_of(4 << 10);
        let task = |()| (0..N).for_each(|n| info!("{n}"));
        let process = child("narrow").spawn(task, ()).unwrap();
        drop(turn);
        process.join().unwrap();
        let (notices, records): (Vec<_>, Vec<_>) =
            take("narrow").into_iter().partition(|got| got.target == "procession::log");
        let numbers: Vec<u64> = records.iter().map(|got| got.text.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order, none twice");
        let n_lost: u64 = notices.iter().map(first_number).sum();
        assert_eq!(numbers.len() as u64 + n_lost, N);
        assert!(n_lost > 0 && notices.iter().all(|got| got.level == Level::Warn), "{notices:?}");
    });
}

fn first_number(got: &Got) -> u64 {
    got.text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn threads_of_a_child_write_at_once() {
    guarded(|| {
        let task = |()| {
            thread::scope(|s| {
                for t in 0..4 {
                    s.spawn(move || (0..300).for_each(|n| info!("{t} {n}")));
                }
            });
        };
        let turn = rings_of(1 << 20);
        let process = child("threads").spawn(task, ()).unwrap();
        drop(turn);
        process.join().unwrap();
        let texts = texts("threads");
        assert_eq!(texts.len(), 4 * 300);
        for t in 0..4 {
            let of_one = texts.iter().filter_map(|text| text.strip_prefix(&format!("{t} ")));
            assert!(of_one.eq((0..300).map(|n| n.to_string()).collect::<Vec<_>>().iter()));
        }
    });
}

#[test]
fn panics_come_as_errors() {
    guarded(|| {
        let turn = rings_of(1 << 20);
        let task = |()| -> () {
            info!("before");
            panic!("no {}", 7);
        };
        let process = child("panicking").spawn(task, ()).unwrap();
        drop(turn);
        assert!(matches!(process.join(), Err(JoinError::Panicked(_))));
        let got = take("panicking");
        assert_eq!(
            got.iter().map(|got| &*got.text).collect::<Vec<_>>(),
            ["before", "thread 'panicking' panicked: no 7"]
        );
        assert_eq!((got[1].level, &*got[1].target, &*got[1].file), (Level::Error, "panic", file!()));
    });
}

#[test]
fn grandchildren_ship_through_their_parent() {
    guarded(|| {
        let task = |()| {
            info!("first");
            let below = Process::builder().name("tree below").spawn(|()| info!("second"), ()).unwrap();
            below.join().unwrap();
            info!("third");
        };
        let turn = rings_of(1 << 20);
        let process = child("tree").spawn(task, ()).unwrap();
        drop(turn);
        process.join().unwrap();
        let got = take("tree");
        let seen: Vec<_> = got.iter().map(|got| (&*got.process, &*got.text)).collect();
        assert_eq!(seen, [("tree", "first"), ("tree below", "second"), ("tree", "third")]);
        assert_ne!(got[0].pid, got[1].pid);
    });
}

#[test]
fn a_copy_that_a_child_forks_by_itself_writes_into_no_ring() {
    guarded(|| {
        let task = |()| {
            info!("before");
            let status = procession_testkit::forked(|| info!("from the copy"));
            assert!(status.success());
            info!("after");
        };
        let turn = rings_of(1 << 20);
        let process = child("forking").spawn(task, ()).unwrap();
        drop(turn);
        process.join().unwrap();
        assert_eq!(texts("forking"), ["before", "after"]);
    });
}

#[test]
fn a_logger_that_panics_costs_one_record() {
    guarded(|| {
        let task = |()| {
            info!(target: "panics", "one");
            info!("two");
        };
        let turn = rings_of(1 << 20);
        child("unlucky").spawn(task, ()).unwrap().join().unwrap();
        drop(turn);
        assert_eq!(texts("unlucky"), ["one", "two"]);
    });
}

#[test]
fn a_scope_and_a_drop_hand_on_as_well() {
    guarded(|| {
        let turn = rings_of(1 << 20);
        install();
        scope(|s| drop(s.spawn(|()| info!("in a scope"), ()).unwrap())).unwrap();
        let started = Atomic::new(0_u32).unwrap();
        let task = |started: Atomic<u32>| {
            info!("dropped");
            started.store(1);
            thread::park();
        };
        let process = child("dropped").spawn(task, started.clone()).unwrap();
        drop(turn);
        while started.load() == 0 {
            thread::yield_now();
        }
        drop(process);
        assert_eq!(texts("dropped"), ["dropped"]);
        assert!(texts("Process-").contains(&"in a scope".to_owned()));
    });
}

#[test]
fn nothing_is_left_of_children_that_logged() {
    let cycle = || {
        let turn = rings_of(1 << 16);
        child("counted").spawn(|()| info!("hello"), ()).unwrap().join().unwrap();
        drop(child("counted").spawn(|()| info!("hello"), ()).unwrap());
        drop(turn);
        take("counted");
    };
    counted(cycle);
}
