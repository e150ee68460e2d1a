//! What a crate above gives to children, by each start method, and who is told of their ends.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use procession_process::companion::{Companion, Gift, Luggage, at_spawn};
use procession_process::{Deadline, Process, StartMethod, Who};
use procession_testkit::guarded;

/// What was told here, in order.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// What a child was given.
static GIVEN: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct Tells(&'static str);

impl Tells {
    fn tell(&self, what: &str, who: &Who) {
        TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} {what} {}", self.0, who.name));
    }
}

impl Companion for Tells {
    fn started(&self, who: &Who) {
        self.tell("started", who);
    }

    fn ended(&self, who: &Who, _: Deadline) {
        self.tell("ended", who);
    }
}

fn first(luggage: Luggage) {
    assert_eq!((luggage.bytes.len(), luggage.descriptors.len()), (1, 0));
    GIVEN.fetch_add(luggage.bytes[0].into(), Ordering::Relaxed);
    panic!("costs the task nothing");
}

fn second(luggage: Luggage) {
    let [one, two] = <[OwnedFd; 2]>::try_from(luggage.descriptors).unwrap();
    drop(UnixStream::from(one));
    let mut byte = [0];
    UnixStream::from(two).read_exact(&mut byte).unwrap();
    GIVEN.fetch_add(byte[0].into(), Ordering::Relaxed);
}

fn gives_second(_: StartMethod) -> Option<Gift> {
    use std::io::Write as _;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&[35]).unwrap();
    let one = theirs.as_fd().try_clone_to_owned().unwrap();
    Some(Gift::new(second, Vec::new(), vec![one, theirs.into()], Arc::new(Tells("second"))))
}

#[test]
fn gifts_come_before_the_task_and_ends_are_told_before_they_are_reported() {
    guarded(|| {
        assert!(at_spawn(|_| Some(Gift::new(first, vec![7], Vec::new(), Arc::new(Tells("first"))))));
        assert!(at_spawn(gives_second));
        assert!(at_spawn(|_| None) && at_spawn(|_| None));
        assert!(!at_spawn(gives_second), "there are four places");
        for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Fork] {
            let builder = Process::builder().name("child").start_method(method).allow_threads(true);
            // Descriptors of the argument are told from those of the gifts.
            let (ours, theirs) = procession_pipe::pipe::<u8, u32>().unwrap();
            let task = |end: procession_pipe::Duplex<u32, u8>| {
                end.send(&GIVEN.load(Ordering::Relaxed)).unwrap();
            };
            let process = builder.spawn(task, theirs).unwrap();
            assert_eq!(ours.recv().unwrap(), 42, "{method:?}");
            process.wait().unwrap();
            let mut told = std::mem::take(&mut *TOLD.lock().unwrap());
            told.dedup();
            let expected = ["first started", "second started", "first ended", "second ended"];
            assert!(told.len() >= 4 && told[..4] == expected.map(|what| format!("{what} child")), "{told:?}");
            process.join().unwrap();
            TOLD.lock().unwrap().clear();
        }
    });
}
