//! Handles in jobs: they are there each time their job is delivered, and never those of another; and go with its end.

mod parcel;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use parcel::{hand, pack, received};
use procession_codec::{DecodeError, Descriptor, HandleError};
use procession_queue::{
    Job, JobOptions, JobReceiver, JobSender, JobsError, OnWorkerDeath, RecvError, SendFault, Sender, bounded,
    jobs,
};
use procession_shm::domain::TICK;
use procession_shm::{Array, Part};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, role};

const LIMIT: Duration = Duration::from_secs(60);

/// A file that says which one it is, as often as it is asked.
fn file(n: u64) -> Descriptor {
    let mut file = File::from(rustix::fs::memfd_create("", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    file.write_all(&n.to_le_bytes()).unwrap();
    OwnedFd::from(file).into()
}

/// Which one it is.
fn which(file: &Descriptor) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut says = [0; 8];
    let file = File::from(file.clone().into_owned().unwrap());
    file.read_exact_at(&mut says, 0).unwrap();
    u64::from_le_bytes(says)
}

/// A file that somebody has until its job has ended, and what is at its end then.
fn witnessed() -> (Descriptor, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (OwnedFd::from(writer).into(), OwnedFd::from(reader).into())
}

/// Blocks until nobody has the file any more.
fn is_closed(mut reader: File) {
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

type Item = (u64, Option<Descriptor>);

fn victim(role: &str) {
    let rx: JobReceiver<Item> = received();
    let n = role.split_once(' ').map_or(1, |(_, n)| n.parse().unwrap());
    let held: Vec<_> = (0..n).map(|_| rx.recv().unwrap()).collect();
    held.iter().for_each(check);
    roles::say("has them");
    let _ = roles::hear();
    std::process::abort();
}

fn check(job: &Job<Item>) {
    assert!(job.1.as_ref().is_none_or(|file| which(file) == job.0));
}

/// A process receives so many jobs, and is killed.
fn lose(rx: &JobReceiver<Item>, n: usize) {
    let mut process = hand(Role::new(&format!("holds {n}")), rx).spawn();
    assert_eq!(process.hear(LIMIT).as_deref(), Some("has them"));
    process.kill();
}

/// A job with the sender for its answer, memory of the asker, and more handles than a packet carries.
#[test]
fn every_kind_of_handle_arrives() {
    counted(|| {
        let (tx, rx) = jobs::<(Vec<u32>, Sender<u32>, Array<u32>, Vec<Descriptor>)>(4).unwrap();
        let (answers, answer) = bounded(4).unwrap();
        let array = Array::from_slice(&[0, 0]).unwrap();
        for n in [0, 1, 251, 252, 254, 600] {
            let files = (0..n).map(file).collect();
            tx.send((vec![1; n as usize], answers.clone(), array.clone(), files)).unwrap();
            let job = rx.recv().unwrap();
            assert!((0..n).eq(job.3.iter().map(which)));
            job.2.write()[0] += 1;
            job.1.send(job.0.iter().sum()).unwrap();
            drop(job);
            assert_eq!(u64::from(answer.recv().unwrap()), n);
        }
        assert_eq!(array.read()[0], 6);
        tx.join().unwrap();
        drop(answers);
        // Nobody has the sender any more, not even a packet.
        assert!(matches!(answer.recv(), Err(RecvError::Disconnected)));
    });
}

#[test]
fn what_was_with_a_killed_worker_comes_back_with_its_handles() {
    if let Some(role) = role() {
        return victim(&role);
    }
    counted(|| {
        let (tx, rx) = jobs::<Item>(20).unwrap();
        (0..6).for_each(|n| tx.send((n, (n != 2).then(|| file(n)))).unwrap());
        lose(&rx, 4);
        lose(&rx, 5);
        let mut found: Vec<_> = (0..6).map(|_| rx.recv().unwrap()).collect();
        found.sort_by_key(|job| job.0);
        for (n, job) in (0..).zip(&found) {
            assert_eq!((job.0, job.1.is_some()), (n, n != 2));
            check(job);
        }
        assert!(found.iter().filter(|job| job.is_redelivered()).count() >= 5);
        drop(found);
        tx.try_join().unwrap();
    });
}

/// More handles than a packet carries are all there again, for the next worker and in the dead letter.
#[test]
fn many_handles_come_back() {
    if let Some(role) = role() {
        let rx: JobReceiver<Vec<Descriptor>> = received();
        let job = rx.recv().unwrap();
        assert!(job.len().to_string() == role && (0..).zip(job.iter()).all(|(n, file)| which(file) == n));
        std::process::abort();
    }
    counted(|| {
        for n in [254, 506, 507, 1000] {
            let (tx, rx) = JobOptions::new(2).max_deliveries(4).create::<Vec<Descriptor>>().unwrap();
            let are_right = |files: &[Descriptor]| (0..n).eq(files.iter().map(which));
            tx.send((0..n).map(file).collect()).unwrap();
            let ended = hand(Role::new(&n.to_string()), &rx).spawn().wait_with_output(LIMIT);
            assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{}", ended.stderr);
            for n in 2..=4 {
                let job = rx.recv().unwrap();
                assert!(are_right(&job) && job.deliveries() == n);
                job.put_back();
            }
            let [letter] = <[_; 1]>::try_from(tx.dead_letters()).unwrap();
            assert!(are_right(&letter.into_value().unwrap()));
        }
    });
}

#[test]
fn what_is_put_back_is_delivered_with_its_handles() {
    counted(|| {
        let (tx, rx) = jobs::<Item>(20).unwrap();
        let (file_0, reader) = witnessed();
        (1..8).for_each(|n| tx.send((n, Some(file(n)))).unwrap());
        for round in 0..5 {
            let held: Vec<_> = (1..8).map(|_| rx.recv().unwrap()).collect();
            held.iter().for_each(check);
            assert!(held.iter().all(|job| job.deliveries() == round + 1));
            // In another order.
            held.into_iter().rev().for_each(Job::put_back);
        }
        tx.send((0, Some(file_0))).unwrap();
        let held: Vec<_> = (0..8).map(|_| rx.recv().unwrap()).collect();
        drop(held);
        is_closed(reader);
    });
}

/// Room in the sockets comes back, in whatever order jobs end.
#[test]
fn a_thousand_jobs_that_end_in_another_order() {
    counted(|| {
        let (tx, rx) = JobOptions::new(5).deliver_without_limit().create::<Item>().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..2000).for_each(|n| tx.send((n, (n % 4 != 1).then(|| file(n)))).unwrap()));
            // One is held all the time.
            let first = rx.recv().unwrap();
            let (mut held, mut n_received, mut n_done) = (vec![], 0, 0);
            while n_done < 1979 {
                held.push(rx.recv().unwrap());
                n_received += 1;
                if held.len() == 20 {
                    let job = held.swap_remove(n_received * 7 % 20);
                    check(&job);
                    if n_received % 3 == 0 {
                        job.put_back();
                    } else {
                        job.done();
                        n_done += 1;
                    }
                }
            }
            check(&first);
            drop((first, held));
        });
        for job in std::iter::from_fn(|| rx.try_recv().ok()) {
            check(&job);
        }
        tx.try_join().unwrap();
    });
}

/// The handles of each job go when it ends, also behind one that does not.
#[test]
fn what_ends_lets_its_handles_go() {
    counted(|| {
        let (tx, rx) = jobs::<Descriptor>(20).unwrap();
        let (files, readers): (Vec<_>, Vec<_>) = (0..5).map(|_| witnessed()).unzip();
        files.into_iter().for_each(|file| tx.send(file).unwrap());
        let mut held: Vec<_> = (0..5).map(|_| rx.recv().unwrap()).collect();
        let mut readers: Vec<_> = readers.into_iter().collect();
        for n in [3, 1, 2, 0, 0] {
            drop(held.remove(n));
            is_closed(readers.remove(n));
        }
    });
}

/// More handles than a job can have: it is refused at once, and the sender has it again.
#[test]
fn too_many_handles_in_one_job() {
    counted(|| {
        let (tx, rx) = jobs::<Vec<Descriptor>>(1).unwrap();
        let error = tx.send(vec![file(1); 253 * 253 + 1]).unwrap_err();
        let SendFault::Handles(why) = error.fault() else { panic!("{error}") };
        assert_eq!(why.kind(), std::io::ErrorKind::ArgumentListTooLong);
        let mut files = error.into_value();
        files.truncate(3);
        tx.send(files).unwrap();
        assert_eq!(rx.recv().unwrap().len(), 3);
    });
}

/// More jobs than there is room for, with workers that do not end them: receiving says so, and nothing is lost.
#[test]
fn room_runs_out() {
    counted(|| {
        let (tx, rx) = jobs::<Item>(10_000).unwrap();
        let fits = (0..).find(|n| tx.try_send((*n, Some(file(*n)))).is_err()).unwrap();
        assert!((100..2000).contains(&fits), "{fits}");
        let error = tx.try_send((fits, Some(file(fits)))).unwrap_err();
        assert!(matches!(error.fault(), SendFault::Full), "{error}");
        check_value(&error.into_value(), fits);
        let error = tx.send_timeout((0, Some(file(0))), Duration::from_millis(2)).unwrap_err();
        assert!(matches!(error.fault(), SendFault::TimedOut), "{error}");
        let mut held: Vec<_> = (0..fits).map(|_| rx.recv().unwrap()).collect();
        let mut n = fits;
        let error = loop {
            tx.send((n, Some(file(n)))).unwrap();
            n += 1;
            match rx.recv() {
                Ok(job) => held.push(job),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RecvError::Memory(_)), "{error}");
        // Any of them can be had again; and with the end of one there is room for the next.
        held.swap_remove(held.len() / 2).put_back();
        held.push(rx.recv().unwrap());
        assert!(held.last().unwrap().is_redelivered() && rx.recv().is_err());
        drop(held.swap_remove(held.len() / 3));
        held.push(rx.recv().unwrap());
        assert_eq!(held.last().unwrap().0, n - 1);
        held.iter().for_each(check);
        drop(held);
        tx.try_join().unwrap();
    });
}

/// Woken by what is received, and not by a tick or by what is received later: also who finds no room while some is made.
#[test]
fn who_waits_for_room_is_woken() {
    const N_JOBS: u64 = 1000;
    let one_for_one = || {
        let (tx, rx) = jobs::<Item>(1000).unwrap();
        let fits = (0..).find(|n| tx.try_send((*n, Some(file(*n)))).is_err()).unwrap();
        let n_sent = AtomicU64::new(fits);
        thread::scope(|scope| {
            scope.spawn(|| {
                for n in fits..N_JOBS {
                    tx.send((n, Some(file(n)))).unwrap();
                    n_sent.store(n + 1, SeqCst);
                }
            });
            for n in 0..N_JOBS {
                let job = rx.recv().unwrap();
                assert_eq!(job.0, n);
                check(&job);
                // One more has room now, and nobody receives anything until it is sent.
                while n_sent.load(SeqCst) < N_JOBS.min(n + 1 + fits) {
                    thread::yield_now();
                }
            }
        });
    };
    match role() {
        Some(_) => counted(one_for_one),
        None => counted(|| {
            let role = Role::new("never ticks").env(TICK, "600000").spawn();
            role.wait_with_output(LIMIT).expect_success();
        }),
    }
}

fn check_value((n, file): &Item, expected: u64) {
    assert_eq!((*n, file.as_ref().map(which)), (expected, Some(expected)));
}

/// They can be taken with their handles, by a process that only sends, and let them go.
#[test]
fn dead_letters_have_their_handles() {
    if let Some(role) = role() {
        return victim(&role);
    }
    counted(|| {
        let options = JobOptions::new(10).on_worker_death(OnWorkerDeath::Fail);
        let (tx, rx) = options.create::<Item>().unwrap();
        (0..5).for_each(|n| tx.send((n, Some(file(n)))).unwrap());
        lose(&rx, 3);
        let joined = rx.recv().and_then(|job| rx.recv().map(|other| drop((job, other))));
        joined.unwrap();
        let Err(JobsError::DeadLetters(given_up)) = tx.try_join() else { panic!() };
        assert_eq!(given_up.len(), 3);
        drop(rx);
        let mut letters: Vec<_> =
            tx.dead_letters().into_iter().map(|letter| letter.into_value().unwrap()).collect();
        letters.sort_by_key(|(n, _)| *n);
        (0..).zip(&letters).for_each(|(n, letter)| check_value(letter, n));
        assert_eq!(letters.len(), 3);
        assert!(tx.dead_letters().is_empty());
    });
}

/// A job that does not decode is a dead letter, and keeps its handles until it is taken.
#[test]
fn who_cannot_decode_it_gives_it_up() {
    counted(|| {
        let (tx, rx) = jobs::<(u64, Descriptor)>(10).unwrap();
        let other: JobReceiver<String> = pack(&rx).unpack();
        let bytes: JobReceiver<procession_codec::Bytes, procession_queue::AsBytes> = pack(&rx).unpack();
        let (file_0, reader) = witnessed();
        tx.send((7, file_0)).unwrap();
        assert!(matches!(other.recv(), Err(RecvError::Decode(_))));
        tx.send((9, file(9))).unwrap();
        let refused = bytes.recv().unwrap_err();
        assert!(matches!(refused, RecvError::Decode(DecodeError::Handle(HandleError::NotCarried))));
        let mut letters: Vec<_> = tx.dead_letters().into_iter().map(|l| l.into_value().unwrap()).collect();
        letters.sort_by_key(|(n, _)| *n);
        assert_eq!((letters.len(), letters[0].0, which(&letters[1].1)), (2, 7, 9));
        drop(letters);
        is_closed(reader);
    });
}

/// A handle that moves is its sender's again when it was not sent, and no longer when it was.
#[test]
fn what_is_not_sent_can_be_used_and_sent_again() {
    counted(|| {
        let array = Array::from_slice(&[0_u32; 8]).unwrap();
        let mut part = array.split(1).next().unwrap();
        let (tx, rx): (JobSender<Part<u32>>, _) = jobs(1).unwrap();
        tx.send(Array::from_slice(&[1_u32]).unwrap().split(1).next().unwrap()).unwrap();
        part = tx.try_send(part).unwrap_err().into_value();
        part[0] += 1;
        part = tx.send_timeout(part, Duration::from_millis(1)).unwrap_err().into_value();
        part[0] += 1;
        drop(rx.recv().unwrap());
        tx.send(part).unwrap();
        let mut job = rx.recv().unwrap();
        job[0] += 1;
        drop(job);
        assert_eq!(array.read()[0], 3);
    });
}
