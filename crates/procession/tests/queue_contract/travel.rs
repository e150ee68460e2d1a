//! Ends of queues travel as arguments, in pipes and as results.

use procession_pipe::{Duplex, pipe};
use procession_process::{Process, spawn};
use procession_queue::{Receiver, RecvError, Sender, bounded};

pub(crate) type Lines = Receiver<String>;

/// How many words there are in the lines that come.
pub(crate) fn count(lines: Lines) -> u64 {
    lines.iter().map(|line| line.split(' ').count() as u64).sum()
}

pub(crate) fn workers(lines: &Lines) -> Vec<Process<u64>> {
    (0..4).map(|_| spawn(count, lines.clone()).unwrap()).collect()
}

pub(crate) fn workers_count_lines() {
    let (tx, rx) = bounded(16).unwrap();
    let workers = workers(&rx);
    drop(rx);
    for n in 0..2000 {
        tx.send("word ".repeat(n % 30) + "word").unwrap();
    }
    drop(tx);
    let counted: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(counted, (0..2000).map(|n| n % 30 + 1).sum::<u64>());
}

type Both = (Sender<String>, Receiver<String>);

fn send_them_back(pipe: Duplex<Both, Both>) -> Both {
    let ends = pipe.recv().unwrap();
    ends.0.send("in the child".into()).unwrap();
    pipe.send(&ends).unwrap();
    ends
}

pub(crate) fn ends_in_pipes_and_results() {
    let (ours, theirs) = pipe::<Both, Both>().unwrap();
    let child = spawn(send_them_back, theirs).unwrap();
    let first = bounded::<String>(8).unwrap();
    ours.send(&first).unwrap();
    let second = ours.recv().unwrap();
    let third = child.join().unwrap();
    for ends in [&first, &second, &third] {
        ends.0.send("x".repeat(50_000)).unwrap();
    }
    assert_eq!(third.1.recv().unwrap(), "in the child");
    for ends in [&second, &third, &first] {
        assert_eq!(ends.1.recv().unwrap().len(), 50_000);
    }
    drop((first.0, second.0));
    assert!(matches!(second.1.try_recv(), Err(RecvError::Empty)));
    drop(third.0);
    assert!(matches!(first.1.recv(), Err(RecvError::Disconnected)));
}

fn make(n: u64) -> Receiver<u64> {
    let (tx, rx) = bounded(100).unwrap();
    (0..n).for_each(|i| tx.send(i).unwrap());
    rx
}

/// What it holds outlives who made it and filled it.
pub(crate) fn an_end_that_a_child_made() {
    let rx = spawn(make, 100).unwrap().join().unwrap();
    assert_eq!(rx.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}
