//! The contract of atomics, the same for every type: `contract::atomic::<type>::none::<case>`; and what only some have.

mod support;

use std::thread;

use procession_shm::Atomic;
use procession_testkit::{counted, guarded};
use support::travel;

mod contract {
    pub(crate) mod atomic {
        /// One module for each type; `$a` and `$b` are two different values of it.
        macro_rules! contract {
            ($($type:ident $a:expr, $b:expr;)*) => {$(
                pub(crate) mod $type {
                    pub(crate) mod none {
                        use crate::cases;

                        const A: $type = $a;
                        const B: $type = $b;

                        #[test]
                        fn set_and_seen() {
                            cases::set_and_seen(A, B);
                        }

                        #[test]
                        fn compared_and_exchanged() {
                            cases::compared_and_exchanged(A, B);
                        }

                        #[test]
                        fn swapped_by_many_threads() {
                            cases::swapped_by_many_threads(A, B);
                        }

                        #[test]
                        fn updated_by_many_threads() {
                            cases::updated_by_many_threads(A, B);
                        }
                    }
                }
            )*};
        }

        contract! {
            i8 -1, i8::MAX; u8 1, u8::MAX; i16 -2, i16::MIN; u16 2, u16::MAX; i32 -3, i32::MIN; u32 3, u32::MAX;
            i64 -4, i64::MIN; u64 4, u64::MAX; isize -5, isize::MIN; usize 5, usize::MAX;
            f32 1.5, f32::NEG_INFINITY; f64 -0.0, f64::MAX; bool false, true;
        }
    }
}

mod cases {
    use super::{Atomic, counted, thread, travel};
    use procession_shm::AtomicValue;
    use std::fmt::Debug;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    pub(crate) fn set_and_seen<T: AtomicValue + PartialEq + Debug>(a: T, b: T) {
        counted(|| {
            let atomic = Atomic::new(a).unwrap();
            let (clone, sent) = (atomic.clone(), travel(&atomic));
            assert_eq!((atomic.load(), sent.load()), (a, a));
            sent.store(b);
            assert_eq!((atomic.load(), clone.load()), (b, b));
            assert_eq!((clone.swap(a), atomic.load()), (b, a));
            drop((atomic, clone));
            assert_eq!(format!("{:?}", travel(&sent)), format!("Atomic({a:?})"));
        });
    }

    pub(crate) fn compared_and_exchanged<T: AtomicValue + PartialEq + Debug>(a: T, b: T) {
        counted(|| {
            let atomic = Atomic::new(a).unwrap();
            assert_eq!(atomic.compare_exchange(b, a), Err(a));
            assert_eq!(atomic.compare_exchange(a, b), Ok(a));
            assert_eq!(atomic.load(), b);
            assert_eq!(atomic.fetch_update(|value| (value == a).then_some(a)), Err(b));
            assert_eq!(atomic.fetch_update(|value| (value == b).then_some(a)), Ok(b));
            assert_eq!(atomic.load(), a);
        });
    }

    /// `b` is a token: whoever swaps it out has it alone until it is put back.
    pub(crate) fn swapped_by_many_threads<T: AtomicValue + PartialEq + Debug>(a: T, b: T) {
        counted(|| {
            let (atomic, n_holders) = (Atomic::new(b).unwrap(), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..5_000 {
                            if atomic.swap(a) == b {
                                assert_eq!(n_holders.fetch_add(1, SeqCst), 0);
                                n_holders.fetch_sub(1, SeqCst);
                                atomic.store(b);
                            }
                        }
                    });
                }
            });
            assert_eq!(atomic.load(), b);
        });
    }

    /// Each turn of a value between the two is somebody's, and nobody sees a third one.
    pub(crate) fn updated_by_many_threads<T: AtomicValue + PartialEq + Debug>(a: T, b: T) {
        counted(|| {
            const TURNS: usize = 500;
            let atomic = Atomic::new(a).unwrap();
            let turn = |value: T| Some(if value == a { b } else { a });
            let run = |atomic: Atomic<T>| (0..TURNS).filter(|_| atomic.fetch_update(turn) == Ok(a)).count();
            let n_from_a: usize = thread::scope(|scope| {
                let threads = [(); 4].map(|()| {
                    let mine = travel(&atomic);
                    scope.spawn(move || run(mine))
                });
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!((n_from_a, atomic.load()), (4 * TURNS / 2, a));
        });
    }
}

macro_rules! arithmetic {
    ($($type:ident)*) => {$(
        let atomic = Atomic::<$type>::new(5 as $type).unwrap();
        assert_eq!(atomic.fetch_add(3 as $type), 5 as $type);
        assert_eq!(atomic.fetch_sub(1 as $type), 8 as $type);
        assert_eq!(atomic.fetch_max(100 as $type), 7 as $type);
        assert_eq!(atomic.fetch_max(2 as $type), 100 as $type);
        assert_eq!(atomic.fetch_min(4 as $type), 100 as $type);
        assert_eq!(atomic.fetch_min(9 as $type), 4 as $type);
        assert_eq!(atomic.load(), 4 as $type);
    )*};
}

#[test]
fn numbers_are_added_and_compared() {
    guarded(|| {
        arithmetic! { i8 u8 i16 u16 i32 u32 i64 u64 isize usize f32 f64 }
        let small = Atomic::new(i8::MAX).unwrap();
        assert_eq!((small.fetch_add(1), small.load()), (i8::MAX, i8::MIN));
        assert_eq!((small.fetch_sub(1), small.load()), (i8::MIN, i8::MAX));
        let signed = Atomic::new(-1_i64).unwrap();
        assert_eq!((signed.fetch_max(1), signed.load()), (-1, 1));
        let float = Atomic::new(f64::NAN).unwrap();
        assert!(float.fetch_max(1.0).is_nan());
        assert_eq!((float.fetch_min(f64::NAN), float.load()), (1.0, 1.0));
        float.store(f64::NAN);
        assert!(float.compare_exchange(f64::NAN, 0.5).is_ok());
    });
}

#[test]
fn bits_are_set_and_cleared() {
    guarded(|| {
        let bits = Atomic::new(0b1100_u8).unwrap();
        assert_eq!((bits.fetch_and(0b0110), bits.load()), (0b1100, 0b0100));
        assert_eq!((bits.fetch_or(0b0011), bits.load()), (0b0100, 0b0111));
        assert_eq!((bits.fetch_xor(0b0101), bits.load()), (0b0111, 0b0010));
        let truth = Atomic::new(true).unwrap();
        assert!(truth.fetch_and(true) && truth.fetch_xor(true) && !truth.fetch_or(true));
        assert!(truth.fetch_and(false) && !truth.load());
    });
}

/// Another process can write any byte.
#[test]
fn every_byte_is_a_bool() {
    guarded(|| {
        let truth = Atomic::new(false).unwrap();
        for byte in [1_u8, 2, 0x80, 0xff] {
            assert_eq!(rustix::io::pwrite(&truth, &[byte], 64), Ok(1));
            assert!(truth.load() && truth.swap(false));
        }
    });
}

#[test]
fn additions_of_threads_are_all_there() {
    guarded(|| {
        let (whole, float) = (Atomic::new(0_u16).unwrap(), Atomic::new(0.0_f64).unwrap());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        whole.fetch_add(1);
                        float.fetch_add(1.0);
                    }
                });
            }
        });
        assert_eq!((whole.load(), float.load()), (4_000, 4_000.0));
    });
}
