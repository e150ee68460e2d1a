//! A queue of jobs under kill points: what must hold of it, and threads that sleep on it.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_codec::Bytes;
use procession_queue::{AsBytes, Job, JobOptions, JobReceiver, JobSender, RecvError, SendFault};

pub(crate) use crate::sweeper::{LIMIT, NEVER};
/// In its cell, and in the cell's room.
pub(crate) const LENGTHS: [usize; 2] = [8, 100];
pub(crate) const CAPACITY: usize = 8;
pub(crate) const SALT: u8 = 77;

pub(crate) type Tx = JobSender<Bytes, AsBytes>;
pub(crate) type Rx = JobReceiver<Bytes, AsBytes>;

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) tx: Tx,
    pub(crate) rx: Rx,
}

pub(crate) fn message(len: usize, salt: u8) -> Bytes {
    Bytes::from((0..len).map(|n| salt ^ n as u8).collect::<Vec<_>>())
}

impl Place {
    pub(crate) fn new(max_deliveries: u32) -> Self {
        let options = JobOptions::new(CAPACITY).bytes(1 << 16).max_deliveries(max_deliveries);
        let (tx, rx) = options.create_as().unwrap();
        Self { tx, rx }
    }

    pub(crate) fn send(&self, len: usize, salt: u8) {
        self.tx.try_send(message(len, salt)).unwrap();
    }

    /// The next job is this one, delivered so often; it is done then.
    pub(crate) fn expect(&self, len: usize, salt: u8) -> u32 {
        let job = self.rx.recv().unwrap();
        assert!(*job == message(len, salt), "{} bytes, {:?}", job.len(), job.first());
        job.deliveries()
    }

    /// Nothing is left, and everything goes through.
    pub(crate) fn is_as_new(&self) {
        assert!(matches!(self.rx.recv_timeout(Duration::from_micros(1)), Err(RecvError::TimedOut)));
        self.tx.try_join().unwrap();
        for len in LENGTHS {
            (0..CAPACITY as u8).for_each(|n| self.send(len, n));
            let refused = self.tx.try_send(message(len, 9)).unwrap_err();
            assert!(matches!(refused.fault(), SendFault::Full));
            (0..CAPACITY as u8).for_each(|n| assert_eq!(self.expect(len, n), 1));
        }
        self.tx.try_join().unwrap();
        assert_eq!((self.tx.unfinished(), self.tx.len()), (0, 0));
    }
}

pub(crate) fn of(job: Job<Bytes>) -> (usize, u32) {
    (job.len(), job.deliveries())
}

/// A thread that receives when another process has the job that is there.
pub(crate) fn late_sleeper(place: &Place) -> (mpsc::Receiver<()>, JoinHandle<(usize, u32)>) {
    let (place, (say, heard)) = (place.clone(), mpsc::channel());
    let thread = thread::spawn(move || {
        while !place.tx.is_empty() {
            thread::yield_now();
        }
        say.send(()).unwrap();
        of(place.rx.recv().unwrap())
    });
    (heard, thread)
}

/// A thread of the sweeper that sleeps on a queue.
pub(crate) fn sleeper<R: Send + 'static>(place: &Place, body: fn(&Place) -> R) -> JoinHandle<R> {
    let (place, (say, heard)) = (place.clone(), mpsc::channel());
    let thread = thread::spawn(move || {
        say.send(rustix::thread::gettid()).unwrap();
        body(&place)
    });
    let task = format!("/proc/self/task/{}/stat", heard.recv().unwrap());
    let is_awake = || {
        let stat = std::fs::read_to_string(&task).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('S'))
    };
    while is_awake() {
        thread::yield_now();
    }
    thread
}
