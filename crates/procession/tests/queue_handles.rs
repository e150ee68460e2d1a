//! Handles in messages of queues between processes: who receives them has what they are of, whatever became of the sender.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use procession::prelude::*;
use procession::queue::{Job, RecvError, SendFault, bounded};
use procession::{Barrier, Descriptor, Mutex, codec, pipe};
use procession_testkit::{Storm, counted};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Request {
    n: u64,
    answer: Sender<u64>,
}

fn work(requests: Receiver<Request>) -> u64 {
    requests.into_iter().map(|Request { n, answer }| u64::from(answer.send(n * n).is_ok())).sum()
}

/// Each request with a sender of its own, and all with one.
#[test]
fn requests_bring_their_reply_channels() {
    counted(|| {
        let (tx, rx) = bounded(16).unwrap();
        let workers: Vec<_> = (0..3).map(|_| procession::spawn(work, rx.clone()).unwrap()).collect();
        drop(rx);
        for n in 0..100 {
            let (answer, answers) = bounded(1).unwrap();
            tx.send(Request { n, answer }).unwrap();
            assert_eq!(answers.recv().unwrap(), n * n);
            assert!(matches!(answers.recv(), Err(RecvError::Disconnected)));
        }
        let (answer, answers) = bounded(500).unwrap();
        tx.send_many((0..300).map(|n| Request { n, answer: answer.clone() })).unwrap();
        drop((tx, answer));
        let mut found: Vec<_> = answers.iter().collect();
        found.sort_unstable();
        assert_eq!(found, (0..300).map(|n| n * n).collect::<Vec<_>>());
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 400);
    });
}

#[derive(Serialize, Deserialize)]
struct All {
    total: Mutex<u64>,
    numbers: Array<u64>,
    part: Part<u64>,
    go: Event,
    gate: Barrier,
    pipe: Duplex<String, usize>,
    file: Descriptor,
    lines: Receiver<String>,
}

fn use_all(rx: Receiver<All>) {
    let mut all = rx.recv().unwrap();
    all.part.iter_mut().for_each(|n| *n += 1);
    drop(all.part);
    *all.total.lock().unwrap() += 1;
    all.go.set();
    let lines = all.lines.iter().count();
    all.pipe.send(&format!("{lines} lines")).unwrap();
    assert_eq!(all.pipe.recv().unwrap(), 7);
    File::from(all.file.into_owned().unwrap()).write_all(b"from the child").unwrap();
    all.gate.wait().unwrap();
    assert_eq!(all.numbers.read()[..], [1; 5]);
}

#[test]
fn every_kind_of_handle_in_one_message() {
    counted(|| {
        let (tx, rx) = bounded(2).unwrap();
        let child = procession::spawn(use_all, rx).unwrap();
        let (total, numbers) = (Mutex::new(1).unwrap(), Array::from_slice(&[0_u64; 5]).unwrap());
        let (go, gate) = (Event::new().unwrap(), Barrier::new(2).unwrap());
        let (ours, theirs) = pipe::<usize, String>().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (line_tx, lines) = bounded(3).unwrap();
        tx.send(All {
            total: total.clone(),
            numbers: numbers.clone(),
            part: numbers.split(1).next().unwrap(),
            go: go.clone(),
            gate: gate.clone(),
            pipe: theirs,
            file: OwnedFd::from(writer).into(),
            lines,
        })
        .unwrap();
        (0..100).for_each(|_| line_tx.send("a line".into()).unwrap());
        line_tx.close();
        go.wait();
        assert_eq!((*total.lock().unwrap(), ours.recv().unwrap()), (2, "100 lines".to_owned()));
        ours.send(&7).unwrap();
        gate.wait().unwrap();
        child.join().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the child");
    });
}

/// A pipe's end moves, and only if it was sent.
#[test]
fn an_end_that_moves() {
    counted(|| {
        let (tx, rx) = bounded::<Duplex<u8, u8>>(1).unwrap();
        let (a, b) = pipe::<u8, u8>().unwrap();
        let (c, _d) = pipe::<u8, u8>().unwrap();
        tx.send(a).unwrap();
        let error = tx.try_send(c).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Full));
        let c = error.into_value();
        b.send(&1).unwrap();
        assert_eq!(rx.recv().unwrap().recv().unwrap(), 1);
        // Nobody has the other end any more.
        assert!(matches!(b.recv(), Err(procession::RecvError::Closed)));
        tx.send(c).unwrap();
    });
}

type Numbered = (u64, Vec<Descriptor>, Array<u64>);

fn send_and_end((tx, n): (Sender<Numbered>, u64)) {
    for n in 0..n {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&n.to_le_bytes()).unwrap();
        let files = vec![OwnedFd::from(reader).into(); if n == 3 { 300 } else { 1 }];
        tx.send((n, files, Array::from_slice(&[n; 10]).unwrap())).unwrap();
    }
}

/// Who has sent them has ended when they are received.
#[test]
fn what_the_dead_have_sent() {
    counted(|| {
        let (tx, rx) = bounded(100).unwrap();
        procession::spawn(send_and_end, (tx.clone(), 50)).unwrap().join().unwrap();
        for n in 0..50 {
            let (found, mut files, array) = rx.recv().unwrap();
            assert_eq!((found, array.read()[9]), (n, n));
            let mut says = [0; 8];
            File::from(files.remove(0).into_owned().unwrap()).read_exact(&mut says).unwrap();
            assert_eq!(u64::from_le_bytes(says), n);
        }
        drop(tx);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    });
}

/// Senders and receivers are killed at any moment: a handle is that of its message, and of nobody's own none stays.
#[test]
fn killed_at_any_moment() {
    type Item = (u64, Descriptor);
    fn send((tx, from): (Sender<Item>, u64)) {
        for n in from.. {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&n.to_le_bytes()).unwrap();
            tx.send((n, OwnedFd::from(reader).into())).unwrap();
        }
    }
    fn check((n, file): Item) {
        let mut says = [0; 8];
        File::from(file.into_owned().unwrap()).read_exact(&mut says).unwrap();
        assert_eq!(u64::from_le_bytes(says), n);
    }
    fn receive(rx: Receiver<Item>) {
        loop {
            check(rx.recv().unwrap());
        }
    }
    counted(|| {
        let mut storm = Storm::seeded();
        let (tx, rx) = bounded::<Item>(50).unwrap();
        for round in 0..60 {
            let sender = procession::spawn(send, (tx.clone(), round << 32)).unwrap();
            let receiver = storm.chance(1, 2).then(|| procession::spawn(receive, rx.clone()).unwrap());
            (0..storm.below(40)).for_each(|_| check(rx.recv().unwrap()));
            sender.kill().unwrap();
            assert!(sender.join().is_err());
            if let Some(receiver) = receiver {
                receiver.kill().unwrap();
                let ended = receiver.join();
                // Perhaps before it began.
                let was_killed =
                    matches!(ended, Err(JoinError::Killed { .. } | JoinError::NeverStarted { .. }));
                assert!(was_killed, "{ended:?}");
            }
        }
        rx.try_iter().for_each(check);
        let (reader, mut writer) = std::io::pipe().unwrap();
        tx.send((1, OwnedFd::from(reader).into())).unwrap();
        drop(rx.recv().unwrap());
        assert_eq!(writer.write(b"?").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// A message that nobody will receive is closed with the last receiver, and so is what it has.
#[test]
fn what_is_never_received_is_closed() {
    counted(|| {
        let (tx, rx) = bounded::<(Sender<u8>, Vec<u8>)>(10).unwrap();
        let (inner_tx, inner_rx) = bounded::<u8>(1).unwrap();
        tx.send((inner_tx.clone(), vec![])).unwrap();
        tx.send((inner_tx, vec![0; 50_000])).unwrap();
        assert!(matches!(inner_rx.try_recv(), Err(RecvError::Empty)), "there are two senders, on their way");
        drop(rx.recv().unwrap());
        assert!(matches!(inner_rx.try_recv(), Err(RecvError::Empty)));
        drop(rx);
        assert!(matches!(inner_rx.recv(), Err(RecvError::Disconnected)));
        let (inner_tx, _inner_rx) = bounded::<u8>(1).unwrap();
        let error = tx.send((inner_tx, vec![])).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Disconnected));
        error.into_value().0.send(1).unwrap();
    });
}

/// Ends of a queue that go through itself.
#[derive(Serialize, Deserialize)]
enum Loop {
    Tx(Sender<Loop>),
    Rx(Receiver<Loop>),
    Number(u64),
}

#[test]
fn a_queue_that_carries_its_own_ends() {
    counted(|| {
        let (tx, rx) = bounded(10).unwrap();
        tx.send(Loop::Tx(tx.clone())).unwrap();
        tx.send(Loop::Rx(rx.clone())).unwrap();
        drop(tx);
        let Ok(Loop::Tx(tx)) = rx.recv() else { panic!() };
        let Ok(Loop::Rx(rx)) = rx.recv() else { panic!() };
        tx.send(Loop::Number(3)).unwrap();
        assert!(matches!(rx.recv(), Ok(Loop::Number(3))));
        drop(tx);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        // The last sender is in the queue: nobody else is left to send, and it may still be taken.
        let (tx, rx) = bounded(10).unwrap();
        tx.send(Loop::Tx(tx.clone())).unwrap();
        drop((tx, rx));
        // The last receiver is in the queue: the kernel finds out that nobody can get at it.
        let (tx, rx) = bounded(10).unwrap();
        let (inner, inner_rx) = bounded(1).unwrap();
        tx.send(Loop::Tx(inner)).unwrap();
        tx.send(Loop::Rx(rx.clone())).unwrap();
        drop(rx);
        let sent = std::iter::repeat_with(|| {
            drop(std::os::unix::net::UnixStream::pair().unwrap());
            thread::yield_now();
            tx.try_send(Loop::Number(1))
        });
        let is_over = |sent: Result<(), procession::queue::SendError<Loop>>| match sent {
            Ok(()) => false,
            Err(error) => matches!(error.fault(), SendFault::Disconnected),
        };
        assert!(sent.take(1 << 20).any(is_over));
        assert!(matches!(inner_rx.recv(), Err(RecvError::Disconnected)), "freed with the queue");
    });
}

/// Without a codec there are no handles.
#[test]
fn other_carriers_refuse_what_they_refused() {
    counted(|| {
        let (tx, _rx) = bounded::<u8>(1).unwrap();
        let mut bytes = Vec::new();
        let refused = <codec::Postcard as codec::Codec>::encode_into(&tx, &mut bytes);
        assert!(matches!(refused, Err(codec::EncodeError::Handle(codec::HandleError::NotCarried))));
    });
}

/// Says that it has a request, and never answers.
fn hold_one((requests, has_it, never): (JobReceiver<Request>, Event, Event)) {
    let request = requests.recv().unwrap();
    has_it.set();
    never.wait();
    drop(request);
}

fn die_with_one(requests: JobReceiver<Request>) {
    let _request = requests.recv().unwrap();
    std::process::abort();
}

/// Answers with how often each was delivered, too.
fn work_on_jobs(requests: JobReceiver<Request>) -> u64 {
    let answer =
        |job: Job<Request>| job.answer.send(job.n * job.n + (u64::from(job.deliveries()) << 32)).is_ok();
    requests.into_iter().map(|job| u64::from(answer(job))).sum()
}

/// The request of a worker that is killed goes to another one, with its reply channel; which ends when the job is done, and
/// not before.
#[test]
fn jobs_keep_their_reply_channels() {
    counted(|| {
        let (tx, rx) = procession::queue::jobs(16).unwrap();
        let (answer, answers) = bounded(1).unwrap();
        tx.send(Request { n: 7, answer }).unwrap();
        for round in 0..3 {
            let (has_it, never) = (Event::new().unwrap(), Event::new().unwrap());
            let worker = procession::spawn(hold_one, (rx.clone(), has_it.clone(), never)).unwrap();
            has_it.wait();
            if round == 1 {
                // Another one is behind it.
                tx.send(Request { n: 8, answer: bounded(1).unwrap().0 }).unwrap();
            }
            worker.kill().unwrap();
            assert!(matches!(worker.join(), Err(JoinError::Killed { .. })));
            // Nobody has it in its hands, and who asked goes on waiting.
            assert!(matches!(answers.try_recv(), Err(RecvError::Empty)));
        }
        procession::spawn(die_with_one, rx.clone()).unwrap().join().unwrap_err();
        let workers = [(); 2].map(|()| procession::spawn(work_on_jobs, rx.clone()).unwrap());
        assert_eq!(answers.recv().unwrap(), (5 << 32) + 49);
        assert!(matches!(answers.recv(), Err(RecvError::Disconnected)));
        for n in 0..50 {
            let (answer, answers) = bounded(1).unwrap();
            tx.send(Request { n, answer }).unwrap();
            assert_eq!(answers.recv().unwrap(), (1 << 32) + n * n);
            assert!(matches!(answers.recv(), Err(RecvError::Disconnected)));
        }
        tx.join().unwrap();
        tx.close();
        // Nobody waits for that of the other.
        assert_eq!(workers.map(|worker| worker.join().unwrap()).iter().sum::<u64>(), 51);
    });
}
