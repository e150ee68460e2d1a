//! All of them in one piece of memory, as one handle; and their travels.

use procession_shm::{Atomic, Shared};
use procession_sync::{Barrier, Condvar, Event, Mutex, Semaphore, SignalSemaphore};

use super::Method;

macro_rules! contract {
    ($method:ident, $type:ty; $($extra:tt)*) => {
        crate::suite::cases! { together, $method, $type; { $($extra)* }
            one_piece_of_memory
            parts_travel_alone
        }
    };
}
pub(crate) use contract;

#[derive(Clone, Shared)]
pub(crate) struct Board {
    pub(crate) stop: Event,
    pub(crate) gates: [Barrier; 2],
    pub(crate) seats: Semaphore,
    pub(crate) work: SignalSemaphore,
    pub(crate) sum: Mutex<u64>,
    pub(crate) changed: Condvar,
    pub(crate) done: Atomic<u32>,
}

pub(crate) fn board() -> Board {
    Board::create(((), [2, 3], 2, [5, 9], 0, (), 0)).unwrap()
}

/// Uses each of them once.
pub(crate) fn use_all(board: Board) {
    board.gates[0].wait().unwrap();
    let _seat = board.seats.acquire().unwrap();
    board.work.acquire();
    *board.sum.lock().unwrap() += 1;
    board.changed.notify_all();
    board.done.fetch_add(1);
    board.stop.wait();
}

pub(crate) fn one_piece_of_memory<M: Method>() {
    let board = board();
    let other = M::start(use_all, board.clone());
    board.gates[0].wait().unwrap();
    let sum = board.changed.wait_while(board.sum.lock().unwrap(), |sum| *sum == 0).unwrap();
    assert_eq!((*sum, board.work.available(), board.work.max()), (1, 4, 9));
    drop(sum);
    assert_eq!((board.seats.permits(), board.seats.available()), (2, 1));
    board.stop.set();
    other.join();
    assert_eq!((board.seats.available(), board.gates[1].parties(), board.done.load()), (2, 3, 1));
}

/// As an argument, and back as a result.
pub(crate) fn parts_travel_alone<M: Method>() {
    type Parts = (Event, Vec<Barrier>, Option<Semaphore>, SignalSemaphore);
    fn back(parts: Parts) -> Parts {
        parts.0.set();
        parts.3.release(1).unwrap();
        parts
    }
    let b = board();
    let parts = (b.stop.clone(), b.gates.to_vec(), Some(b.seats.clone()), b.work.clone());
    let (stop, gates, seats, work) = M::start(back, parts).join();
    assert!(stop.is_set() && b.stop.is_set());
    stop.clear();
    assert!(!b.stop.is_set());
    assert_eq!((gates[1].parties(), seats.unwrap().permits(), work.available()), (3, 2, 6));
    assert_eq!(b.work.available(), 6);
}
