//! Things of all kinds together, many of them, and others that wait for the same.

use std::thread;

use procession_pipe::{Duplex, Waitable, wait};
use procession_process::{JoinError, Process, spawn};
use procession_queue::{Receiver, Sender, bounded};
use procession_shm::Atomic;
use procession_sync::Event;
use procession_testkit::Identity;
use procession_testkit::processes::{Signal, State};

use crate::cases::until_others_most_likely_sleep;
use crate::kinds::*;

fn fire_when_told<K: Kind>((go, other): (Event, K::Other)) {
    go.wait();
    K::fire(other);
}

/// A thing of a kind, and what tells a process to make it ready.
fn begin<K: Kind>() -> (Box<dyn Waitable>, Event, Process) {
    let (thing, other) = K::make();
    let go = Event::new().unwrap();
    let process = spawn(fire_when_told::<K>, (go.clone(), other)).unwrap();
    (Box::new(thing), go, process)
}

pub(crate) fn each_kind_in_turn() {
    let mut all = vec![
        begin::<OfDuplex>(),
        begin::<OfQueue>(),
        begin::<OfEvent>(),
        begin::<OfProcess>(),
        begin::<OfChannelRoom>(),
        begin::<OfForeign>(),
        begin::<OfQueueRoom>(),
        begin::<OfConnection>(),
        begin::<OfClosedQueue>(),
        begin::<OfBothEnds>(),
        begin::<OfHalf>(),
        begin::<OfChannel>(),
        begin::<OfJobs>(),
        begin::<OfJobRoom>(),
        begin::<OfClosedJobs>(),
    ];
    let mut step = 0;
    while !all.is_empty() {
        step = (step + 5) % all.len();
        let things: Vec<&dyn Waitable> = all.iter().map(|(thing, ..)| &**thing).collect();
        assert!(procession_pipe::try_wait(&things).unwrap().is_empty());
        all[step].1.set();
        assert_eq!(wait(&things, None).unwrap(), [step]);
        let (_thing, _go, process) = all.swap_remove(step);
        process.join().unwrap();
    }
}

/// More words than the kernel sleeps on at once, and descriptors beside them.
pub(crate) fn two_hundred_things() {
    let queues: Vec<_> = (0..100).map(|_| bounded::<u64>(2).unwrap()).collect();
    let pipes: Vec<_> = (0..100).map(|_| procession_pipe::channel::<u64>().unwrap()).collect();
    let (go, asked) = procession_pipe::channel::<u64>().unwrap();
    let mut things: Vec<&dyn Waitable> = queues.iter().map(|(_, rx)| rx as &dyn Waitable).collect();
    things.extend(pipes.iter().map(|(_, from)| from as &dyn Waitable));
    let senders: Vec<Sender<u64>> = queues.iter().map(|(tx, _)| tx.clone()).collect();
    let serve = |(asked, senders): (procession_pipe::Receiver<u64>, Vec<Sender<u64>>)| {
        asked.iter().for_each(|n| senders[n as usize].send(n).unwrap());
    };
    let process = spawn(serve, (asked, senders)).unwrap();
    for n in (0..60).map(|i| i * 7919 % 200) {
        match n {
            0..100 => go.send(&(n as u64)).unwrap(),
            _ => pipes[n - 100].0.send(&(n as u64)).unwrap(),
        }
        // First only the queues, which are too many by themselves.
        let few = if n < 100 && n % 2 == 0 { 100 } else { 200 };
        assert_eq!(wait(&things[..few], None).unwrap(), [n]);
        let received =
            if n < 100 { queues[n].1.try_recv().unwrap() } else { pipes[n - 100].1.recv().unwrap() };
        assert_eq!(received, n as u64);
    }
    drop(go);
    process.join().unwrap();
}

type Ends = (Sender<u64>, Receiver<u64>, Option<Duplex<u64, u64>>);

/// Answers what comes from the queue or from the pipe, each by its own way.
fn answer((tx, rx, pipe): Ends) {
    loop {
        let mut things: Vec<&dyn Waitable> = vec![&rx];
        things.extend(pipe.as_ref().map(|pipe| pipe as &dyn Waitable));
        for index in wait(&things, None).unwrap() {
            if index == 0 {
                match rx.try_recv() {
                    Ok(n) => tx.send(n + 1).unwrap(),
                    Err(procession_queue::RecvError::Closed) => return,
                    Err(e) => panic!("{e}"),
                }
            } else if let Some(pipe) = &pipe {
                pipe.send(&(pipe.try_recv().unwrap() + 1)).unwrap();
            }
        }
    }
}

/// Everybody sleeps in waits all the time: one lost wake is seen where the tick is long.
pub(crate) fn ping_pong_between_two_processes() {
    let (there, from_here) = bounded(4).unwrap();
    let (back, from_there) = bounded(4).unwrap();
    let (ours, theirs) = procession_pipe::pipe::<u64, u64>().unwrap();
    let process = spawn(answer, (back, from_here, Some(theirs))).unwrap();
    for n in 0..3000 {
        let is_queue = n % 3 != 0;
        if is_queue {
            there.send(n).unwrap();
        } else {
            ours.send(&n).unwrap();
        }
        let ready = wait(&[&ours, &from_there], None).unwrap();
        assert_eq!(ready, [usize::from(is_queue)]);
        let answer = if is_queue { from_there.try_recv().unwrap() } else { ours.try_recv().unwrap() };
        assert_eq!(answer, n + 1);
    }
    there.close();
    process.join().unwrap();
}

pub(crate) fn ping_pong_over_queues_only() {
    let (there, from_here) = bounded(4).unwrap();
    let (back, from_there) = bounded(4).unwrap();
    let (_tx, silent) = bounded::<u64>(4).unwrap();
    let process = spawn(answer, (back, from_here, None)).unwrap();
    for n in 0..10_000 {
        there.send(n).unwrap();
        assert_eq!(wait(&[&silent, &from_there], None).unwrap(), [1]);
        assert_eq!(from_there.try_recv().unwrap(), n + 1);
    }
    there.close();
    process.join().unwrap();
}

/// Takes what there is, together with others, some of whom wait here and some in the queue itself.
fn consume((one, two, stop): (Receiver<u64>, Receiver<u64>, Event)) -> u64 {
    let mut sum = 0;
    loop {
        let ready = wait(&[&one, &two, &stop], None).unwrap();
        for rx in [&one, &two] {
            sum += rx.try_recv().unwrap_or(0);
        }
        if ready == [2] {
            return sum;
        }
    }
}

pub(crate) fn every_message_is_had_once() {
    const MESSAGES: u64 = 20_000;
    let (one, from_one) = bounded::<u64>(8).unwrap();
    let (two, from_two) = bounded::<u64>(8).unwrap();
    let stop = Event::new().unwrap();
    let consumer = || spawn(consume, (from_one.clone(), from_two.clone(), stop.clone())).unwrap();
    let consumers = [consumer(), consumer(), consumer()];
    let blocking = spawn(|rx: Receiver<u64>| rx.into_iter().sum::<u64>(), from_one.clone()).unwrap();
    for n in 1..=MESSAGES {
        [&one, &two][n as usize % 2].send(n).unwrap();
    }
    while !one.is_empty() || !two.is_empty() {
        thread::yield_now();
    }
    stop.set();
    let sum: u64 = consumers.into_iter().map(|process| process.join().unwrap()).sum();
    one.close();
    assert_eq!(sum + blocking.join().unwrap(), MESSAGES * (MESSAGES + 1) / 2);
}

/// A process that dies is ready as one that ends is; who set an event and cleared it was noticed.
pub(crate) fn killed_and_quickly_cleared() {
    for is_mixed in [false, true] {
        let (_to, pipe) = procession_pipe::channel::<u8>().unwrap();
        let (never, there) = (Event::new().unwrap(), Event::new().unwrap());
        let hold = |(there, never): (Event, Event)| {
            there.set();
            never.wait();
        };
        let victim = spawn(hold, (there.clone(), never.clone())).unwrap();
        there.wait();
        let things: [&dyn Waitable; 3] = [&victim, &never, &pipe];
        let things = if is_mixed { &things[..] } else { &things[..1] };
        thread::scope(|s| {
            s.spawn(|| {
                until_others_most_likely_sleep();
                victim.kill().unwrap();
            });
            assert_eq!(wait(things, None).unwrap(), [0]);
        });
        assert!(matches!(victim.join(), Err(JoinError::Killed { .. })));
        let blink = |event: Event| {
            for _ in 0..300 {
                thread::yield_now();
            }
            event.set();
            event.clear();
            event.set();
        };
        let blinker = spawn(blink, never.clone()).unwrap();
        assert_eq!(if is_mixed { wait(&[&never, &pipe], None) } else { wait(&[&never], None) }.unwrap(), [0]);
        blinker.join().unwrap();
    }
}

/// Waits once, says so, and receives nothing.
fn wait_and_stay((rx, pipe, stage): (Receiver<u64>, Duplex<u64, u64>, Atomic<u32>)) {
    stage.store(1);
    assert_eq!(wait(&[&rx, &pipe], None).unwrap(), [0]);
    stage.store(2);
    let _ = pipe.recv();
}

fn wait_until_asleep(pid: u32) {
    // All of its threads sleep, and that for good.
    let is_asleep = || Identity::of(pid).and_then(Identity::state) == Some(State::Sleeping);
    let mut n = 0;
    while n < 50 {
        n = if is_asleep() { n + 1 } else { 0 };
        thread::yield_now();
    }
}

/// Somebody who receives, and sleeps behind the waiter.
fn receive_one((rx, stage): (Receiver<u64>, Atomic<u32>)) -> u64 {
    stage.store(1);
    rx.recv().unwrap()
}

fn until(stage: &Atomic<u32>, n: u32) {
    while stage.load() < n {
        thread::yield_now();
    }
}

pub(crate) fn a_waiter_that_was_woken_does_not_receive() {
    for _ in 0..5 {
        let (tx, rx) = bounded::<u64>(4).unwrap();
        let (ours, theirs) = procession_pipe::pipe::<u64, u64>().unwrap();
        let (stage, other_stage) = (Atomic::new(0).unwrap(), Atomic::new(0).unwrap());
        let waiter = spawn(wait_and_stay, (rx.clone(), theirs, stage.clone())).unwrap();
        until(&stage, 1);
        until_others_most_likely_sleep();
        let receiver = spawn(receive_one, (rx, other_stage.clone())).unwrap();
        until(&other_stage, 1);
        until_others_most_likely_sleep();
        tx.send(7).unwrap();
        assert_eq!(receiver.join().unwrap(), 7);
        // If the receiver was first, there was nothing for the waiter.
        tx.send(8).unwrap();
        until(&stage, 2);
        drop(ours);
        waiter.join().unwrap();
    }
}

pub(crate) fn a_waiter_that_was_woken_is_killed() {
    for _ in 0..5 {
        let (tx, rx) = bounded::<u64>(4).unwrap();
        let (_ours, theirs) = procession_pipe::pipe::<u64, u64>().unwrap();
        let (stage, other_stage) = (Atomic::new(0).unwrap(), Atomic::new(0).unwrap());
        let victim = spawn(wait_and_stay, (rx.clone(), theirs, stage.clone())).unwrap();
        until(&stage, 1);
        until_others_most_likely_sleep();
        wait_until_asleep(victim.pid());
        let stopped = Identity::of(victim.pid()).unwrap();
        stopped.kill(Signal::STOP).unwrap();
        while stopped.state() != Some(State::Stopped) {
            thread::yield_now();
        }
        let receiver = spawn(receive_one, (rx, other_stage.clone())).unwrap();
        until(&other_stage, 1);
        until_others_most_likely_sleep();
        // The one wake that this makes may be had by somebody who never looks again.
        tx.send(7).unwrap();
        stopped.kill(Signal::KILL).unwrap();
        assert!(matches!(victim.join(), Err(JoinError::Killed { .. })));
        assert_eq!(receiver.join().unwrap(), 7);
    }
}
