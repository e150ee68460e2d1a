//! Cells between threads and processes: one at a time, and what a holder left behind is told to the next.
#![forbid(unsafe_code)]

mod handed;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use handed::{got, role_with};
use procession_raw::{Lock, LockError, Protected, RwLock};
use procession_shm::{Cell, Locked, Plain, Shared, ShmError, Wait, space};
use procession_sys::Deadline;
use procession_testkit::roles;
use procession_testkit::{guarded, role};

const LIMIT: Duration = Duration::from_secs(60);

/// Two halves, equal whenever nobody has the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Plain)]
struct Halves {
    left: u64,
    right: u64,
}

struct Board(Cell<Lock, Halves>);

impl Board {
    fn new() -> Self {
        Self(Cell::create(Halves::default()).unwrap())
    }

    fn lock(&self) -> (Locked<'_, Lock, Halves>, Protected) {
        self.0.lock(Wait(Deadline::NEVER)).unwrap()
    }

    /// The state that the next finds.
    fn state(&self) -> Protected {
        self.lock().1
    }
}

impl AsFd for Board {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.space().as_fd()
    }
}

impl TryFrom<OwnedFd> for Board {
    type Error = ShmError;

    fn try_from(fd: OwnedFd) -> Result<Self, ShmError> {
        space::from_descriptor(fd, None).map(Self)
    }
}

#[test]
fn one_thread_of_any_process_is_inside_at_a_time() {
    const EACH: u64 = 10_000;
    let add = |board: &Board| {
        for _ in 0..EACH {
            let (mut halves, state) = board.lock();
            assert_eq!((state, halves.left), (Protected::Consistent, halves.right));
            halves.left += 1;
            std::hint::spin_loop();
            halves.right += 1;
        }
    };
    if role().is_some() {
        return add(&got());
    }
    guarded(|| {
        let board = Board::new();
        let children = [(); 2].map(|()| role_with("adder", &board).spawn());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| add(&board));
            }
        });
        for child in children {
            child.wait_with_output(LIMIT).expect_success();
        }
        assert_eq!(*board.lock().0, Halves { left: 4 * EACH, right: 4 * EACH });
    });
}

#[test]
fn who_takes_over_from_a_killed_holder_is_told_so_and_finds_what_it_left() {
    if role().is_some() {
        let board: Board = got();
        let (mut halves, _) = board.lock();
        halves.left = 1;
        roles::say("inside");
        let _ = roles::hear();
        return;
    }
    guarded(|| {
        let board = Board::new();
        let mut holder = role_with("holder", &board).spawn();
        assert_eq!(holder.hear(LIMIT).as_deref(), Some("inside"));
        let (pid, id) = (holder.identity().pid(), board.0.holder().unwrap());
        let now = || board.0.lock(Wait(Deadline::now())).map(|(_, state)| state);
        assert_eq!(now(), Err(LockError::TimedOut(id)));
        assert_eq!(board.0.domain().participant(id).map(|p| p.pid()), Some(pid));
        holder.kill();
        let (halves, state) = board.lock();
        assert_eq!((state, *halves), (Protected::OwnerDied(id), Halves { left: 1, right: 0 }));
        drop(halves);
        // Nobody has mended it yet.
        assert_eq!([board.state(), board.state()], [Protected::Poisoned; 2]);
        let (mut halves, _) = board.lock();
        halves.right = 1;
        halves.mark_consistent();
        drop(halves);
        assert_eq!(board.state(), Protected::Consistent);
    });
}

#[test]
fn a_panic_with_the_guard_poisons_and_one_before_it_does_not() {
    guarded(|| {
        let board = Board::new();
        let panics = || {
            let _inside = board.lock();
            panic!("on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let (halves, state) = board.lock();
        assert_eq!(state, Protected::Poisoned);
        halves.mark_consistent();
        drop(halves);

        struct Writes<'a>(&'a Board);
        impl Drop for Writes<'_> {
            fn drop(&mut self) {
                self.0.lock().0.left += 1;
            }
        }
        let unwinds = || {
            let _writes = Writes(&board);
            panic!("on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(unwinds)).is_err());
        assert_eq!((board.state(), board.lock().0.left), (Protected::Consistent, 1));
    });
}

#[test]
fn unlocked_lets_others_in_and_comes_back_with_the_lock() {
    guarded(|| {
        let board = Board::new();
        let (mut halves, _) = board.lock();
        halves.left = 1;
        let me = halves.me();
        let others = || thread::scope(|scope| scope.spawn(|| board.lock().0.left += 10).join().is_ok());
        let (answer, again) = halves.unlocked(others);
        let (halves, state) = again.unwrap();
        assert_eq!((answer, halves.left, state), (true, 11, Protected::Consistent));
        assert_eq!((halves.me(), board.0.holder()), (me, Some(me)));
        // What happens meanwhile is told.
        let poisons = || {
            let panics = || {
                let _inside = board.lock();
                panic!("on purpose");
            };
            catch_unwind(AssertUnwindSafe(panics)).is_err()
        };
        let (poisoned, again) = halves.unlocked(poisons);
        assert_eq!((poisoned, again.unwrap().1), (true, Protected::Poisoned));
        assert_eq!(board.0.holder(), None);
    });
}

#[test]
fn a_second_lock_of_the_same_thread_is_an_error() {
    guarded(|| {
        let board = Board::new();
        let (halves, _) = board.lock();
        assert_eq!(board.0.lock(Wait(Deadline::NEVER)).map(drop), Err(LockError::Deadlock));
        assert!(std::ptr::eq(halves.cell(), &board.0));
        drop(halves);
        assert_eq!(board.state(), Protected::Consistent);
    });
}

#[test]
fn who_goes_on_to_read_while_it_panics_leaves_poison() {
    struct GoesOn<'a>(Option<Locked<'a, RwLock, u64>>);

    impl Drop for GoesOn<'_> {
        fn drop(&mut self) {
            drop(self.0.take().map(Locked::downgrade));
        }
    }

    guarded(|| {
        let cell = Cell::<RwLock, u64>::create(0).unwrap();
        let lock = || cell.lock(Wait(Deadline::NEVER)).unwrap();
        let panics = || {
            let _guard = GoesOn(Some(lock().0));
            panic!("on purpose");
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(lock().1, Protected::Poisoned);
    });
}
