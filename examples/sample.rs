//! The library on one page: everything that most programs need, each in a few lines.
//!
//! ci: stdin: one line
//! ci: stdin: another
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::time::Duration;

use procession::prelude::*;
use procession::{Barrier, Condvar, Mutex};
use serde::{Deserialize, Serialize};

type R = Result<(), Box<dyn std::error::Error>>;

// Processes. A task is `fn(A) -> R`: fn items, `f::<f64>`, `f64::sqrt`, closures that capture nothing. spawn! reads like a call.
fn area(w: f64, h: f64) -> f64 {
    w * h
}
fn processes() -> R {
    println!("{}", procession::spawn!(area(3.0, 4.0))?.join()?); // the value comes back; Python gives an exit code only
    match procession::spawn(|n: u64| n * n, 12)?.join() {
        Ok(v) => println!("{v}"),
        Err(JoinError::Panicked(p)) => eprintln!("{} at {}", p.message, p.location),
        Err(JoinError::Killed { signal, hint, .. }) => eprintln!("signal {signal}, {hint:?}"),
        Err(e) => return Err(e.into()),
    }
    procession::scope(|s| {
        for i in 0..4 {
            s.spawn(|i: u32| println!("{i}"), i).unwrap();
        }
    })?; // all joined, first failure returned
    let p = Process::builder()
        .name("calc")
        .daemon(true)
        .start_method(StartMethod::Spawn)
        .spawn(|n: u32| n + 1, 1)?;
    println!("{} {:?} {}", p.name(), p.pid(), p.join_timeout(Duration::from_secs(5))?.is_some());
    Ok(())
}

// Pipes: typed in both directions; every blocking call has a deadline form; a dead peer is an error, not silence.
fn serve(end: Duplex<u64, String>) {
    while let Ok(s) = end.recv() {
        let _ = end.send(&(s.len() as u64));
    }
}
fn pipes() -> R {
    let (ours, theirs) = procession::pipe::<String, u64>()?;
    let _server = procession::spawn(serve, theirs)?;
    ours.send(&"hello".into())?;
    println!("{:?}", ours.recv_timeout(Duration::from_secs(1))?);
    Ok(())
}

// Queues: both ends clone and travel as arguments (or inside messages). close() ends every consumer's loop; no sentinel values.
fn count(rx: Receiver<String>) -> usize {
    rx.into_iter().map(|s| s.len()).sum()
}
fn queues() -> R {
    let (tx, rx) = procession::queue::bounded::<String>(1024)?;
    let w = (0..4).map(|_| procession::spawn(count, rx.clone())).collect::<Result<Vec<_>, _>>()?;
    drop(rx); // so that send fails, and does not wait, when every worker has died
    for line in std::io::stdin().lines() {
        tx.send(line?)?;
    }
    tx.close();
    println!("{}", w.into_iter().map(Process::join).sum::<Result<usize, _>>()?);
    Ok(())
}

// Joinable queue: a job is a guard. Its drop is task_done, also while unwinding. A job whose worker died is redelivered or reported, as chosen.
fn work(jobs: JobReceiver<u64>) {
    for job in jobs {
        println!("{}", *job);
    }
}
fn jobs() -> R {
    let (tx, rx) = procession::queue::jobs::<u64>(64)?;
    let _w = procession::spawn(work, rx)?;
    for i in 0..100 {
        tx.send(i)?;
    }
    tx.join()?;
    Ok(())
}

// Shared values and arrays. The derive says what may live there; split() gives disjoint writable parts.
#[derive(Clone, Copy, Plain)]
struct Particle {
    x: f64,
    v: f64,
}
fn step((mut part, hits): (Part<Particle>, Atomic<u64>)) {
    for p in part.iter_mut() {
        p.x += p.v;
        if p.x > 1.0 {
            hits.fetch_add(1);
        }
    }
}
fn values() -> R {
    let cloud = Array::from_slice(&[Particle { x: 0., v: 1. }; 1000])?;
    let hits = Atomic::new(0)?;
    procession::scope(|s| {
        for part in cloud.split(4) {
            s.spawn(step, (part, hits.clone())).unwrap();
        }
    })?;
    println!("{} {}", hits.load(), cloud.read()[0].x);
    Ok(())
}

// Locks own their data; the guard is RAII; a dead holder is a value to handle.
#[derive(Clone, Copy, Default, Plain)]
struct Account {
    cents: i64,
    entries: u64,
}
fn deposit(acc: Mutex<Account>) -> Result<(), LockError> {
    let mut a = acc.lock().or_repair(|a, dead| {
        eprintln!("holder {} died", dead.pid());
        a.entries = 0;
    })?; // other errors: Deadlock, NoSlot, Corrupt
    a.cents += 100;
    a.entries += 1;
    Ok(())
}

// Event, Condition, Barrier.
fn racer((gate, line, go, stop): (Barrier, Mutex<u32>, Condvar, Event)) {
    match gate.wait() {
        Ok(w) => {
            if w.is_leader() {
                println!("all here");
            }
        }
        Err(b) => return eprintln!("lost {:?}", b.died),
    }
    let mut n = go.wait_while(line.lock().unwrap(), |n| *n == 0).unwrap();
    *n += 1;
    stop.set();
}

// Manager: objects in a process of their own; changes to nested data go through update, so none is lost.
fn teller(seen: Dict<String, Vec<u32>>) {
    seen.update("tellers".into(), Vec::push, std::process::id()).unwrap();
}
fn managers() -> R {
    let m = Manager::start()?;
    let seen = m.dict::<String, Vec<u32>>()?;
    procession::spawn(teller, seen.clone())?.join()?;
    println!("{} teller", seen.get("tellers")?.map_or(0, |pids| pids.len()));
    Ok(())
}

// Errors of any kind come back: TaskError is From<E: std::error::Error> (text, type name, source chain, backtrace), so `?` works in a task.
fn lines(path: std::path::PathBuf) -> Result<usize, TaskError> {
    Ok(std::fs::read_to_string(path)?.lines().count())
}

// Pools: lazy, bounded in flight, one outcome per item.
#[derive(Serialize, Deserialize)]
struct Model(Vec<f32>);
fn score(m: &Model, x: f32) -> f32 {
    m.0[0] * x
}
fn area_of((w, h): (f64, f64)) -> f64 {
    w * h
}
fn pools() -> R {
    let pool = Pool::builder()
        .workers(8)
        .task_timeout(Duration::from_secs(30))
        .retries(1)
        .recycle_above(2 << 30)
        .name("render")
        .build()?;
    let roots = pool.map(f64::sqrt, (0..100).map(f64::from))?;
    for r in std::io::stdin()
        .lines()
        .map_while(Result::ok)
        .par_procs(&pool)
        .in_flight(64)
        .unordered()
        .progress()
        .map(|l: String| l.len())
    {
        match r {
            Ok(n) => println!("{n}"),
            Err(e) => eprintln!("{e}"),
        }
    }
    let task = pool.submit(area_of, (2.0, 3.0))?; // apply_async: task.get(), get_timeout, is_ready, cancel, .await
    println!(
        "{} {} {:?}\n{}",
        roots[4],
        task.get()?,
        pool.with(&Model(vec![2.0])).map(score, [1.0, 2.0])?,
        pool.insights()
    );
    Ok(())
}

// A crash is a value one can assert on, with nothing to enable.
fn crash_is_an_error() {
    assert!(matches!(
        procession::spawn(|()| -> () { std::process::abort() }, ()).unwrap().join(),
        Err(JoinError::Killed { signal: Signal::ABRT, .. })
    ));
}

/// Calls what nothing above calls.
fn locks() -> R {
    let account = Mutex::new(Account::default())?;
    procession::scope(|s| (0..4).try_for_each(|_| s.spawn(deposit, account.clone()).map(drop)))??;
    let total = *account.lock()?;
    println!("{} cents in {} entries", total.cents, total.entries);

    let (gate, line, go, stop) = (Barrier::new(3)?, Mutex::new(0)?, Condvar::new()?, Event::new()?);
    let start = || procession::spawn(racer, (gate.clone(), line.clone(), go.clone(), stop.clone()));
    let racers = [start()?, start()?];
    let _ = gate.wait();
    *line.lock()? = 1;
    go.notify_all();
    stop.wait();
    racers.into_iter().try_for_each(Process::join)?;
    println!("{} are through", *line.lock()? - 1);

    if let Err(e) = procession::spawn(lines, "no/such/file".into())?.join_flat() {
        println!("{e}");
    }
    Ok(())
}

fn main() -> R {
    processes()?;
    pipes()?;
    queues()?;
    jobs()?;
    values()?;
    locks()?;
    managers()?;
    pools()?;
    crash_is_an_error();
    Ok(())
}
