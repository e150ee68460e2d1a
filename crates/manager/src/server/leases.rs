//! What is lent in the server: the lock of a mutex, permits of a semaphore, either side of a lock for readers.
//!
//! A mutex has one share; a lock for readers has very many, of which a reader takes one and a writer all. As they are lent in
//! order, readers that come later do not overtake a writer.
//!
//! Invariants: what is guarded changes by those only who have all shares; no more are lent than there are; one whose borrower is gone, or gave up before it heard of it, is free again;
//! they are lent in the order in which they were asked for. Held by `tests/locks.rs`.

use std::collections::VecDeque;

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, LeaseAsk, Share};

/// The shares of a lock for readers.
pub(super) const READERS: u64 = 1 << 32;

#[derive(Debug)]
pub(super) struct Leases {
    /// How many shares there are.
    total: u64,
    n_free: u64,
    lent: Vec<Lease>,
    /// The last number given.
    last: u64,
    /// Who waits for how many shares; nobody while the first one could have them.
    waiting: VecDeque<(Caller, u64)>,
    /// What a lock guards.
    item: Option<Item>,
    /// The process that died last while it had all of a lock, until the next one who has is told.
    died: Option<u32>,
}

#[derive(Debug)]
struct Lease {
    number: u64,
    n_shares: u64,
    client: u64,
    pid: u32,
    /// By which request.
    id: u64,
}

impl Leases {
    pub(super) fn new(n: u64, item: Option<Item>) -> Self {
        Self { total: n, n_free: n, lent: Vec::new(), last: 0, waiting: VecDeque::new(), item, died: None }
    }

    /// Lends to those who wait what is free.
    fn lend(&mut self, answers: &mut Answers) {
        while let Some((caller, n_shares)) = self.waiting.pop_front_if(|(_, n)| *n <= self.n_free) {
            self.n_free -= n_shares;
            self.last += 1;
            let (client, pid) = (caller.client.number(), caller.client.pid());
            self.lent.push(Lease { number: self.last, n_shares, client, pid, id: caller.id });
            // One who only reads can mend nothing: it hears of it, and the next one who can does, too.
            let died = if n_shares == self.total { self.died.take() } else { self.died };
            let item = self.item.clone();
            answers.push((caller, Answer::Lent { lease: self.last, item, died, n_times: 0 }));
        }
    }

    /// Takes those back of which this is true.
    fn take_back(&mut self, is_back: impl Fn(&Lease) -> bool, answers: &mut Answers) -> Vec<Lease> {
        let back: Vec<Lease> = self.lent.extract_if(.., |lease| is_back(lease)).collect();
        self.n_free += back.iter().map(|lease| lease.n_shares).sum::<u64>();
        self.lend(answers);
        back
    }

    /// So many shares, if there ever are.
    fn shares(&self, share: Share) -> Option<u64> {
        match share {
            Share::All => Some(self.total),
            Share::Of(n) => (1..=self.total.max(1)).contains(&n).then_some(n),
        }
    }

    /// The lease with this number, if this client has it.
    fn lease(&mut self, number: u64, client: u64) -> Option<&mut Lease> {
        self.lent.iter_mut().find(|lease| lease.number == number && lease.client == client)
    }

    /// What is guarded is `item` from now on, if this client may say so.
    fn put(&mut self, number: u64, client: u64, item: Option<Item>) {
        let total = self.total;
        let has_all = self.lease(number, client).is_some_and(|lease| lease.n_shares == total);
        if let (true, Some(item), Some(guarded)) = (has_all, item, &mut self.item) {
            *guarded = item;
        }
    }

    /// All but one of its shares are free again.
    fn downgrade(&mut self, number: u64, client: u64, answers: &mut Answers) -> Answer {
        let Some(lease) = self.lease(number, client) else { return not_lent() };
        let n_freed = lease.n_shares - 1;
        lease.n_shares = 1;
        self.n_free += n_freed;
        self.lend(answers);
        Answer::Done
    }
}

fn not_lent() -> Answer {
    Answer::Refused("it was not lent to this process".into())
}

impl Object for Leases {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Lease(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            LeaseAsk::Take(share, waits) => match self.shares(share) {
                None => Answer::Refused(format!("there are {} of them at most", self.total)),
                Some(n) if waits || (self.waiting.is_empty() && n <= self.n_free) => {
                    self.waiting.push_back((caller, n));
                    return self.lend(answers);
                }
                Some(_) => Answer::WouldWait,
            },
            LeaseAsk::Give(number, item) => match self.give(caller.client.number(), number, item, answers) {
                true => Answer::Done,
                false => not_lent(),
            },
            LeaseAsk::Downgrade(number, item) => {
                let client = caller.client.number();
                self.put(number, client, item);
                self.downgrade(number, client, answers)
            }
            LeaseAsk::Available => Answer::Number(self.n_free),
        };
        answers.push((caller, answer));
    }

    fn give(&mut self, client: u64, number: u64, item: Option<Item>, answers: &mut Answers) -> bool {
        self.put(number, client, item);
        !self.take_back(|lease| lease.number == number && lease.client == client, answers).is_empty()
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn cancel(&mut self, client: u64, id: u64, answers: &mut Answers) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(caller, _)| !caller.is(client, id));
        let has_waited = self.waiting.len() < before;
        // It may have been lent at this very moment; then it goes on to another.
        self.take_back(|lease| lease.client == client && lease.id == id, answers);
        has_waited
    }

    fn forget(&mut self, client: u64, answers: &mut Answers) {
        self.waiting.retain(|(caller, _)| caller.client.number() != client);
        let (total, is_lock) = (self.total, self.item.is_some());
        let is_lost = |lease: &&Lease| lease.client == client && lease.n_shares == total;
        if let Some(lost) = self.lent.iter().rfind(is_lost).filter(|_| is_lock) {
            self.died = Some(lost.pid);
        }
        self.take_back(|lease| lease.client == client, answers);
    }
}
