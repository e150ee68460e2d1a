//! Workers are in the domain of the tree, and the death of one is told before its task is settled.

use std::sync::atomic::Ordering::SeqCst;

use procession_pool::Pool;
use procession_shm::domain::{Domain, DomainId};
use procession_testkit::counted;

fn current(_: u32) -> [u64; 2] {
    Domain::current().unwrap().id().to_words()
}

/// Every worker, and every one that takes the place of a dead one.
#[test]
fn workers_have_the_domain_of_the_tree() {
    counted(|| {
        let ours = Domain::current().unwrap().id();
        let pool = Pool::new(2).unwrap();
        let seen = |pool: &Pool| pool.map(current, 0..20).unwrap().into_iter().map(DomainId::from_words);
        assert!(seen(&pool).all(|id| id == ours));
        assert!(pool.submit(|()| -> () { std::process::abort() }, ()).unwrap().get().is_err());
        assert!(seen(&pool).all(|id| id == ours));
    });
}

/// One that has joined is told of; one that has not is not.
#[test]
fn a_dead_worker_is_told_of_before_its_task() {
    fn die(joins: bool) {
        if joins {
            Domain::current().unwrap().join().unwrap();
        }
        std::process::abort()
    }
    counted(|| {
        let domain = Domain::current().unwrap();
        let pool = Pool::new(1).unwrap();
        for joins in [false, true, false, true] {
            let told = domain.obituary().load(SeqCst);
            assert!(pool.submit(die, joins).unwrap().get().is_err());
            assert_eq!(domain.obituary().load(SeqCst), told + u32::from(joins), "joins: {joins}");
        }
    });
}
