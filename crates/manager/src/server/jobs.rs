//! A queue of jobs in the server.
//!
//! | a job is | and becomes |
//! |---|---|
//! | ready | leased, when a worker receives it |
//! | leased | done, and is gone; ready, when it is put back or its worker dies; dead, when it was delivered as often as it may be |
//! | dead | gone, when somebody takes the dead letters |
//!
//! Invariants: a job is in one of these states; who waits to join is answered when nothing is ready or leased; nobody waits to
//! receive while something is ready. Held by `tests/jobs.rs`.

use std::collections::VecDeque;

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, JobsAsk, Letter};

#[derive(Debug)]
pub(super) struct Jobs {
    /// The most that are ready, but for those that come back.
    most: usize,
    /// How often each is delivered.
    deliveries: u32,
    /// Whether the jobs of a dead worker are delivered again.
    retries: bool,
    ready: VecDeque<Job>,
    leased: Vec<Lease>,
    /// The last number given.
    last: u64,
    dead: Vec<Letter>,
    receivers: VecDeque<Caller>,
    senders: VecDeque<(Caller, Item)>,
    joiners: Vec<Caller>,
    is_closed: bool,
}

#[derive(Debug)]
struct Job {
    item: Item,
    /// How often it was delivered.
    deliveries: u32,
}

#[derive(Debug)]
struct Lease {
    number: u64,
    client: u64,
    pid: u32,
    /// By which request.
    id: u64,
    job: Job,
}

impl Jobs {
    pub(super) fn new(most: u64, deliveries: u32, retries: bool) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX).max(1),
            deliveries: if deliveries == 0 { u32::MAX } else { deliveries },
            retries,
            ready: VecDeque::new(),
            leased: Vec::new(),
            last: 0,
            dead: Vec::new(),
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            joiners: Vec::new(),
            is_closed: false,
        }
    }

    fn send(&mut self, caller: Caller, item: Item, waits: bool, answers: &mut Answers) {
        let answer = if self.is_closed {
            Answer::Closed
        } else if self.ready.len() < self.most {
            self.ready.push_back(Job { item, deliveries: 0 });
            Answer::Done
        } else if waits {
            return self.senders.push_back((caller, item));
        } else {
            Answer::WouldWait
        };
        answers.push((caller, answer));
    }

    fn recv(&mut self, caller: Caller, waits: bool, answers: &mut Answers) {
        if !self.ready.is_empty() || (waits && !self.is_over()) {
            return self.receivers.push_back(caller);
        }
        let answer = if self.is_over() { Answer::Closed } else { Answer::WouldWait };
        answers.push((caller, answer));
    }

    fn unfinished(&self) -> u64 {
        (self.ready.len() + self.leased.len()) as u64
    }

    /// Nothing comes any more, not even what somebody has now.
    fn is_over(&self) -> bool {
        self.is_closed && self.unfinished() == 0
    }

    /// Gives everybody who waits what there is by now.
    fn settle(&mut self, answers: &mut Answers) {
        while !self.ready.is_empty() && !self.receivers.is_empty() {
            self.deliver(answers);
            self.fill(answers);
        }
        self.fill(answers);
        if self.unfinished() == 0 {
            let joiners = std::mem::take(&mut self.joiners);
            answers.extend(joiners.into_iter().map(|caller| (caller, self.joined())));
        }
        if self.is_over() {
            answers.extend(self.receivers.drain(..).map(|caller| (caller, Answer::Closed)));
        }
    }

    fn deliver(&mut self, answers: &mut Answers) {
        let (Some(mut job), Some(caller)) = (self.ready.pop_front(), self.receivers.pop_front()) else {
            return;
        };
        job.deliveries = job.deliveries.saturating_add(1);
        self.last += 1;
        let (item, n_times) = (Some(job.item.clone()), job.deliveries);
        let (client, pid) = (caller.client.number(), caller.client.pid());
        self.leased.push(Lease { number: self.last, client, pid, id: caller.id, job });
        answers.push((caller, Answer::Lent { lease: self.last, item, died: None, n_times }));
    }

    /// Takes in what waits for room.
    fn fill(&mut self, answers: &mut Answers) {
        while self.ready.len() < self.most {
            let Some((sender, item)) = self.senders.pop_front() else { return };
            self.ready.push_back(Job { item, deliveries: 0 });
            answers.push((sender, Answer::Done));
        }
    }

    /// Whether all is done, and what was given up.
    fn joined(&self) -> Answer {
        let letter = |letter: &Letter| Letter { item: None, ..*letter };
        Answer::Unfinished(self.unfinished(), self.dead.iter().map(letter).collect())
    }

    /// Takes a lease of this client out.
    fn end(&mut self, number: u64, client: u64) -> Option<Lease> {
        let at = self.leased.iter().position(|lease| lease.number == number && lease.client == client)?;
        Some(self.leased.remove(at))
    }

    /// To be delivered again, if it may.
    fn again(&mut self, lease: Lease) {
        if lease.job.deliveries < self.deliveries {
            self.ready.push_front(lease.job);
        } else {
            self.bury(lease);
        }
    }

    fn bury(&mut self, Lease { job, pid, .. }: Lease) {
        self.dead.push(Letter { item: Some(job.item), deliveries: job.deliveries, pid });
    }

    /// What becomes of a lease whose worker says so.
    fn resolve(&mut self, caller: &Caller, number: u64, then: impl FnOnce(&mut Self, Lease)) -> Answer {
        match self.end(number, caller.client.number()) {
            Some(lease) => {
                then(self, lease);
                Answer::Done
            }
            None => Answer::Refused("the job was not delivered to this process".into()),
        }
    }

    fn close(&mut self, answers: &mut Answers) {
        self.is_closed = true;
        answers.extend(self.senders.drain(..).map(|(caller, _)| (caller, Answer::Closed)));
    }

    /// Keeps those only who wait for what `keeps` says; whether somebody went.
    fn retain(&mut self, keeps: impl Fn(&Caller) -> bool) -> bool {
        let before = self.n_waiting();
        self.receivers.retain(&keeps);
        self.senders.retain(|(caller, _)| keeps(caller));
        self.joiners.retain(&keeps);
        self.n_waiting() < before
    }
}

impl Object for Jobs {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Jobs(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            JobsAsk::Send(item, waits) => {
                self.send(caller, item, waits, answers);
                return self.settle(answers);
            }
            JobsAsk::Recv(waits) => {
                self.recv(caller, waits, answers);
                return self.settle(answers);
            }
            JobsAsk::Join(true) => {
                self.joiners.push(caller);
                return self.settle(answers);
            }
            JobsAsk::Join(false) => self.joined(),
            JobsAsk::Done(number) => self.resolve(&caller, number, |_, lease| drop(lease)),
            JobsAsk::PutBack(number) => self.resolve(&caller, number, Self::again),
            JobsAsk::GiveUp(number) => self.resolve(&caller, number, Self::bury),
            JobsAsk::DeadLetters => Answer::Unfinished(self.unfinished(), std::mem::take(&mut self.dead)),
            JobsAsk::Len => Answer::Number(self.ready.len() as u64),
            JobsAsk::Unfinished => Answer::Number(self.unfinished()),
            JobsAsk::Close => {
                self.close(answers);
                Answer::Done
            }
            JobsAsk::IsClosed => Answer::Yes(self.is_closed),
        };
        answers.push((caller, answer));
        self.settle(answers);
    }

    fn n_waiting(&self) -> usize {
        self.receivers.len() + self.senders.len() + self.joiners.len()
    }

    fn cancel(&mut self, client: u64, id: u64, answers: &mut Answers) -> bool {
        let has_waited = self.retain(|caller| !caller.is(client, id));
        // It may have been delivered at this very moment; then it was not.
        let is_it = |lease: &mut Lease| lease.client == client && lease.id == id;
        let back: Vec<Lease> = self.leased.extract_if(.., is_it).collect();
        for Lease { job, .. } in back {
            self.ready.push_front(Job { deliveries: job.deliveries - 1, ..job });
        }
        self.settle(answers);
        has_waited
    }

    fn forget(&mut self, client: u64, answers: &mut Answers) {
        self.retain(|caller| caller.client.number() != client);
        let lost: Vec<Lease> = self.leased.extract_if(.., |lease| lease.client == client).collect();
        // The first one received is the first one to come again.
        for lease in lost.into_iter().rev() {
            if self.retries { self.again(lease) } else { self.bury(lease) }
        }
        self.settle(answers);
    }
}
