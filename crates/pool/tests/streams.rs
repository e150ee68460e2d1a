//! What workers print, where the pool is told that it should go.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what workers print is what is tested")]

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use procession_pool::{ParProcs, Pool, TaskFailed};
use procession_process::Stdio;
use procession_testkit::processes::{self, Signal};
use procession_testkit::{counted, guarded};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn lines_of_all_workers_also_of_those_that_die() {
    counted(|| {
        let (tell, told) = channel();
        let log = Stdio::lines(move |line| {
            drop(tell.send((line.pid, line.process.to_owned(), line.text.to_owned())));
        });
        let pool = Pool::builder().workers(2).name("loud").stdout(log.clone()).stderr(log).build().unwrap();
        let print = |n: u32| {
            if n.is_multiple_of(2) {
                println!("{n}");
            } else {
                eprintln!("{n}");
            }
            if n % 100 == 99 {
                processes::kill(std::process::id(), Signal::KILL).unwrap();
                std::thread::park();
            }
            std::process::id()
        };
        let outcomes: Vec<_> = (0..500).par_procs(&pool).map(print).collect();
        pool.join();
        // All have come, and the last to be able to tell is gone.
        let mut lines = BTreeMap::new();
        while let Ok((pid, name, text)) = told.recv_timeout(PATIENCE) {
            assert!(name.starts_with("loud-"), "{name}");
            assert_eq!(lines.insert(text, pid), None);
        }
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let pid = lines.remove(&n.to_string()).unwrap_or_else(|| panic!("{n} is missing"));
            match outcome {
                Ok(told) => assert_eq!(told, pid),
                Err(TaskFailed::WorkerDied { worker, .. }) => assert_eq!(worker.pid, pid),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(lines.is_empty(), "{lines:?}");
    });
}

#[test]
fn a_dropped_pool_s_lines_come_before_the_drop_returns() {
    guarded(|| {
        for _ in 0..20 {
            let (tell, told) = channel();
            let log = Stdio::lines(move |line| drop(tell.send(line.text.to_owned())));
            let pool = Pool::builder().workers(1).stdout(log).build().unwrap();
            pool.map(|n: u32| println!("{n}"), 0..50).unwrap();
            drop(pool);
            assert!(told.try_iter().eq((0..50).map(|n| n.to_string())));
        }
    });
}

#[test]
fn a_callback_may_submit() {
    guarded(|| {
        let place = Arc::new(OnceLock::<Weak<Pool>>::new());
        let (tell, told) = channel();
        let of_callback = Arc::clone(&place);
        let log = Stdio::lines(move |line| {
            if line.text == "first" {
                let pool = of_callback.get().and_then(Weak::upgrade).unwrap();
                drop(pool.submit(|()| println!("second"), ()).unwrap());
            }
            tell.send(line.text.to_owned()).unwrap();
        });
        let pool = Arc::new(Pool::builder().workers(1).stdout(log).build().unwrap());
        place.set(Arc::downgrade(&pool)).unwrap();
        pool.submit(|()| println!("first"), ()).unwrap().get().unwrap();
        assert_eq!([(); 2].map(|()| told.recv_timeout(PATIENCE).unwrap()), ["first", "second"]);
        Arc::into_inner(pool).unwrap().join();
    });
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody() {
    guarded(|| {
        use std::io::Write;
        let pool = Pool::builder().workers(1).stdout(Stdio::piped()).build().unwrap();
        let noisy = |n: usize| std::io::stdout().write_all(&vec![b'x'; n]).is_err();
        assert_eq!(pool.map(noisy, [1 << 20]).unwrap(), [true]);
        pool.join();
    });
}
