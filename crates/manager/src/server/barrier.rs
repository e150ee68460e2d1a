//! A barrier in the server.
//!
//! | state | who waits | left by |
//! |---|---|---|
//! | filling | fewer than all parties | the last party, which lets all go on; a death, a limit, `Abort`: broken |
//! | broken | nobody | `Reset` |
//!
//! Invariant: of those who waited together all meet, or none does. Held by `tests/barrier.rs`.

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, BarrierAsk, Breach};

#[derive(Debug)]
pub(super) struct Barrier {
    parties: u64,
    /// In the order in which they came.
    waiting: Vec<Caller>,
    broken: Option<Breach>,
}

impl Barrier {
    pub(super) fn new(parties: u64) -> Self {
        Self { parties: parties.max(1), waiting: Vec::new(), broken: None }
    }

    fn arrive(&mut self, caller: Caller, waits: bool, answers: &mut Answers) {
        if let Some(breach) = self.broken {
            return answers.push((caller, Answer::Unmet(breach)));
        }
        let is_last = self.waiting.len() as u64 + 1 >= self.parties;
        if !is_last && !waits {
            return answers.push((caller, Answer::WouldWait));
        }
        self.waiting.push(caller);
        if is_last {
            answers.extend(self.waiting.drain(..).zip(0..).map(|(caller, n)| (caller, Answer::Number(n))));
        }
    }

    /// All who wait have waited in vain.
    fn part(&mut self, breach: Breach, answers: &mut Answers) {
        answers.extend(self.waiting.drain(..).map(|caller| (caller, Answer::Unmet(breach))));
    }

    fn breach(&mut self, breach: Breach, answers: &mut Answers) {
        self.broken.get_or_insert(breach);
        self.part(breach, answers);
    }
}

impl Object for Barrier {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Barrier(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            BarrierAsk::Arrive(waits) => return self.arrive(caller, waits, answers),
            BarrierAsk::NWaiting => Answer::Number(self.waiting.len() as u64),
            BarrierAsk::Parties => Answer::Number(self.parties),
            BarrierAsk::IsBroken => Answer::Yes(self.broken.is_some()),
            BarrierAsk::Abort => {
                self.breach(Breach::Aborted, answers);
                Answer::Done
            }
            BarrierAsk::Reset => {
                self.part(Breach::Aborted, answers);
                self.broken = None;
                Answer::Done
            }
        };
        answers.push((caller, answer));
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn cancel(&mut self, client: u64, id: u64, answers: &mut Answers) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|caller| !caller.is(client, id));
        let has_waited = self.waiting.len() < before;
        if has_waited {
            self.breach(Breach::Aborted, answers);
        }
        has_waited
    }

    fn forget(&mut self, client: u64, answers: &mut Answers) {
        let gone: Vec<Caller> =
            self.waiting.extract_if(.., |caller| caller.client.number() == client).collect();
        if let Some(caller) = gone.first() {
            self.breach(Breach::Died(caller.client.pid()), answers);
        }
    }
}
