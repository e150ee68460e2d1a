//! SignalSemaphore: a counter that belongs to nobody.

use std::panic::catch_unwind;
use std::time::Instant;

use procession_shm::Atomic;
use procession_sync::{SignalSemaphore, TooMany};

use super::{FAR, Method, Peer, SOON, until};

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { signals, $method, $type; { $($extra)* }
            each_token_is_taken_once
            as_many_wake_as_tokens_are_given
            every_form_takes_and_gives_up
            never_above_its_maximum
            many_at_once
            tokens_of_the_dead_are_gone
        }
    };
}
pub(crate) use contract;

fn take((tokens, taken): (SignalSemaphore, Atomic<u64>)) {
    for _ in 0..2_000 {
        tokens.acquire();
        taken.fetch_add(1);
    }
}

pub(crate) fn each_token_is_taken_once<M: Method>() {
    let (tokens, taken) = (SignalSemaphore::new(0).unwrap(), Atomic::new(0).unwrap());
    let others = [(); 3].map(|()| M::start(take, (tokens.clone(), taken.clone())));
    for n in 0..6_000 {
        assert!(taken.load() <= n);
        tokens.release(1).unwrap();
    }
    others.into_iter().for_each(Peer::join);
    assert_eq!((taken.load(), tokens.available()), (6_000, 0));
}

pub(crate) fn as_many_wake_as_tokens_are_given<M: Method>() {
    fn one((tokens, started): (SignalSemaphore, Atomic<u32>)) -> bool {
        started.fetch_add(1);
        tokens.acquire_timeout(FAR)
    }
    let (tokens, started) = (SignalSemaphore::new(0).unwrap(), Atomic::new(0).unwrap());
    let others = [(); 4].map(|()| M::start(one, (tokens.clone(), started.clone())));
    until(|| started.load() == 4);
    tokens.release(3).unwrap();
    tokens.release(2).unwrap();
    assert!(others.map(Peer::join).into_iter().all(|took| took));
    assert_eq!(tokens.available(), 1);
}

pub(crate) fn every_form_takes_and_gives_up<M: Method>() {
    fn each(tokens: SignalSemaphore) -> [bool; 3] {
        let by = Instant::now() + SOON;
        [tokens.try_acquire(), tokens.acquire_timeout(SOON), tokens.acquire_until(by)]
    }
    for n in 0..=3 {
        let tokens = SignalSemaphore::new(n).unwrap();
        assert_eq!(M::start(each, tokens.clone()).join(), [0, 1, 2].map(|at| at < n));
        assert_eq!(tokens.available(), 0);
    }
}

pub(crate) fn never_above_its_maximum<M: Method>() {
    fn give(tokens: SignalSemaphore) -> u32 {
        (0..2_000).filter(|_| tokens.release(1).is_ok()).count() as u32
    }
    let tokens = SignalSemaphore::bounded(1, 3).unwrap();
    assert_eq!((tokens.release(3), tokens.available(), tokens.max()), (Err(TooMany), 1, 3));
    assert_eq!((tokens.release(2), tokens.release(1), tokens.release(0)), (Ok(()), Err(TooMany), Ok(())));
    let others = [(); 3].map(|()| M::start(give, tokens.clone()));
    let taken = (0..2_000).filter(|_| tokens.try_acquire() && tokens.available() <= 3).count() as u32;
    let given: u32 = others.into_iter().map(Peer::join).sum();
    assert_eq!(tokens.available(), 3 + given - taken);
    assert!(catch_unwind(|| SignalSemaphore::bounded(4, 3)).is_err());
    assert!(catch_unwind(|| SignalSemaphore::bounded(0, SignalSemaphore::MAX + 1)).is_err());
    assert_eq!(SignalSemaphore::new(SignalSemaphore::MAX).unwrap().release(1), Err(TooMany));
}

pub(crate) fn many_at_once<M: Method>() {
    let tokens = SignalSemaphore::new(5_000).unwrap();
    M::start(|tokens: SignalSemaphore| tokens.release(1_000_000).unwrap(), tokens.clone()).join();
    assert_eq!(tokens.available(), 1_005_000);
    assert_eq!(
        (tokens.release(SignalSemaphore::MAX), tokens.release(u32::MAX)),
        (Err(TooMany), Err(TooMany))
    );
    assert_eq!(tokens.available(), 1_005_000);
}

pub(crate) fn tokens_of_the_dead_are_gone<M: Method>() {
    fn die<M: Method>((tokens, stage): (SignalSemaphore, Atomic<u32>)) {
        tokens.acquire();
        M::ready_to_die(&stage);
    }
    let tokens = SignalSemaphore::new(2).unwrap();
    M::start_victim(die::<M>, tokens.clone()).ready().die();
    assert_eq!((tokens.available(), tokens.try_acquire(), tokens.try_acquire()), (1, true, false));
}
