//! What is lent in the server: the lock of a mutex, permits of a semaphore.
//!
//! Invariants: no more are lent than there are; one whose borrower is gone, or gave up before it heard of it, is free again;
//! they are lent in the order in which they were asked for. Held by `tests/locks.rs`.

use std::collections::VecDeque;

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, LeaseAsk};

#[derive(Debug)]
pub(super) struct Leases {
    n_free: u64,
    lent: Vec<Lease>,
    /// The last number given.
    last: u64,
    /// Nobody while there is a free one.
    waiting: VecDeque<Caller>,
    /// What a mutex guards.
    item: Option<Item>,
    /// The process that died last while it had one, until somebody is told.
    died: Option<u32>,
}

#[derive(Debug)]
struct Lease {
    number: u64,
    client: u64,
    pid: u32,
    /// By which request.
    id: u64,
}

impl Leases {
    pub(super) fn new(n: u64, item: Option<Item>) -> Self {
        Self { n_free: n, lent: Vec::new(), last: 0, waiting: VecDeque::new(), item, died: None }
    }

    /// Lends to those who wait what is free.
    fn lend(&mut self, answers: &mut Answers) {
        while self.n_free > 0 {
            let Some(caller) = self.waiting.pop_front() else { return };
            self.n_free -= 1;
            self.last += 1;
            let (client, pid) = (caller.client.number(), caller.client.pid());
            self.lent.push(Lease { number: self.last, client, pid, id: caller.id });
            let (item, died) = (self.item.clone(), self.died.take());
            answers.push((caller, Answer::Lent { lease: self.last, item, died }));
        }
    }

    /// Takes those back of which this is true.
    fn take_back(&mut self, is_back: impl Fn(&Lease) -> bool, answers: &mut Answers) -> Vec<Lease> {
        let back: Vec<Lease> = self.lent.extract_if(.., |lease| is_back(lease)).collect();
        self.n_free += back.len() as u64;
        self.lend(answers);
        back
    }
}

impl Object for Leases {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Lease(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            LeaseAsk::Take(waits) if waits || self.n_free > 0 => {
                self.waiting.push_back(caller);
                return self.lend(answers);
            }
            LeaseAsk::Take(_) => Answer::WouldWait,
            LeaseAsk::Give(number, item) => {
                let client = caller.client.number();
                let is_it = |lease: &Lease| lease.number == number && lease.client == client;
                if let (true, Some(item), Some(guarded)) = (self.lent.iter().any(is_it), item, &mut self.item)
                {
                    *guarded = item;
                }
                match self.take_back(is_it, answers).is_empty() {
                    true => Answer::Refused("it was not lent to this process".into()),
                    false => Answer::Done,
                }
            }
            LeaseAsk::Available => Answer::Number(self.n_free),
        };
        answers.push((caller, answer));
    }

    fn cancel(&mut self, client: u64, id: u64, answers: &mut Answers) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|caller| !caller.is(client, id));
        let has_waited = self.waiting.len() < before;
        // It may have been lent at this very moment; then it goes on to another.
        self.take_back(|lease| lease.client == client && lease.id == id, answers);
        has_waited
    }

    fn forget(&mut self, client: u64, answers: &mut Answers) {
        self.waiting.retain(|caller| caller.client.number() != client);
        if let Some(lost) = self.lent.iter().rfind(|lease| lease.client == client) {
            self.died = Some(lost.pid);
        }
        self.take_back(|lease| lease.client == client, answers);
    }
}
