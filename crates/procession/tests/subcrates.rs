//! The umbrella reaches every crate it re-exports, and a test can use it with nothing to enable.

use procession::codec::{Codec, Postcard};
use procession::prelude::*;

#[test]
fn codec() {
    let mut bytes = Vec::new();
    Postcard::encode_into(&(7_u8, "seven"), &mut bytes).unwrap();
    assert_eq!(Postcard::decode::<(u8, &str)>(&bytes), Ok((7, "seven")));
}

#[test]
fn pipe() {
    let (ours, theirs) = procession::pipe::<u8, u8>().unwrap();
    ours.send(&7).unwrap();
    assert_eq!(theirs.recv().unwrap(), 7);
}

#[test]
fn wait() {
    let (tx, rx) = procession::queue::bounded::<u8>(1).unwrap();
    let things: [&dyn procession::Waitable; 2] = [&rx, &tx];
    assert_eq!(procession::pipe::wait(&things, None).unwrap(), [1]);
}

#[test]
fn process() {
    assert_eq!(procession::spawn!(u64::pow(2, 10)).unwrap().join().unwrap(), 1024);
}

#[test]
fn crash_is_an_error() {
    let crashed = procession::spawn(|()| -> () { std::process::abort() }, ()).unwrap().join();
    assert!(matches!(crashed, Err(JoinError::Killed { signal: Signal::ABRT, .. })), "{crashed:?}");
}

#[test]
fn pool() {
    let pool = Pool::new(2).unwrap();
    let squares: Result<Vec<u32>, TaskFailed> = (0..100).par_procs(&pool).map(|n| n * n).collect();
    assert_eq!(squares.unwrap()[99], 9801);
    let high = TaskOptions::new().priority(Priority::High);
    let task: Task<u32> = pool.submit_with(high, |n: u32| n + 1, 1).unwrap();
    assert!(procession::as_completed([task]).all(|(_, value)| value.unwrap() == 2));
    let map: procession::MapTask<u32> = pool.map_async(|n| n + 1, 0..3);
    assert_eq!(map.get().unwrap(), [1, 2, 3]);
    assert!(procession::replay("/no/such/file").is_err());
    let scaled = pool.with(&3_u32).map(|scale: &u32, n: u32| scale * n, [1, 2]).unwrap();
    assert_eq!(scaled, [3, 6]);
}

#[test]
fn progress_and_insights() {
    let pool = Pool::new(1).unwrap();
    let mut last = None;
    let maps = [1_u8, 2].par_procs(&pool).on_progress(|progress: procession::Progress| last = Some(progress));
    assert_eq!(maps.map(|n: u8| n).map(Result::unwrap).sum::<u8>(), 3);
    assert_eq!(last.unwrap().done, 2);
    let insights: procession::Insights = pool.insights();
    assert_eq!(insights.total().done, 2);
}

#[test]
fn lines_of_children() {
    let (tell, told) = std::sync::mpsc::channel();
    let log =
        procession::Stdio::lines(move |line: procession::Line<'_>| drop(tell.send(line.text.to_owned())));
    let write = |()| std::io::Write::write_all(&mut std::io::stdout(), b"hello").unwrap();
    Process::builder().stdout(log).spawn(write, ()).unwrap().join().unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["hello"]);
}

/// The derive finds its crate through the umbrella.
#[derive(Clone, Copy, Debug, PartialEq, Plain)]
struct Particle {
    x: f64,
    v: f64,
}

#[test]
fn shm() {
    let place = procession::shm::Segment::new(size_of::<Particle>()).unwrap();
    place.put(0, &Particle { x: 0.5, v: 1.0 }).unwrap();
    let hits = Atomic::new(0_u64).unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let task = |(place, hits): (procession::shm::Segment, Atomic<u64>)| {
                hits.fetch_add(1);
                place.get::<Particle>(0).unwrap().x
            };
            procession::spawn(task, (place.clone(), hits.clone())).unwrap()
        })
        .collect();
    for child in children {
        assert_eq!(child.join().unwrap(), 0.5);
    }
    assert_eq!(hits.load(), 4);
}

/// As is this one.
#[derive(Clone, Shared)]
struct Progress {
    done: Atomic<u64>,
    best: Value<Particle>,
    log: procession::Mutex<[u32; 4]>,
    stop: Event,
}

#[test]
fn sync() {
    let progress = Progress::create((0, Particle { x: 0.0, v: 0.0 }, [0; 4], ())).unwrap();
    let task = |(progress, n): (Progress, u32)| -> Result<(), LockError> {
        progress.stop.wait();
        progress.done.fetch_add(1);
        progress.log.lock().or_carry_on()?[n as usize] = n + 1;
        progress.best.update(|best| best.x += f64::from(n)).unwrap();
        Ok(())
    };
    let children: Vec<_> = (0..4).map(|n| procession::spawn(task, (progress.clone(), n)).unwrap()).collect();
    progress.stop.set();
    for child in children {
        child.join().unwrap().unwrap();
    }
    assert_eq!((progress.done.load(), progress.best.get().x), (4, 6.0));
    assert_eq!(*progress.log.lock().unwrap(), [1, 2, 3, 4]);
}

/// The attribute by the umbrella's path.
#[procession::remote]
trait Counter {
    fn add(&mut self, n: u32) -> u32;
}

impl Counter for u32 {
    fn add(&mut self, n: u32) -> u32 {
        *self += n;
        *self
    }
}

#[test]
fn remote() {
    use procession::manager::RemoteProxy as _;
    let manager = Manager::start().unwrap();
    let counter = manager.register(|n: u32| -> Box<dyn Counter> { Box::new(n) }, 40).unwrap();
    let task = |counter: CounterProxy| counter.add(1).unwrap();
    assert_eq!(procession::spawn(task, counter.clone()).unwrap().join().unwrap(), 41);
    assert_eq!(counter.add(1).unwrap(), 42);
    assert!(!counter.is_poisoned().unwrap());
}

#[test]
fn manager() {
    let manager = Manager::start().unwrap();
    let scores: Dict<String, u32> = manager.dict().unwrap();
    let task = |scores: Dict<String, u32>| -> Result<u32, procession::CallError> {
        scores.update(
            "a".into(),
            |n, by| {
                *n += by;
                *n
            },
            7,
        )
    };
    assert_eq!(task(scores.clone()).unwrap(), 7);
    let task = |scores: Dict<String, u32>| scores.update("a".into(), |n, by| *n += by, 7).unwrap();
    procession::spawn(task, scores.clone()).unwrap().join().unwrap();
    assert_eq!(scores.get("a").unwrap(), Some(14));
}
