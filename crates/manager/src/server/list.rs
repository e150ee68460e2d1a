//! A list in the server. Versions as in a dictionary.

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, ListAsk};

#[derive(Debug, Default)]
pub(super) struct List {
    items: Vec<(u64, Item)>,
    /// The last one given.
    version: u64,
}

impl List {
    fn versioned(&mut self, item: Item) -> (u64, Item) {
        self.version += 1;
        (self.version, item)
    }

    fn at(&self, index: u64) -> Option<usize> {
        usize::try_from(index).ok().filter(|index| *index < self.items.len())
    }

    fn put(&mut self, index: u64, item: Item) -> Option<Item> {
        let at = self.at(index)?;
        let new = self.versioned(item);
        Some(std::mem::replace(&mut self.items[at], new).1)
    }

    fn insert(&mut self, index: u64, item: Item) {
        let at = self.at(index).unwrap_or(self.items.len());
        let new = self.versioned(item);
        self.items.insert(at, new);
    }

    fn read(&self, index: u64) -> Option<(u64, Item)> {
        self.at(index).map(|at| self.items[at].clone())
    }

    fn swap(&mut self, index: u64, expected: Option<u64>, item: Item) -> Answer {
        match self.read(index) {
            Some((version, _)) if Some(version) == expected => {
                self.put(index, item);
                Answer::Done
            }
            other => Answer::Versioned(other),
        }
    }
}

impl Object for List {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::List(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            ListAsk::Get(index) => Answer::Value(self.read(index).map(|(_, item)| item)),
            ListAsk::Set(index, item) => Answer::Value(self.put(index, item)),
            ListAsk::Insert(index, item) => {
                self.insert(index, item);
                Answer::Done
            }
            ListAsk::Remove(index) => Answer::Value(self.at(index).map(|at| self.items.remove(at).1)),
            ListAsk::Extend(items) => {
                for item in items {
                    self.insert(u64::MAX, item);
                }
                Answer::Done
            }
            ListAsk::Pop => Answer::Value(self.items.pop().map(|(_, item)| item)),
            ListAsk::Len => Answer::Number(self.items.len() as u64),
            ListAsk::Clear => {
                self.items.clear();
                Answer::Done
            }
            ListAsk::All => Answer::Items(self.items.iter().map(|(_, item)| item.clone()).collect()),
            ListAsk::Read(index) => Answer::Versioned(self.read(index)),
            ListAsk::Swap(index, expected, item) => self.swap(index, expected, item),
        };
        answers.push((caller, answer));
    }
}
