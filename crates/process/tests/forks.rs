//! Forked children of programs with one thread: closures that capture, and what a copy has of its parent and has not.
//!
//! No test harness here: that one has a thread for each test. The program runs itself, as one of the [`MAINS`].

use std::cell::Cell;
use std::io::Write;
use std::process::{ExitCode, Output};
use std::sync::Mutex;
use std::thread;

use procession_pipe::{Duplex, pipe};
use procession_process::{
    JoinError, Process, Signal, SpawnError, StartMethod, active_children, at_exit, current, parent,
    set_start_method, spawn, start_method,
};
use procession_testkit::mains::{self, Main};
use procession_testkit::{Identity, counted, processes};

/// The programs, by the name of what they show.
const MAINS: [Main; 9] = [
    ("closures_take_what_they_capture", captures),
    ("what_was_captured_is_dropped_on_both_sides", dropped),
    ("a_child_ends_in_every_way", endings),
    ("a_process_with_threads_is_refused", threads),
    ("a_forked_child_knows_who_it_is", place),
    ("children_and_hooks_of_the_parent_are_not_the_child_s", not_inherited),
    ("forks_of_forks", generations),
    ("output_is_written_once", output),
    ("forks_leave_nothing", nothing_left),
];

fn main() -> ExitCode {
    let written_once = |name: &str, output: &Output| {
        name != "output_is_written_once" || output.stdout == b"parent, child, parent"
    };
    mains::run(&MAINS, |_, _| {}, written_once)
}

fn captures() {
    let (text, number) = (String::from("borrowed"), Cell::new(7));
    let list = vec![1_u64; 1 << 20];
    let child = Process::builder().name("copy").fork(|| (text.len(), list.iter().sum::<u64>())).unwrap();
    assert_eq!(child.name(), "copy");
    assert_eq!(child.join().unwrap(), (8, 1 << 20));
    // What the child changes is its own.
    let mut ours = 1;
    let child = Process::builder().fork(|| {
        ours += 1;
        ours
    });
    assert_eq!((child.unwrap().join().unwrap(), ours, number.get()), (2, 1, 7));
    // A handle that is captured, and one that comes back.
    let (here, there) = pipe::<String, u8>().unwrap();
    let child = Process::builder().fork(move || {
        there.send(&there.recv().unwrap().len().try_into().unwrap()).unwrap();
        there
    });
    here.send(&"four".into()).unwrap();
    assert_eq!(here.recv().unwrap(), 4);
    let there: Duplex<u8, String> = child.unwrap().join().unwrap();
    there.send(&9).unwrap();
    assert_eq!(here.recv().unwrap(), 9);
}

struct Counts<'a>(&'a procession_shm::Atomic<u32>);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1);
    }
}

fn dropped() {
    let n_drops = procession_shm::Atomic::new(0_u32).unwrap();
    let counts = Counts(&n_drops);
    let child = Process::builder().fork(move || drop(counts)).unwrap();
    child.join().unwrap();
    assert_eq!(n_drops.load(), 2);
}

fn endings() {
    let panics = Process::builder().name("falls").fork(|| -> () { panic!("on purpose") }).unwrap();
    let Err(JoinError::Panicked(panic)) = panics.join() else { panic!("it returned") };
    assert_eq!((panic.message.as_str(), panic.thread.as_str()), ("on purpose", "falls"));
    assert!(panic.location.starts_with(file!()), "{panic:?}");
    let exits = Process::builder().fork(|| -> () { std::process::exit(3) }).unwrap().join();
    assert!(matches!(exits, Err(JoinError::Exited { code: 3, .. })), "{exits:?}");
    let kill = || processes::kill(std::process::id(), processes::Signal::KILL).is_ok();
    let killed = Process::builder()
        .fork(|| -> () {
            while kill() {}
        })
        .unwrap()
        .join();
    assert!(matches!(killed, Err(JoinError::Killed { signal: Signal::KILL, .. })), "{killed:?}");
    let stays = Process::builder().fork(|| -> () { wait_for_ever() }).unwrap();
    let running = Identity::of(stays.pid()).unwrap();
    assert!(running.is_alive());
    drop(stays);
    assert_eq!(running.state(), None);
}

fn wait_for_ever() -> ! {
    loop {
        thread::park();
    }
}

fn threads() {
    set_start_method(StartMethod::Fork);
    assert_eq!(spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
    // A child has two threads, so its children are not forked.
    assert_eq!(spawn(|()| start_method(), ()).unwrap().join().unwrap(), StartMethod::Spawn);
    let (stay, stop) = std::sync::mpsc::channel::<()>();
    thread::scope(|s| {
        s.spawn(move || stop.recv().is_err());
        let refused = spawn(|n: u8| n + 1, 1);
        assert!(matches!(refused, Err(SpawnError::Threads { n: 2 })), "{refused:?}");
        let refused = Process::builder().fork(|| ()).unwrap_err();
        assert!(matches!(refused, SpawnError::Threads { n: 2 }) && refused.to_string().contains("2 threads"));
        let allowed = Process::builder().allow_threads(true);
        assert_eq!(allowed.clone().fork(|| 7).unwrap().join().unwrap(), 7);
        assert_eq!(allowed.spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
        assert!(active_children().is_empty(), "nothing was started when it was refused");
        drop(stay);
    });
}

fn place() {
    spawn(|()| (), ()).unwrap().join().unwrap();
    let look = || {
        let parent = parent().expect("it has one");
        let child = spawn(|()| current().path().to_vec(), ()).unwrap().join().unwrap();
        let me = current();
        assert!(parent.is_alive());
        (me.name().to_owned(), me.pid(), me.path().to_vec(), me.is_daemon(), parent.pid(), child)
    };
    let child = Process::builder().daemon(true).fork(look).unwrap();
    let (pid, path) = (child.pid(), child.path().to_vec());
    assert_eq!(path, [2]);
    let me = std::process::id();
    assert_eq!(child.join().unwrap(), ("Process-2".into(), pid, path, true, me, vec![2, 1]));
    assert!(parent().is_none() && current().path().is_empty());
}

static SIBLING: Mutex<Option<Process>> = Mutex::new(None);

fn not_inherited() {
    let (ours, theirs) = pipe::<u8, u8>().unwrap();
    let said_by_hooks = procession_shm::Atomic::new(0_u32).unwrap();
    let sibling = spawn(|gate: Duplex<u8, u8>| drop(gate.recv()), theirs).unwrap();
    let pid = sibling.pid();
    *SIBLING.lock().unwrap() = Some(sibling);
    let hook = said_by_hooks.clone();
    let hook = at_exit(0, move || {
        hook.fetch_add(100);
    });
    let of_the_child = said_by_hooks.clone();
    let child = Process::builder().fork(move || {
        let n_children = active_children().len();
        // Its parent's child, which it does not end.
        drop(SIBLING.lock().unwrap().take());
        at_exit(0, move || {
            of_the_child.fetch_add(1);
        });
        n_children
    });
    assert_eq!(child.unwrap().join().unwrap(), 0);
    assert_eq!(said_by_hooks.load(), 1);
    assert!(hook.cancel());
    assert_eq!(active_children().len(), 1);
    let sibling = SIBLING.lock().unwrap().take().unwrap();
    assert!(sibling.pid() == pid && sibling.is_alive());
    ours.send(&1).unwrap();
    sibling.join().unwrap();
}

fn generations() {
    fn fork(depth: u32) -> Vec<(u32, Vec<u32>)> {
        let me = (parent().map_or(0, |parent| parent.pid()), current().path().to_vec());
        if depth == 0 {
            return vec![me];
        }
        // A child has a second thread, which waits for the first.
        let child = Process::builder().allow_threads(true).fork(|| fork(depth - 1)).unwrap();
        let pid = std::process::id();
        let mut all = child.join().unwrap();
        assert_eq!(all.last().unwrap().0, pid);
        all.push(me);
        all
    }
    let paths: Vec<_> = fork(3).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, [vec![1, 1, 1], vec![1, 1], vec![1], vec![]]);
    let panics = Process::builder().allow_threads(true).fork(|| {
        let child = Process::builder().allow_threads(true).fork(|| -> () { panic!("below") }).unwrap();
        matches!(child.join(), Err(JoinError::Panicked(panic)) if panic.message == "below")
    });
    assert!(panics.unwrap().join().unwrap(), "each tells its own parent");
}

#[allow(clippy::print_stdout, reason = "what is buffered when a child is forked is the point")]
fn output() {
    let say = |text: &str| std::io::stdout().write_all(text.as_bytes()).unwrap();
    say("parent");
    Process::builder().fork(|| say(", child")).unwrap().join().unwrap();
    say(", parent");
}

fn nothing_left() {
    counted(|| {
        for n in 0..50 {
            let builder = Process::builder().allow_threads(true);
            let child = builder.fork(move || if n % 5 == 0 { std::process::exit(n) } else { n }).unwrap();
            match n % 3 {
                0 => drop(child),
                1 => child.detach(),
                _ => assert_eq!(child.join().is_ok(), n % 5 != 0),
            }
        }
    });
}
