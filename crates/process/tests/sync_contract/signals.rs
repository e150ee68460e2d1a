//! Events, semaphores and barriers whose users are killed asleep, stopped, or forked.

use std::mem;
use std::thread;

use procession_pipe::{Duplex, pipe};
use procession_process::spawn;
use procession_shm::Atomic;
use procession_sync::{AcquireError, Barrier, Broken, Event, Semaphore, SignalSemaphore};
use procession_testkit::processes::Signal;

use super::suite::barrier::{wait_for_others, waiting};
use super::suite::together::{Board, board, use_all};
use super::suite::{FAR, Method, Peer, SOON, Victim, until};
use super::{Processes, stop};

/// Waits until a thread of the process sleeps on a word that processes share.
fn until_asleep(pid: u32) {
    // `futex_waitv`, or `futex` with an operation that is not private.
    let waits = |task: std::fs::DirEntry| {
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let mut words = call.split(' ');
        match words.next() {
            Some("449") => true,
            Some("202") => matches!(words.nth(1), Some("0x0" | "0x9")),
            _ => false,
        }
    };
    until(|| std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().any(waits));
}

/// Is asleep soon after it says that it is ready.
fn asleep<A: procession_codec::Message + Clone + Send + 'static>(
    task: fn((A, Atomic<u32>)),
    argument: &A,
) -> Victim {
    let victim = Processes::start_victim(task, argument.clone()).ready();
    until_asleep(victim.pid);
    victim
}

pub(super) mod event {
    use super::*;

    fn wait((event, stage): (Event, Atomic<u32>)) {
        stage.store(1);
        event.wait();
    }

    fn wait_and_stay((event, stage): (Event, Atomic<u32>)) {
        wait((event, stage.clone()));
        Processes::wait_for_death(&stage);
    }

    pub(crate) fn killed_asleep() {
        let event = Event::new().unwrap();
        let [first, other, last] = [(); 3].map(|()| asleep(wait_and_stay, &event));
        first.die();
        let living = asleep(wait, &event);
        other.die();
        event.set();
        last.die();
        living.end();
    }

    /// One that looks at the flag when it wakes would sleep on.
    pub(crate) fn set_and_cleared_while_asleep() {
        let event = Event::new().unwrap();
        let all = [(); 3].map(|()| asleep(wait, &event));
        event.set();
        event.clear();
        all.into_iter().for_each(Victim::end);
        assert!(!event.is_set());
    }

    pub(crate) fn set_while_stopped() {
        let event = Event::new().unwrap();
        let waiter = asleep(wait, &event);
        let process = stop(waiter.pid);
        event.set();
        event.clear();
        process.kill(Signal::CONT).unwrap();
        waiter.end();
    }
}

pub(super) mod semaphore {
    use super::*;

    fn take((permits, stage): (Semaphore, Atomic<u32>)) {
        stage.store(1);
        let permit = permits.acquire().unwrap();
        stage.store(2);
        drop(permit);
    }

    fn take_and_stay((permits, stage): (Semaphore, Atomic<u32>)) {
        stage.store(1);
        mem::forget(permits.acquire().unwrap());
        Processes::wait_for_death(&stage);
    }

    pub(crate) fn killed_asleep() {
        let permits = Semaphore::new(1).unwrap();
        let permit = permits.acquire().unwrap();
        asleep(take_and_stay, &permits).die();
        assert_eq!(permits.available(), 0);
        drop(permit);
        assert!(permits.try_acquire().unwrap().left_by().is_none());
    }

    /// The one that slept first is woken, and killed before it does anything: most times, as there is a race.
    pub(crate) fn killed_with_the_wake_that_was_meant_for_all() {
        // Each costs a tick.
        for _ in 0..2 {
            let permits = Semaphore::new(1).unwrap();
            let permit = permits.acquire().unwrap();
            let victim = asleep(take_and_stay, &permits);
            let others = [(); 2].map(|()| asleep(take, &permits));
            drop(permit);
            victim.die();
            others.into_iter().for_each(Victim::end);
            assert_eq!(permits.available(), 1);
        }
    }

    fn take_until_told((permits, stage): (Semaphore, Atomic<u32>)) {
        let _permit = permits.acquire().unwrap();
        stage.store(1);
        until(|| stage.load() == 2);
    }

    pub(crate) fn a_stopped_holder_is_never_robbed() {
        let permits = Semaphore::new(1).unwrap();
        let holder = Processes::start_victim(take_until_told, permits.clone()).ready();
        let process = stop(holder.pid);
        holder.stage.store(2);
        // For several ticks: who sleeps long on somebody asks twice whether that is alive.
        assert!(matches!(permits.acquire_timeout(30 * SOON), Err(AcquireError::TimedOut)));
        assert_eq!(permits.holders()[0].pid(), holder.pid);
        process.kill(Signal::CONT).unwrap();
        assert!(permits.acquire_timeout(FAR).unwrap().left_by().is_none());
        holder.end();
    }

    fn lose_a_thread((permits, stage): (Semaphore, Atomic<u32>)) {
        thread::spawn(move || permits.acquire().unwrap().keep()).join().unwrap();
        Processes::ready_to_die(&stage);
    }

    pub(crate) fn a_thread_of_a_process_that_lives() {
        let permits = Semaphore::new(1).unwrap();
        let victim = Processes::start_victim(lose_a_thread, permits.clone()).ready();
        let left = permits.acquire().unwrap().left_by().unwrap();
        assert_eq!((left.pid, left.tid == victim.pid), (victim.pid, false));
        victim.die();
    }
}

pub(super) mod tokens {
    use super::*;

    fn take((tokens, stage): (SignalSemaphore, Atomic<u32>)) {
        stage.store(1);
        tokens.acquire();
    }

    fn take_and_stay((tokens, stage): (SignalSemaphore, Atomic<u32>)) {
        take((tokens, stage.clone()));
        Processes::wait_for_death(&stage);
    }

    pub(crate) fn killed_asleep() {
        let tokens = SignalSemaphore::new(0).unwrap();
        let victims = [(); 2].map(|()| asleep(take_and_stay, &tokens));
        let living = asleep(take, &tokens);
        for victim in victims {
            victim.die();
        }
        tokens.release(1).unwrap();
        living.end();
        assert_eq!(tokens.available(), 0);
    }

    /// As with a permit; the victim may have taken the token with it.
    pub(crate) fn killed_with_the_wake_that_was_meant_for_all() {
        for _ in 0..5 {
            let tokens = SignalSemaphore::bounded(0, 1).unwrap();
            let victim = asleep(take_and_stay, &tokens);
            let other = Processes::start(|tokens: SignalSemaphore| tokens.acquire(), tokens.clone());
            tokens.release(1).unwrap();
            victim.die();
            let _ = tokens.release(1);
            other.join();
        }
    }
}

pub(super) mod barrier {
    use super::*;

    fn attach_and_wait((gate, stage): (Barrier, Atomic<u32>)) {
        let _place = gate.attach().unwrap();
        stage.store(1);
        let _ = gate.wait();
        Processes::wait_for_death(&stage);
    }

    fn come_and_wait((gate, stage): (Barrier, Atomic<u32>)) {
        stage.store(1);
        let _ = gate.wait();
        Processes::wait_for_death(&stage);
    }

    /// The others meet, and miss it in the next round.
    pub(crate) fn killed_after_it_arrived() {
        let gate = Barrier::new(3).unwrap();
        let victim = asleep(attach_and_wait, &gate);
        let others = waiting_with::<1>(&gate);
        let pid = victim.die();
        assert!(gate.wait_timeout(FAR).is_ok());
        assert!(others.into_iter().all(|other| other.join().is_ok()));
        assert!(!gate.is_broken());
        let others = waiting::<Processes>(&gate, 0);
        let broken = gate.wait_timeout(FAR).unwrap_err();
        assert_eq!((broken.died[0].pid(), broken.died.len(), broken.cause), (pid, 1, Broken::Death));
        assert!(others.is_empty());
    }

    /// Others who wait beside `waiting` ones.
    fn waiting_with<const N: usize>(
        gate: &Barrier,
    ) -> Vec<Peer<Result<usize, procession_sync::BarrierBroken>>> {
        let others = vec![Processes::start(wait_for_others, gate.clone())];
        until(|| gate.n_waiting() == N + 1);
        others
    }

    /// A guest that arrived and died is not missed, then or later.
    pub(crate) fn a_guest_killed_after_it_arrived() {
        let gate = Barrier::new(3).unwrap();
        let victim = asleep(come_and_wait, &gate);
        let others = waiting_with::<1>(&gate);
        victim.die();
        assert!(gate.wait_timeout(FAR).is_ok());
        assert!(others.into_iter().all(|other| other.join().is_ok()));
        let others = waiting::<Processes>(&gate, 2);
        assert!(gate.wait_timeout(FAR).is_ok());
        assert!(others.into_iter().all(|other| other.join().is_ok()));
    }

    fn attach_and_meet_late((gate, stage): (Barrier, Atomic<u32>)) {
        let _place = gate.attach().unwrap();
        stage.store(1);
        until(|| stage.load() == 2);
        assert!(gate.wait().is_ok());
    }

    fn meet((gate, stage): (Barrier, Atomic<u32>)) {
        stage.store(1);
        assert!(gate.wait().is_ok());
    }

    pub(crate) fn a_stopped_party_is_only_late() {
        let gate = Barrier::new(3).unwrap();
        let party = Processes::start_victim(attach_and_meet_late, gate.clone()).ready();
        let process = stop(party.pid);
        party.stage.store(2);
        // Both have looked at it, and gone to sleep.
        let others = [(); 2].map(|()| asleep(meet, &gate));
        assert!(gate.n_waiting() == 2 && !gate.is_broken());
        process.kill(Signal::CONT).unwrap();
        others.into_iter().chain([party]).for_each(Victim::end);
    }

    fn attach_and_leave((gate, stage): (Barrier, Atomic<u32>)) {
        drop(gate.attach().unwrap());
        stage.store(1);
    }

    /// Who left its place in good order is not missed.
    pub(crate) fn left_in_good_order() {
        let gate = Barrier::new(2).unwrap();
        Processes::start_victim(attach_and_leave, gate.clone()).ready().end();
        let others = waiting::<Processes>(&gate, 1);
        assert!(gate.wait().is_ok());
        assert!(others.into_iter().all(|other| other.join().is_ok()));
    }
}

pub(super) mod together {
    use super::super::forks::Forked;
    use super::*;

    fn receive_and_use(up: Duplex<Board, Board>) {
        let board = up.recv().unwrap();
        use_all(board.clone());
        up.send(&board).unwrap();
    }

    pub(crate) fn in_messages() {
        let (ours, theirs) = pipe::<Board, Board>().unwrap();
        let child = spawn(receive_and_use, theirs).unwrap();
        let board = board();
        ours.send(&board).unwrap();
        board.gates[0].wait().unwrap();
        until(|| board.done.load() == 1);
        board.stop.set();
        let back = ours.recv().unwrap();
        back.stop.clear();
        assert!(!board.stop.is_set() && board.seats.available() == 2);
        child.join().unwrap();
    }

    pub(crate) fn in_a_fork() {
        let board = board();
        let child = Forked::new(|| use_all(board.clone()));
        board.gates[0].wait().unwrap();
        until(|| board.done.load() == 1);
        assert_eq!(board.seats.holders()[0].pid(), child.pid());
        board.stop.set();
        assert_eq!(child.status(), 0);
        assert_eq!((board.seats.available(), *board.sum.lock().unwrap()), (2, 1));
    }

    /// A copy of a guard gives nothing back; what the child takes is its own.
    pub(crate) fn guards_of_the_parent_hold_nothing_in_the_child() {
        let board = board();
        let gate = &board.gates[0];
        let mut guards = Some((board.seats.acquire().unwrap(), gate.attach().unwrap()));
        let child = Forked::new(|| {
            drop(guards.take());
            assert_eq!(board.seats.available(), 1);
            assert!(board.seats.release().is_err());
            mem::forget((board.seats.acquire().unwrap(), gate.attach().unwrap()));
            assert!(gate.wait().is_ok());
        });
        let pid = child.pid();
        assert!(gate.wait().is_ok());
        assert_eq!(child.status(), 0);
        assert_eq!(gate.wait().unwrap_err().died[0].pid(), pid);
        assert_eq!(board.seats.available(), 1);
        drop(guards);
        let left = [(); 2].map(|()| board.seats.try_acquire().unwrap().left_by().map(|dead| dead.pid()));
        assert_eq!(left.iter().flatten().count(), 0, "a free one is taken first");
        let both = [(); 2].map(|()| board.seats.try_acquire().unwrap());
        assert_eq!(both[1].left_by().map(|dead| dead.pid()), Some(pid));
    }
}
