//! What the lock for readers and writers answers to who may not have it: at once, later, or ever.
//!
//! Invariant of each scenario: the answer is right, and the words are as they were before the call.

use super::*;

#[test]
fn one_try_says_who_is_in_the_way_and_leaves_no_trace() {
    let words = |w: &W| {
        (
            w.shared.lock.writer(),
            w.shared.lock.queue.word().peek(),
            w.shared.lock.readers.each_ref().map(AtomicU32::peek),
        )
    };
    let mut d = director(&[look, change]);
    d.run(0, 5);
    let before = words(&d.world);
    let reader = d.id(0);
    let n = d.spawn(move |w: &W| {
        let now = Until(true.into());
        assert_eq!(w.shared.lock.write(w, w, &now), Err(LockError::TimedOut(reader)));
        let me = w.shared.lock.read(w, w, &now).unwrap().me;
        w.shared.lock.unlock_read(w, me).unwrap();
    });
    assert_eq!((d.run_on(n), words(&d.world)), (State::Done, before));
    d.run_on(0);
    d.run(1, 4);
    let (before, writer) = (words(&d.world), d.id(1));
    let n = d.spawn(move |w: &W| {
        let now = Until(true.into());
        let timed_out = Err(LockError::TimedOut(writer));
        assert_eq!([w.shared.lock.write(w, w, &now), w.shared.lock.read(w, w, &now)], [timed_out; 2]);
    });
    assert_eq!((d.run_on(n), words(&d.world)), (State::Done, before));
    settle(&mut d, 0);
}

#[test]
fn who_reads_may_read_again_though_a_writer_waits_and_may_not_write() {
    let mut d = director(&[]);
    let n = d.spawn(|w: &W| {
        let lock = &w.shared.lock;
        let me = lock.read(w, w, &Forever).unwrap().me;
        assert_eq!(lock.write(w, w, &Forever), Err(LockError::Deadlock));
        assert_eq!(lock.unlock_write(w, me), Err(NotHeld));
        // Here the writer comes.
        lock.top.load(Ordering::Relaxed);
        assert!(lock.writer().is_some());
        assert_eq!(lock.read(w, w, &Until(true.into())).unwrap().me, me);
        assert_eq!([lock.unlock_read(w, me), lock.unlock_read(w, me)], [Ok(()); 2]);
        assert_eq!(lock.unlock_read(w, me), Err(NotHeld));
    });
    while d.world.shared.lock.readers[0].peek() == 0 {
        d.run(n, 1);
    }
    d.run(n, 3);
    let writer = d.spawn(change);
    assert_eq!(d.run_on(writer), State::Asleep);
    assert_eq!((d.run_on(n), d.run_on(writer)), (State::Done, State::Done));
    settle(&mut d, 0);
}

#[test]
fn who_writes_may_not_take_it_again_in_any_way() {
    let mut d = director(&[]);
    let n = d.spawn(|w: &W| {
        let lock = &w.shared.lock;
        let me = lock.write(w, w, &Forever).unwrap().me;
        let deadlock = Err(LockError::Deadlock);
        assert_eq!([lock.write(w, w, &Forever), lock.read(w, w, &Forever)], [deadlock; 2]);
        assert_eq!((lock.unlock_read(w, me), lock.writer()), (Err(NotHeld), Some(me)));
        assert_eq!([lock.downgrade(w, me), lock.unlock_read(w, me)], [Ok(()); 2]);
    });
    assert_eq!(d.run_on(n), State::Done);
    settle(&mut d, 0);
}

#[test]
fn each_slot_has_a_word_and_neighbours_share_no_line() {
    fn words<const N: usize>() -> Vec<usize> {
        (0..N).map(|slot| index::<N>(Id::new(slot as u32, 5))).collect()
    }
    for mut all in [words::<4096>(), words::<64>(), words::<20>(), words::<8>()] {
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..all.len()));
    }
    assert!(words::<4096>().windows(2).all(|pair| pair[0] / LINE != pair[1] / LINE));
    assert_eq!(index::<8>(Id::new(8, 0)), 8);
}

#[test]
fn a_thread_without_a_word_is_told() {
    let mut d = Director::new(RwLock::<1>::new());
    d.spawn(|_| ());
    let n = d.spawn(|w: &World<RwLock<1>>| {
        let no_slot = Err(LockError::NoSlot);
        assert_eq!([w.shared.read(w, w, &Forever), w.shared.write(w, w, &Forever)], [no_slot; 2]);
        let me = w.me().unwrap();
        assert_eq!([w.shared.unlock_read(w, me), w.shared.downgrade(w, me)], [Err(NotHeld); 2]);
    });
    d.run_on(n);
}

#[test]
fn a_depth_without_room_above_it_is_an_error() {
    let mut d = Director::new(Shared::default());
    let n = d.spawn(|w: &W| {
        let lock = &w.shared.lock;
        let me = lock.read(w, w, &Forever).unwrap().me;
        lock.word(me).fetch_add(DEPTH - 1, Ordering::Relaxed);
        assert_eq!(lock.read(w, w, &Forever), Err(LockError::TooDeep));
        assert_eq!(lock.write(w, w, &Forever), Err(LockError::Deadlock));
        assert_eq!((lock.unlock_read(w, me), lock.read(w, w, &Forever).is_ok()), (Ok(()), true));
    });
    d.run_on(n);
}
