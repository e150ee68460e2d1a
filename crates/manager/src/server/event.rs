//! An event in the server.

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, EventAsk};

#[derive(Debug, Default)]
pub(super) struct Event {
    is_set: bool,
    /// Nobody if it is set.
    waiting: Vec<Caller>,
}

impl Object for Event {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Event(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            EventAsk::Set => {
                self.is_set = true;
                answers.extend(self.waiting.drain(..).map(|caller| (caller, Answer::Done)));
                Answer::Done
            }
            EventAsk::Clear => {
                self.is_set = false;
                Answer::Done
            }
            EventAsk::IsSet => Answer::Yes(self.is_set),
            EventAsk::Wait if self.is_set => Answer::Done,
            EventAsk::Wait => return self.waiting.push(caller),
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

    fn forget(&mut self, client: u64, _: &mut Answers) {
        self.waiting.retain(|caller| caller.client.number() != client);
    }
}
