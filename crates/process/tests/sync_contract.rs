//! The contract of locks and signals between processes: `contract::sync::<object>::spawn::<case>`. Its cases are those of
//! the crate that makes them; those that need a process to be killed asleep, stopped, forked or replaced are here.

#[path = "sync_contract/forks.rs"]
mod forks;
#[path = "sync_contract/signals.rs"]
mod killed_signals;
#[path = "../../sync/tests/suite/mod.rs"]
mod suite;

use std::thread;

use killed_signals::{barrier, event, semaphore, together, tokens};
use procession_codec::Message;
use procession_pipe::{Duplex, pipe};
use procession_process::{JoinError, spawn};
use procession_shm::Atomic;
use procession_sync::{Condvar, Failed, Mutex, OrRepair, RLock};
use procession_sys::caps::{self, Capability};
use procession_testkit::Identity;
use procession_testkit::processes::{Signal, State};
use suite::{Method, Peer, SOON, Victim, until};

/// The others are processes of their own.
struct Processes;

impl Method for Processes {
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static,
    {
        let process = spawn(task, argument).unwrap();
        Peer(Box::new(move || process.join().unwrap()))
    }

    fn start_victim<A>(task: fn((A, Atomic<u32>)), argument: A) -> Victim
    where
        A: Message + Send + 'static,
    {
        let stage = Atomic::new(0).unwrap();
        let process = spawn(task, (argument, stage.clone())).unwrap();
        let pid = process.pid();
        let finish = move |_: &Atomic<u32>, kill: bool| {
            if !kill {
                return process.join().unwrap();
            }
            process.kill().unwrap();
            assert!(matches!(process.join(), Err(JoinError::Killed { .. })));
        };
        Victim { stage, pid, finish: Box::new(finish) }
    }

    fn wait_for_death(_: &Atomic<u32>) {
        loop {
            thread::park();
        }
    }
}

mod contract {
    mod sync {
        crate::suite::mutex::contract!(spawn, crate::Processes;
            killed::asleep
            killed::with_the_wake_that_was_meant_for_all
            killed::a_thread_of_a_process_that_lives
            killed::replaced_by_another_program
            stopped::a_holder_is_never_robbed
            travel::in_messages
            travel::that_a_child_made
            forks::a_guard_of_the_parent_holds_nothing_in_the_child
            forks::a_forked_child_dies_inside
            forks::a_main_thread_ends_with_the_lock
            forks::a_main_thread_ends_while_another_holds_the_lock
        );
        crate::suite::lock::contract!(spawn, crate::Processes;);
        crate::suite::rlock::contract!(spawn, crate::Processes;
            forks::a_level_of_the_parent_is_no_level_of_the_child
        );
        crate::suite::condvar::contract!(spawn, crate::Processes;
            killed::with_the_notification_that_was_meant_for_all
            killed::waiting
        );
        crate::suite::event::contract!(spawn, crate::Processes;
            event::killed_asleep
            event::set_and_cleared_while_asleep
            event::set_while_stopped
        );
        crate::suite::semaphore::contract!(spawn, crate::Processes;
            semaphore::killed_asleep
            semaphore::killed_with_the_wake_that_was_meant_for_all
            semaphore::a_stopped_holder_is_never_robbed
            semaphore::a_thread_of_a_process_that_lives
        );
        crate::suite::signals::contract!(spawn, crate::Processes;
            tokens::killed_asleep
            tokens::killed_with_the_wake_that_was_meant_for_all
        );
        crate::suite::barrier::contract!(spawn, crate::Processes;
            barrier::killed_after_it_arrived
            barrier::a_guest_killed_after_it_arrived
            barrier::a_stopped_party_is_only_late
            barrier::left_in_good_order
        );
        crate::suite::rwlock::contract!(spawn, crate::Processes;);
        crate::suite::once::contract!(spawn, crate::Processes;);
        crate::suite::together::contract!(spawn, crate::Processes;
            together::in_messages
            together::in_a_fork
            together::guards_of_the_parent_hold_nothing_in_the_child
        );
    }
}

/// Waits until a thread of the process sleeps on a lock or a condition, where the kernel has a call for just that.
fn until_asleep(pid: u32) {
    let waits = |task: std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("syscall")).is_ok_and(|call| call.starts_with("449 "))
    };
    if caps::has(Capability::Waitv) {
        until(|| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().any(waits));
    }
}

fn stop(pid: u32) -> Identity {
    let process = Identity::of(pid).unwrap();
    process.kill(Signal::STOP).unwrap();
    until(|| process.state() == Some(State::Stopped));
    process
}

mod killed {
    use std::mem;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::suite::condvar::{Pair, pair, take_a_ticket, wait_for_waiters};
    use super::*;

    /// Is asleep soon after it says that it is ready.
    fn lock_and_add((mutex, stage): (Mutex<u32>, Atomic<u32>)) {
        stage.store(1);
        *mutex.lock().or_carry_on().unwrap() += 1;
    }

    fn lock_and_add_and_stay((mutex, stage): (Mutex<u32>, Atomic<u32>)) {
        lock_and_add((mutex, stage.clone()));
        Processes::wait_for_death(&stage);
    }

    pub(super) fn asleep() {
        let mutex = Mutex::new(0).unwrap();
        let guard = mutex.lock().unwrap();
        let victim = Processes::start_victim(lock_and_add_and_stay, mutex.clone()).ready();
        until_asleep(victim.pid);
        victim.die();
        drop(guard);
        assert_eq!(*mutex.lock().unwrap(), 0);
    }

    /// The one that slept first is woken, and killed before it does anything: most times, as there is a race.
    pub(super) fn with_the_wake_that_was_meant_for_all() {
        for _ in 0..2 {
            let mutex = Mutex::new(0).unwrap();
            let guard = mutex.lock().unwrap();
            let victim = Processes::start_victim(lock_and_add_and_stay, mutex.clone()).ready();
            until_asleep(victim.pid);
            let others = [(); 2].map(|()| Processes::start_victim(lock_and_add, mutex.clone()).ready());
            others.iter().for_each(|other| until_asleep(other.pid));
            drop(guard);
            victim.die();
            others.into_iter().for_each(Victim::end);
            assert!(*mutex.lock().or_carry_on().unwrap() >= 2);
        }
    }

    fn take_one((pair, stage): (Pair, Atomic<u32>)) {
        stage.store(1);
        take_a_ticket(pair);
        Processes::wait_for_death(&stage);
    }

    /// As with a wake of a lock.
    pub(super) fn with_the_notification_that_was_meant_for_all() {
        for _ in 0..2 {
            let pair = pair();
            let victim = Processes::start_victim(take_one, pair.clone()).ready();
            wait_for_waiters(&pair, 1);
            until_asleep(victim.pid);
            let other = Processes::start(take_a_ticket, pair.clone());
            wait_for_waiters(&pair, 2);
            pair.0.lock().unwrap().tickets = 1;
            pair.1.notify_one();
            victim.die();
            let mut state = pair.0.lock().or_carry_on().unwrap();
            if state.tickets == 0 {
                // One of them has got it; in case it was the victim.
                state.tickets = 1;
                pair.1.notify_one();
            }
            drop(state);
            other.join();
        }
    }

    /// A dead waiter costs nobody anything: neither who notifies, nor who waits beside it.
    pub(super) fn waiting() {
        let pair = pair();
        let victims = [(); 2].map(|()| Processes::start_victim(take_one, pair.clone()).ready());
        let other = Processes::start(take_a_ticket, pair.clone());
        wait_for_waiters(&pair, 3);
        for victim in victims {
            victim.die();
        }
        pair.0.lock().unwrap().tickets = 1;
        pair.1.notify_n(3);
        other.join();
        pair.1.notify_one();
        assert_eq!(pair.0.lock().unwrap().served, 1);
    }

    fn lose_a_thread((mutex, stage): (Mutex<u32>, Atomic<u32>)) {
        thread::spawn(move || mem::forget(mutex.lock().unwrap())).join().unwrap();
        Processes::ready_to_die(&stage);
    }

    pub(super) fn a_thread_of_a_process_that_lives() {
        let mutex = Mutex::new(0).unwrap();
        let victim = Processes::start_victim(lose_a_thread, mutex.clone()).ready();
        match mutex.lock() {
            Err(Failed::OwnerDied(died)) => {
                let dead = died.dead().participant().unwrap();
                assert_eq!(dead.pid, victim.pid);
                assert_ne!(dead.tid, victim.pid);
            }
            other => panic!("{other:?}"),
        }
        victim.die();
    }

    fn become_another_program((mutex, stage): (Mutex<u32>, Atomic<u32>)) {
        mem::forget(mutex.lock().unwrap());
        stage.store(1);
        panic!("{}", Command::new("sleep").arg("1000").exec());
    }

    pub(super) fn replaced_by_another_program() {
        let mutex = Mutex::new(0).unwrap();
        let victim = Processes::start_victim(become_another_program, mutex.clone()).ready();
        let mut told = 0;
        drop(mutex.lock().or_repair(|_, dead| told = dead.pid()).unwrap());
        assert_eq!(told, victim.pid);
        assert!(Identity::of(told).unwrap().is_alive());
        victim.die();
    }
}

mod stopped {
    use super::*;

    fn hold_until_told((mutex, stage): (Mutex<u32>, Atomic<u32>)) {
        let mut n = mutex.lock().unwrap();
        stage.store(1);
        until(|| stage.load() == 2);
        *n += 1;
    }

    pub(super) fn a_holder_is_never_robbed() {
        let mutex = Mutex::new(0).unwrap();
        let victim = Processes::start_victim(hold_until_told, mutex.clone()).ready();
        let process = stop(victim.pid);
        victim.stage.store(2);
        // For several ticks: who sleeps long on somebody asks twice whether that is alive.
        match mutex.lock_timeout(30 * SOON) {
            Err(Failed::TimedOut { holder }) => assert_eq!(holder.unwrap().pid(), victim.pid),
            other => panic!("{other:?}"),
        }
        assert!(matches!(mutex.try_lock(), Err(Failed::WouldBlock { .. })));
        process.kill(Signal::CONT).unwrap();
        assert_eq!(*mutex.lock().unwrap(), 1);
        victim.end();
    }
}

mod travel {
    use super::*;

    type All = (Mutex<u32>, Condvar, RLock);

    fn work(up: Duplex<All, All>) {
        let all = up.recv().unwrap();
        let rlock = all.2.lock().unwrap();
        let n = all.1.wait_while(all.0.lock().unwrap(), |n| *n == 0).unwrap();
        drop((n, rlock));
        up.send(&all).unwrap();
    }

    pub(super) fn in_messages() {
        let (ours, theirs) = pipe::<All, All>().unwrap();
        let child = spawn(work, theirs).unwrap();
        let (mutex, changed, rlock) =
            (Mutex::new(0).unwrap(), Condvar::new().unwrap(), RLock::new().unwrap());
        ours.send(&(mutex.clone(), changed.clone(), rlock.clone())).unwrap();
        until(|| rlock.is_locked());
        *mutex.lock().unwrap() = 1;
        changed.notify_all();
        let back = ours.recv().unwrap();
        *back.0.lock().unwrap() += 1;
        assert_eq!(*mutex.lock().unwrap(), 2);
        let guard = rlock.lock().unwrap();
        assert_eq!(back.2.holder().unwrap().pid(), std::process::id());
        drop(back.2.lock().unwrap());
        drop(guard);
        child.join().unwrap();
    }

    /// Makes a mutex of its own, and dies with that and with its parent's.
    fn make((ours, stage): (Duplex<Mutex<u32>, Mutex<u32>>, Atomic<u32>)) {
        let own = Mutex::new(7).unwrap();
        drop(own.lock().unwrap());
        ours.send(&own).unwrap();
        let theirs = ours.recv().unwrap();
        let guards = [own.lock().unwrap(), theirs.lock().unwrap()];
        assert_ne!(guards.each_ref().map(|n| **n), [0; 2]);
        std::mem::forget(guards);
        Processes::ready_to_die(&stage);
    }

    /// What a child has made lives on without it. (Domains that know nothing of each other: `strangers.rs` of the crate.)
    pub(super) fn that_a_child_made() {
        let ours = Mutex::new(8).unwrap();
        let (here, there) = pipe::<Mutex<u32>, Mutex<u32>>().unwrap();
        let victim = Processes::start_victim(make, there);
        here.send(&ours).unwrap();
        let theirs = here.recv().unwrap();
        let victim = victim.ready();
        for mutex in [&ours, &theirs] {
            assert!(matches!(mutex.try_lock(), Err(Failed::WouldBlock { .. })));
        }
        let pid = victim.die();
        for mutex in [ours, theirs] {
            let mut told = 0;
            *mutex.lock().or_repair(|_, dead| told = dead.pid()).unwrap() += 1;
            assert_eq!(told, pid);
        }
    }
}
