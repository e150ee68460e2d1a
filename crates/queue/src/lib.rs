//! Channels with many senders and many receivers, in shared memory.
//!
//! ```
//! let (tx, rx) = procession_queue::bounded::<(u32, String)>(100)?;
//! // Ends are values: clone them, send them to other processes as arguments or through pipes.
//! let other = tx.clone();
//! std::thread::spawn(move || other.send((1, "one".into())).unwrap());
//! drop(tx);
//! // Ends when no sender is left, in whatever process.
//! assert_eq!(rx.into_iter().map(|(n, _)| n).sum::<u32>(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`bounded`] waits when it is full, [`unbounded`] never waits; [`Queue`] is both ends in one handle, as Python's. A
//! message is encoded by its sender, in [`send`](Sender::send), and errors come back there with the value; no thread does
//! anything later. Nobody needs sentinel values: [`close`](Sender::close), or the end of the last sender, ends every
//! receiver's loop.
//!
//! Every call that may block has a `try_` form, which does not wait, a `_timeout` and an `_until` form.
//!
//! # Handles
//! Messages may have handles in them: other queues' ends (a job with the sender for its answer), arrays, locks, pipes,
//! files. They arrive with their message and are closed with it; who has sent them may be gone by then. Such a message costs
//! some system calls, others cost nothing for it. How much of that can be queued is the system's matter: some hundreds of
//! messages with handles (else [`send`](Sender::send) waits, [`SendFault::Full`]), and as many descriptors on their way as
//! the user may have open files ([`SendFault::Handles`]); in one message at most 64,009. Jobs with handles that are received
//! and not done, or dead letters, can be some hundreds more, and their descriptors count as on their way until then: who
//! receives one too many gets [`RecvError::Memory`], and the job stays.
//!
//! ```
//! use procession_queue::{Sender, bounded};
//!
//! let (jobs, worker) = bounded::<(u32, Sender<u32>)>(100)?;
//! std::thread::spawn(move || worker.iter().for_each(|(n, answers)| answers.send(n * n).unwrap()));
//! let (tx, answers) = bounded(10)?;
//! jobs.send((7, tx.clone()))?;
//! jobs.send((8, tx))?;
//! // Ends when the worker has dropped the last sender.
//! assert_eq!(answers.iter().collect::<Vec<_>>(), [49, 64]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Jobs
//! A message of [`jobs`] is a [`Job`]: a guard that its worker drops when it is done, also while unwinding. What a worker had
//! that was killed goes to another one, before all others, and says so; a job that has killed too many becomes a [dead
//! letter](JobSender::dead_letters). [`JobSender::join`] waits until all is done, and is an error if that cannot be.
//!
//! | | [`bounded`] | [`jobs`] |
//! |---|---|---|
//! | a worker is killed | what it had taken is lost | it is delivered again, up to [`JobOptions::max_deliveries`] times |
//! | delivered | once | once, or more often: at least once |
//! | until when it is in memory | until it is received | until it is done |
//! | a small message costs | two exchanges on each side | one more to take a cell, and to queue, lease and finish it |
//! | many at once | in one turn | one after the other, each with its own lease |
//! | loans | yes | no |
//! | handles in messages | yes; with a worker that is killed they are lost | yes; each delivery brings them, and they are closed when the job is done |
//!
//! # Speed
//! A small message costs no system call while nobody sleeps, and two exchanges on each side. [`send_many`](
//! Sender::send_many) and [`recv_many`](Receiver::recv_many) share them among many. Numbers and structs of numbers skip
//! the codec with [`AsPlain`]; bytes with [`AsBytes`], which also gives loans: [`send_with`](Sender::send_with) writes a
//! message where it will lie, [`recv_ref`](Receiver::recv_ref) reads it there.
//!
//! Who waits looks for some 12 µs, or for twice as long as its last waits took if that is less than half a millisecond,
//! yielding meanwhile; and then sleeps.
//!
//! # If a peer dies
//! A message is wholly sent or not at all, and received whole and once; with a receiver that is killed, the message that
//! it had just taken is lost, and no other. When a side has lost its last user, the other is told, by
//! [`RecvError::Disconnected`] or [`SendFault::Disconnected`]. Nobody waits for the dead.
//!
//! # When not to use it
//! Between threads of one process, the channels of the standard library are enough. Two processes that talk in turns want a
//! pipe.
//!
//! With the feature `async` there are futures for any runtime: `send_async`, `recv_async`, of
//! jobs too, and [`JobSender`]'s `join_async`.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod batch;
mod error;
mod extents;
mod fast;
#[cfg(feature = "async")]
mod future;
mod gather;
mod in_place;
mod iter;
mod jobs;
mod layout;
mod link;
mod loan;
mod luggage;
mod make;
mod many;
mod memory;
mod packet;
mod patience;
mod queue;
mod receiver;
mod scratch;
mod sender;
mod slot;
mod traffic;
mod wait;
mod wire;

pub use error::{RecvError, SendError, SendFault};
pub use iter::{IntoIter, Iter, TryIter};
pub use jobs::{
    DEFAULT_DELIVERIES, DeadLetter, GivenUp, IntoJobs, Job, JobIter, JobOptions, JobReceiver, JobSender,
    JobsError, OnWorkerDeath, Worker, jobs,
};
pub use loan::Loan;
pub use make::{DEFAULT_BYTES, bounded, bounded_as, bounded_bytes, unbounded};
pub use many::SendManyError;
pub use queue::{Queue, SimpleQueue};
pub use receiver::Receiver;
pub use sender::Sender;
pub use wire::{AsBytes, AsPlain, Wire};
