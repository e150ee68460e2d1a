//! Barriers: all meet or none does, whoever gives up or dies.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use procession_manager::{Barrier, BarrierBroken, BarrierWaitResult, Broken, Manager};
use procession_process::spawn;
use procession_testkit::guarded;
use support::{End, Victim, await_waiting, here};

fn why(met: Result<BarrierWaitResult, BarrierBroken>) -> Broken {
    match met {
        Err(BarrierBroken::Broken(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_meet_again_and_again_and_one_of_them_leads() {
    guarded(|| {
        const ROUNDS: u64 = 30;
        let manager = Manager::start().unwrap();
        let (gate, sum) = (manager.barrier(4).unwrap(), manager.value(0_u64).unwrap());
        assert_eq!(gate.parties().unwrap(), 4);
        let task = |(gate, sum): (Barrier, procession_manager::Value<u64>)| {
            let mut indices = 0;
            for round in 1..=ROUNDS {
                sum.update(|sum, by| *sum += by, 1).unwrap();
                indices += gate.wait().unwrap().index();
                assert_eq!(sum.get().unwrap(), round * 4, "all had come");
                gate.wait().unwrap();
            }
            indices
        };
        let children: Vec<_> = (0..2).map(|_| spawn(task, (gate.clone(), sum.clone())).unwrap()).collect();
        let all = thread::scope(|scope| {
            let here = [(); 2].map(|()| scope.spawn(|| task((gate.clone(), sum.clone()))));
            let here: u64 = here.into_iter().map(|thread| thread.join().unwrap()).sum();
            here + children.into_iter().map(|child| child.join().unwrap()).sum::<u64>()
        });
        assert_eq!(all, ROUNDS * (1 + 2 + 3), "each index once");
    });
}

#[test]
fn one_that_does_not_wait_meets_as_the_last_only() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let gate = manager.barrier(2).unwrap();
        assert!(gate.try_wait().unwrap().is_none());
        assert_eq!(gate.n_waiting().unwrap(), 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait().unwrap().index());
            await_waiting(&manager, 1);
            assert_eq!(gate.n_waiting().unwrap(), 1);
            assert_eq!(gate.try_wait().unwrap().unwrap().index() + waiting.join().unwrap(), 1);
        });
    });
}

#[test]
fn a_limit_breaks_it_for_all_until_it_is_reset() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let gate = manager.barrier(3).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| why(gate.wait()));
            await_waiting(&manager, 1);
            assert_eq!(why(gate.wait_timeout(Duration::from_millis(3))), Broken::TimedOut);
            assert_eq!(waiting.join().unwrap(), Broken::Aborted);
        });
        assert!(gate.is_broken().unwrap());
        assert_eq!(why(gate.wait()), Broken::Aborted);
        assert!(gate.try_wait().is_err());
        gate.reset().unwrap();
        assert!(!gate.is_broken().unwrap());
        // A limit in the past is one.
        assert_eq!(why(gate.wait_until(Instant::now())), Broken::TimedOut);
        assert!(gate.is_broken().unwrap());
    });
}

#[test]
fn who_waits_hears_of_a_reset_and_of_an_abort() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let gate = manager.barrier(2).unwrap();
        for ends in [Barrier::reset, Barrier::abort] {
            thread::scope(|scope| {
                let waiting = scope.spawn(|| why(gate.wait()));
                await_waiting(&manager, 1);
                ends(&gate).unwrap();
                assert_eq!(waiting.join().unwrap(), Broken::Aborted);
            });
        }
        assert!(gate.is_broken().unwrap());
    });
}

#[test]
fn a_waiter_that_is_killed_breaks_it_and_is_named() {
    guarded(|| {
        let manager = Manager::start().unwrap();
        let gate = manager.barrier(3).unwrap();
        let task = |(gate, end): (Barrier, End)| {
            let _ = gate.wait();
            here(&end);
        };
        let victim = Victim::start(task, gate.clone());
        await_waiting(&manager, 1);
        let broken = thread::scope(|scope| {
            let waiting = scope.spawn(|| why(gate.wait()));
            await_waiting(&manager, 2);
            victim.shoot();
            waiting.join().unwrap()
        });
        assert_eq!(broken, Broken::Died { pid: victim.pid() });
        assert_eq!(why(gate.wait()), broken, "who comes late hears it, too");
        let told = gate.wait().unwrap_err().to_string();
        assert!(told.ends_with(&format!("process {} died while it waited", victim.pid())), "{told}");
        gate.reset().unwrap();
        assert_eq!(gate.n_waiting().unwrap(), 0);
    });
}
