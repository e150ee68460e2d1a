//! Taking in what a worker says, believing nothing that does not fit.

use std::sync::Arc;

use procession_codec::{Codec, Descriptor, Postcard};
use procession_pipe::RecvError;

use crate::crew::Worker;
use crate::error::{TaskFailed, TaskId};
use crate::job::Order;
use crate::journal;
use crate::report::Report;
use crate::sink::{Outcome, Value};
use crate::wire::{Answer, Parcel, Reply};

/// What was heard.
pub(crate) enum Heard {
    /// Some answers of the running job.
    Part,
    /// What the worker was given is done, and settled; here is what it was not given of it.
    Done(Option<Box<Order>>),
    /// Nothing more for now.
    Nothing,
}

/// The worker is not to be given more work.
pub(crate) enum Unreliable {
    /// It has closed its end: most often it is dead.
    Gone,
    /// What it said makes no sense, or cannot be taken.
    Nonsense,
}

/// Takes in the next thing the worker has said, if there is one.
pub(crate) fn next(
    worker: &Worker,
    pool: &Arc<str>,
    running: &mut Option<Order>,
) -> Result<Heard, Unreliable> {
    // Looked at before the socket: what the worker sent before it was done is taken in first.
    let done = running.as_ref().is_some_and(|order| worker.lane().done() == order.job.number);
    if done && worker.lane().done_notes().1 == worker.n_heard() {
        return finished(worker, pool, running);
    }
    let reply = match worker.jobs.try_recv() {
        Ok(reply) => reply,
        Err(RecvError::Empty | RecvError::Closed | RecvError::ClosedInside { .. }) if done => {
            return finished(worker, pool, running);
        }
        Err(RecvError::Empty) => return Ok(Heard::Nothing),
        Err(RecvError::Closed | RecvError::ClosedInside { .. }) => return Err(Unreliable::Gone),
        Err(_) => return Err(Unreliable::Nonsense),
    };
    worker.note_heard();
    match reply {
        Reply::Ready | Reply::Bell => Ok(Heard::Part),
        Reply::NotSetUp(broken) => {
            worker.remember_failure(broken.into());
            Err(Unreliable::Nonsense)
        }
        Reply::Answers { job, first, n, parcel, descriptors } => {
            let Some(order) = running.as_mut().filter(|order| order.job.number == job) else {
                return Err(Unreliable::Nonsense);
            };
            answers(worker, pool, order, Block { first, n, parcel, descriptors })?;
            Ok(Heard::Part)
        }
    }
}

/// The running job is done: settles what stands in the journal.
fn finished(worker: &Worker, pool: &Arc<str>, running: &mut Option<Order>) -> Result<Heard, Unreliable> {
    let Some(order) = running else { return Ok(Heard::Nothing) };
    read_journal(worker, pool, order);
    // Of a job that nobody wants any more it may leave out the rest.
    let is_cancelled = order.sink.is_cancelled();
    // One that is to be replaced, too.
    let may_leave_out = is_cancelled || worker.journal.is_full();
    if order.n_settled < order.job.n_now && !may_leave_out {
        return Err(Unreliable::Nonsense);
    }
    order.sink.measured(order.n_settled, worker.lane().done_notes().0);
    let left = running.take().filter(|order| !order.job.items.is_empty());
    if !is_cancelled {
        return Ok(Heard::Done(left.map(Box::new)));
    }
    if let Some(order) = left {
        order.fail(pool, |task| TaskFailed::Closed { task });
    }
    Ok(Heard::Done(None))
}

struct Block {
    first: u64,
    n: u64,
    parcel: Parcel,
    descriptors: Vec<Descriptor>,
}

fn answers(worker: &Worker, pool: &Arc<str>, order: &mut Order, block: Block) -> Result<(), Unreliable> {
    let bytes = block.parcel.unpack().map_err(|_| Unreliable::Nonsense)?;
    let answers = journal::split(&bytes);
    let fits = answers.len() as u64 == block.n && block.n > 0 && answers.len() <= order.job.items.len();
    if !fits || block.first != order.n_settled as u64 {
        return Err(Unreliable::Nonsense);
    }
    let mut outcomes = outcomes(worker, pool, order, answers);
    if let Some(Ok(value)) = outcomes.last_mut() {
        let owned = block.descriptors.into_iter().map(Descriptor::into_owned).collect::<Result<_, _>>();
        value.descriptors = owned.map_err(|_| Unreliable::Nonsense)?;
    }
    order.settle(outcomes);
    Ok(())
}

/// Settles what stands in the worker's journal of this order and is not settled yet. Answers how many of the items that
/// are left the worker began: the one that it died in, and those whose answers were in a message that we could not take.
pub(crate) fn read_journal(worker: &Worker, pool: &Arc<str>, order: &mut Order) -> usize {
    let Some(entries) = worker.journal.read(order.job.number) else { return 0 };
    // A message may have taken answers that still stand here. A base beyond what is settled: one is missing.
    let known = order.n_settled.checked_sub(entries.base).filter(|known| *known <= entries.answers.len());
    if let Some(known) = known {
        let mut answers = entries.answers;
        answers.drain(..known);
        answers.truncate(order.job.items.len());
        let outcomes = outcomes(worker, pool, order, answers);
        order.settle(outcomes);
    }
    entries.started.saturating_sub(order.n_settled).min(order.job.items.len())
}

fn outcomes(worker: &Worker, pool: &Arc<str>, order: &Order, answers: Vec<Vec<u8>>) -> Vec<Outcome> {
    let outcome = |(index, answer): (usize, Vec<u8>)| {
        let number = order.task + index as u64;
        let report = || Box::new(Report::of(worker, order, index));
        let task = TaskId { pool: Arc::clone(pool), number };
        match Postcard::decode(&answer) {
            Ok(Answer::Value(bytes)) => {
                Ok(Value { task: number, bytes: bytes.into_vec(), descriptors: Vec::new() })
            }
            Ok(Answer::Panicked(panic)) => {
                worker.remember(&panic);
                Err(TaskFailed::Panicked {
                    task,
                    worker: worker.who(),
                    panic: Box::new(panic),
                    report: report(),
                })
            }
            Ok(Answer::BadArgument(error)) => {
                Err(TaskFailed::ArgumentNotDecoded { task, error, report: report() })
            }
            Ok(Answer::BadResult(error)) => {
                Err(TaskFailed::ResultNotEncoded { task, error, report: report() })
            }
            Err(e) => Err(TaskFailed::ResultNotEncoded {
                task,
                error: format!("the worker's answer is damaged: {e}"),
                report: report(),
            }),
        }
    };
    answers.into_iter().enumerate().map(outcome).collect()
}
