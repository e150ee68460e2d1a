//! A single value in the server, with the number of its changes as its version.

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, ValueAsk};

#[derive(Debug)]
pub(super) struct Value {
    version: u64,
    item: Item,
}

impl Value {
    pub(super) fn new(item: Item) -> Self {
        Self { version: 0, item }
    }

    fn put(&mut self, item: Item) -> Item {
        self.version += 1;
        std::mem::replace(&mut self.item, item)
    }

    fn read(&self) -> Answer {
        Answer::Versioned(Some((self.version, self.item.clone())))
    }
}

impl Object for Value {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Value(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            ValueAsk::Get => Answer::Value(Some(self.item.clone())),
            ValueAsk::Put(item) => Answer::Value(Some(self.put(item))),
            ValueAsk::Read => self.read(),
            ValueAsk::Swap(Some(version), item) if version == self.version => {
                self.put(item);
                Answer::Done
            }
            ValueAsk::Swap(..) => self.read(),
            ValueAsk::Exchange(old, new) if old.is_same(&self.item) => {
                self.put(new);
                Answer::Done
            }
            ValueAsk::Exchange(..) => Answer::Value(Some(self.item.clone())),
        };
        answers.push((caller, answer));
    }
}
