//! What an error tells of its task.

use std::error::Error as _;

use procession_pool::{ParProcs, Report, TaskFailed, TaskOptions};
use procession_process::{Exit, Signal as Ending, TaskError};
use procession_testkit::Signal;

use super::{Build, expected, signal_self};

fn trace((n, name): (u32, String)) -> u32 {
    if name == "poison" { signal_self(Signal::SEGV) } else { n }
}

fn quiet((n, name): (u32, String)) -> u32 {
    if name.is_empty() { n } else { panic!("frame {n} is {name}") }
}

/// The error's text without what differs from run to run: process numbers and times.
fn steady(failed: &TaskFailed) -> String {
    let report = failed.report().expect("it ran");
    let mut text = failed.to_string().replace(&format!("pid {}", report.worker().pid), "pid 4711");
    if let Some((before, after)) = text.split_once("trace, ") {
        let attempt = after.split_once(", attempt").expect("a time comes before it").1;
        text = format!("{before}trace, 12.4 s, attempt{attempt}");
    }
    let lines = text.lines().filter(|line| !line.starts_with("  memory"));
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) fn the_whole_text_of_a_death(build: Build) {
    let pool = build().workers(1).retries(1).name("render").build().unwrap();
    let shown = TaskOptions::new().show_arguments::<(u32, String)>();
    let task = pool.submit_with(shown, trace, (8812, "poison".to_string())).unwrap();
    let failed = task.get().unwrap_err();
    let attempts = expected!(&failed, TaskFailed::GivenUp { attempts, .. } => attempts);
    assert_eq!(
        steady(&attempts[1]),
        "task 1 of pool render is lost: its worker, process render-2 (pid 4711), was killed by SIGSEGV (likely: a memory \
         error in unsafe or foreign code, or a stack overflow)\n\
         \x20 ran       contract::suite::reports::trace, 12.4 s, attempt 2 of 2\n\
         \x20 argument  (8812, \"poison\")\n\
         \x20 help      save_replay(path), and replay(path) in a debugger"
    );
    assert!(failed.to_string().ends_with(&attempts[1].to_string()), "{failed}");
    assert_eq!(failed.source().unwrap().to_string(), attempts[1].to_string());
    let report = failed.report().unwrap();
    assert_eq!((report.attempt(), report.attempts_allowed()), (2, 2));
    assert_eq!((report.worker().name.as_str(), attempts[0].report().unwrap().attempt()), ("render-2", 1));
    assert!(report.run_time().is_some() && report.memory_limit().is_none());
    assert_eq!(report.signature(), "fn((u32, alloc::string::String)) -> u32");
}

pub(crate) fn what_a_panic_tells(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let shown = TaskOptions::new().show_arguments::<(u32, String)>();
    let items = (0..100).map(|n| (n, if n == 70 { "lost".to_string() } else { String::new() }));
    let outcomes: Vec<_> = items.par_procs(&pool).options(shown).chunk(100).map(quiet).collect();
    let failed = outcomes[70].as_ref().unwrap_err();
    assert!(outcomes.iter().enumerate().all(|(i, outcome)| outcome.is_ok() == (i != 70)));
    let report = failed.report().unwrap();
    assert_eq!(report.argument().as_deref(), Some("(70, \"lost\")"));
    assert_eq!(report.function(), "contract::suite::reports::quiet");
    assert!(
        failed.to_string().contains("\n  ran       contract::suite::reports::quiet, attempt 1 of 1\n"),
        "{failed}"
    );
    assert!(failed.panic().unwrap().backtrace.contains("quiet"), "the backtrace of the worker");
}

pub(crate) fn arguments_are_shown_only_on_demand(build: Build) {
    fn fails(bytes: Vec<u8>) -> u8 {
        panic!("{}", bytes.len())
    }
    let pool = build().workers(1).build().unwrap();
    let told = |options: TaskOptions, n: usize| {
        let failed = pool.submit_with(options, fails, vec![7; n]).unwrap().get().unwrap_err();
        failed.report().and_then(Report::argument)
    };
    let options = TaskOptions::new();
    assert_eq!(told(options, 3), None);
    assert_eq!(told(options.show_arguments::<Vec<u8>>(), 3).as_deref(), Some("[7, 7, 7]"));
    assert_eq!(told(options.show_arguments::<Vec<u16>>(), 3), None, "of another type");
    // More than travels inside of a message.
    let long = told(options.show_arguments::<Vec<u8>>(), 100 << 10).unwrap();
    assert!(long.starts_with("[7, 7, ") && long.ends_with(" ..") && long.len() < 210, "{long}");
}

pub(crate) fn closures_and_labels(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let closure = |n: u32| -> u32 { panic!("{n}") };
    let failed = pool.submit(closure, 1).unwrap().get().unwrap_err();
    assert_eq!(failed.report().unwrap().function(), "fn(u32) -> u32");
    let labelled = TaskOptions::new().label("render a tile");
    let failed = pool.submit_with(labelled, closure, 1).unwrap().get().unwrap_err();
    assert!(failed.to_string().contains("\n  ran       render a tile, attempt 1 of 1"), "{failed}");
}

pub(crate) fn what_never_ran_has_no_report(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let endless = pool
        .submit(
            |()| -> u8 {
                loop {
                    std::thread::park();
                }
            },
            (),
        )
        .unwrap();
    let waiting = pool.submit(|n: u8| n, 1).unwrap();
    assert!(waiting.cancel() && endless.cancel());
    let failed = waiting.get().unwrap_err();
    assert!(failed.report().is_none() && failed.to_string().lines().count() == 1, "{failed}");
}

/// `?` in a task, and what arrives of it.
pub(crate) fn errors_of_tasks(build: Build) {
    fn lines(path: String) -> Result<usize, TaskError> {
        Ok(std::fs::read_to_string(path)?.lines().count())
    }
    let pool = build().workers(1).build().unwrap();
    let error = pool.submit(lines, "/no/such/file".to_string()).unwrap().get().unwrap().unwrap_err();
    assert_eq!(error.type_name(), "std::io::error::Error");
    assert!(error.message().contains("No such file"), "{error}");
}

pub(crate) fn exits_are_told_with_their_help(build: Build) {
    let pool = build().workers(1).build().unwrap();
    let failed = pool.submit(|code: i32| -> u8 { std::process::exit(code) }, 3).unwrap().get().unwrap_err();
    let exit = expected!(&failed, TaskFailed::WorkerDied { exit, .. } => *exit);
    assert_eq!(exit, Exit::Code(3));
    assert!(failed.to_string().contains("exited with code 3\n"), "{failed}");
    assert!(
        failed.to_string().contains("\n  help      a task that cannot go on returns an error"),
        "{failed}"
    );
    let failed = pool.submit(|()| -> u8 { std::process::abort() }, ()).unwrap().get().unwrap_err();
    let exit = expected!(&failed, TaskFailed::WorkerDied { exit, .. } => *exit);
    assert_eq!(exit.signal(), Some(Ending::ABRT));
}
