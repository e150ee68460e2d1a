//! Waiting for a child, and who gets its value.

use std::thread;
use std::time::{Duration, Instant};

use procession_process::{Exit, JoinError, Process, Signal};
use procession_sys::Deadline;
use procession_sys::poll::{self, Interest};
use procession_sys::wait::any as wait;

use super::{PATIENCE, Start, await_start, expected, gate, hold, is_taken};

const SHORT: Duration = Duration::from_millis(2);

pub(crate) fn joining_in_every_form(start: Start) {
    type Join = fn(&Process<u8>) -> Result<Option<u8>, JoinError>;
    let joins: [Join; 3] = [
        |child| child.wait().map_err(JoinError::from).and_then(|_| child.try_join()),
        |child| child.join_timeout(PATIENCE),
        |child| child.join_until(Instant::now() + PATIENCE),
    ];
    for (n, join) in (10..).zip(joins) {
        let (ours, theirs) = gate();
        let child = start().spawn(hold, theirs).unwrap();
        await_start(&ours);
        assert_eq!(child.try_join().unwrap(), None);
        assert_eq!(child.join_timeout(SHORT).unwrap(), None);
        assert_eq!(child.join_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!(child.join_until(Instant::now()).unwrap(), None);
        ours.send(&n).unwrap();
        assert_eq!(join(&child).unwrap(), Some(n));
        assert!(is_taken(&child.try_join()));
        assert!(is_taken(&child.join_timeout(PATIENCE)));
        assert!(is_taken(&child.join_until(Instant::now())));
        let text = format!("the value of process {} (pid {}) was taken", child.name(), child.pid());
        let error = child.join().unwrap_err();
        assert!(error.to_string().starts_with(&text), "{error}");
    }
}

pub(crate) fn waiting_leaves_the_value(start: Start) {
    let (ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    await_start(&ours);
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(SHORT).unwrap(), None);
    assert_eq!(child.wait_until(Instant::now() + SHORT).unwrap(), None);
    ours.send(&3).unwrap();
    assert_eq!(child.wait_until(Instant::now() + PATIENCE).unwrap(), Some(Exit::Code(0)));
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), Some(Exit::Code(0)));
    assert_eq!(child.try_wait().unwrap(), Some(Exit::Code(0)));
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
    assert_eq!(child.join().unwrap(), 3);
}

pub(crate) fn errors_are_taken_once_too(start: Start) {
    let child = start().spawn(|code: i32| -> u8 { std::process::exit(code) }, 3).unwrap();
    expected!(child.join_timeout(PATIENCE), Err(JoinError::Exited { code: 3, .. }));
    assert!(is_taken(&child.try_join()));
    assert_eq!(child.wait().unwrap(), Exit::Code(3), "how it ended can be asked for ever");
}

pub(crate) fn one_of_many_gets_the_value(start: Start) {
    let (ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    await_start(&ours);
    thread::scope(|s| {
        let waiting: Vec<_> = (0..4).map(|_| s.spawn(|| child.wait().unwrap())).collect();
        let joining: Vec<_> = (0..8).map(|_| s.spawn(|| child.join_timeout(PATIENCE))).collect();
        ours.send(&77).unwrap();
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == Exit::Code(0)));
        let answers: Vec<_> = joining.into_iter().map(|thread| thread.join().unwrap()).collect();
        let values: Vec<u8> = answers.iter().filter_map(|a| *a.as_ref().unwrap_or(&None)).collect();
        assert_eq!(values, [77]);
        assert_eq!(answers.iter().filter(|answer| is_taken(answer)).count(), 7, "{answers:?}");
    });
}

/// Waiting, polling, asking and joining at once, from many threads: all are told the same end, and one gets the outcome.
pub(crate) fn any_number_may_ask_at_once(start: Start) {
    type Ask = fn(&Process<u8>) -> Exit;
    const ASKS: [Ask; 6] = [
        |child| child.wait().unwrap(),
        |child| child.wait_timeout(PATIENCE).unwrap().unwrap(),
        |child| loop {
            if let Some(exit) = child.try_wait().unwrap() {
                return exit;
            }
            thread::yield_now();
        },
        |child| {
            while child.is_alive() {
                thread::yield_now();
            }
            child.try_wait().unwrap().unwrap()
        },
        |child| {
            assert!(poll::one(child, Interest::Readable, Deadline::after(PATIENCE)).unwrap());
            child.wait().unwrap()
        },
        |child| {
            assert_eq!(wait(&[child], Deadline::after(PATIENCE)).unwrap(), [0]);
            child.wait().unwrap()
        },
    ];
    for killed in [true, false] {
        let (ours, theirs) = gate();
        let child = start().spawn(hold, theirs).unwrap();
        await_start(&ours);
        let child = &child;
        thread::scope(|s| {
            let asking: Vec<_> =
                ASKS.into_iter().cycle().take(18).map(|ask| s.spawn(move || ask(child))).collect();
            let joining: Vec<_> = (0..6).map(|_| s.spawn(|| child.join_timeout(PATIENCE))).collect();
            if killed {
                child.kill().unwrap();
            } else {
                ours.send(&9).unwrap();
            }
            let ends: Vec<_> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
            let told = if killed { Some(-9) } else { Some(0) };
            assert!(ends.iter().all(|exit| exit.code() == told), "{ends:?}");
            let answers: Vec<_> = joining.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(answers.iter().filter(|answer| is_taken(answer)).count(), 5, "{answers:?}");
            match answers.into_iter().find(|answer| !is_taken(answer)) {
                Some(Ok(value)) => assert!(!killed && value == Some(9)),
                Some(Err(error)) => assert_eq!(error.signal(), killed.then_some(Signal::KILL), "{error}"),
                None => unreachable!("one of six was not refused"),
            }
        });
    }
}

pub(crate) fn alive_until_it_ends(start: Start) {
    let (ours, theirs) = gate();
    let child = start().spawn(hold, theirs).unwrap();
    assert!(child.is_alive(), "before its task runs");
    await_start(&ours);
    assert!(child.is_alive(), "while its task runs");
    ours.send(&1).unwrap();
    child.wait().unwrap();
    assert!(!child.is_alive());
    assert!(format!("{child:?}").contains("Code(0)"), "{child:?}");
}

pub(crate) fn the_descriptor_is_readable_at_death(start: Start) {
    for killed in [true, false] {
        let (ours, theirs) = gate();
        let child = start().spawn(hold, theirs).unwrap();
        await_start(&ours);
        assert!(!poll::one(&child, Interest::Readable, Deadline::after(SHORT)).unwrap(), "it lives");
        if killed {
            child.kill().unwrap();
        } else {
            ours.send(&1).unwrap();
        }
        assert!(poll::one(&child, Interest::Readable, Deadline::after(PATIENCE)).unwrap(), "it is dead");
        child.wait().unwrap();
        assert!(poll::one(&child, Interest::Readable, Deadline::now()).unwrap(), "and stays so");
    }
}

pub(crate) fn names(start: Start) {
    let thread = |()| thread::current().name().map(str::to_owned);
    for name in ["calc", "", "with a space and ß", "far longer than the kernel's sixteen bytes"] {
        let child = start().name(name).spawn(thread, ()).unwrap();
        assert_eq!(child.name(), name);
        assert_eq!(child.join().unwrap().as_deref(), Some(name));
    }
    let child = start().name("nul\0inside").spawn(thread, ()).unwrap();
    assert_eq!(child.join().unwrap().as_deref(), Some("nul\u{fffd}inside"));
    let (one, two) = (start().spawn(thread, ()).unwrap(), start().spawn(thread, ()).unwrap());
    assert!(one.name().starts_with("Process-") && one.name() != two.name());
    assert_eq!(one.name(), format!("Process-{}", one.path()[0]));
    let name = one.name().to_owned();
    assert_eq!(one.join().unwrap(), Some(name));
    two.join().unwrap();
}
