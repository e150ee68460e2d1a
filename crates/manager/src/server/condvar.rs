//! A condition variable in the server.
//!
//! Who waits gives its mutex back in the same request, after it was put among those who wait ([`Table`]). Who is woken gets a
//! number, locks the mutex by a request of its own, and then says that it has heard. A client that dies before it does has
//! used up nothing: another one is woken in its place.
//!
//! Invariant: of as many notifications as there were, as many are heard by clients that live, or nobody waits any more.
//! Held by `tests/condvar.rs`.
//!
//! [`Table`]: crate::server::table::Table

use std::collections::VecDeque;

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, CondvarAsk};

#[derive(Debug, Default)]
pub(super) struct Condvar {
    waiting: VecDeque<Caller>,
    /// The numbers and clients of those who were woken, and have not heard yet.
    woken: Vec<(u64, u64)>,
    /// The last number given.
    last: u64,
}

impl Condvar {
    /// Wakes so many; how many there were.
    fn notify(&mut self, n: u64, answers: &mut Answers) -> u64 {
        let n = self.waiting.len().min(usize::try_from(n).unwrap_or(usize::MAX));
        for caller in self.waiting.drain(..n) {
            self.last += 1;
            self.woken.push((self.last, caller.client.number()));
            answers.push((caller, Answer::Number(self.last)));
        }
        n as u64
    }
}

impl Object for Condvar {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Condvar(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            CondvarAsk::Wait { .. } => return self.waiting.push_back(caller),
            CondvarAsk::Notify(n) => Answer::Number(self.notify(n, answers)),
            CondvarAsk::Heard(number) => {
                let client = caller.client.number();
                self.woken.retain(|woken| *woken != (number, client));
                Answer::Done
            }
        };
        answers.push((caller, answer));
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn cancel(&mut self, client: u64, id: u64, _: &mut Answers) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|caller| !caller.is(client, id));
        self.waiting.len() < before
    }

    fn forget(&mut self, client: u64, answers: &mut Answers) {
        self.waiting.retain(|caller| caller.client.number() != client);
        let n_lost = self.woken.extract_if(.., |(_, woken)| *woken == client).count();
        self.notify(n_lost as u64, answers);
    }
}
