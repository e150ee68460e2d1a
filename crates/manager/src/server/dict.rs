//! A dictionary in the server: bytes to bytes.
//!
//! Each change of a value gives it a version that no value of the dictionary has had before, so that who has read one can
//! tell whether it is still the same.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use procession_codec::Bytes;

use crate::server::object::{Answers, Caller, Object, fit, not_of_this_kind, too_much};
use crate::wire::{Answer, Ask, DictAsk, Item};

#[derive(Debug, Default)]
pub(super) struct Dict {
    entries: HashMap<Bytes, (u64, Item)>,
    /// The last one given.
    version: u64,
    /// Who waits for which key.
    waiting: Vec<(Bytes, Caller)>,
}

impl Dict {
    fn put(&mut self, key: Bytes, item: Item, answers: &mut Answers) -> Option<Item> {
        self.version += 1;
        if !self.waiting.is_empty() {
            let come = self.waiting.extract_if(.., |(awaited, _)| *awaited == key);
            answers.extend(come.map(|(_, caller)| (caller, Answer::Value(Some(item.clone())))));
        }
        self.entries.insert(key, (self.version, item)).map(|(_, old)| old)
    }

    fn value(&self, key: &Bytes) -> Option<Item> {
        self.item(key).cloned()
    }

    fn item(&self, key: &Bytes) -> Option<&Item> {
        self.entries.get(key).map(|(_, item)| item)
    }

    fn swap(
        &mut self,
        key: Bytes,
        expected: Option<u64>,
        new: Option<Item>,
        answers: &mut Answers,
    ) -> Answer {
        if self.entries.get(&key).map(|(version, _)| *version) != expected {
            return Answer::Versioned(self.entries.get(&key).cloned());
        }
        match new {
            Some(item) => drop(self.put(key, item, answers)),
            None => drop(self.entries.remove(&key)),
        }
        Answer::Done
    }

    fn take(&mut self, key: &Bytes) -> Option<Item> {
        self.entries.remove(key).map(|(_, item)| item)
    }

    /// Any one.
    fn pop(&mut self) -> Vec<(Bytes, Item)> {
        let key = self.entries.keys().next().cloned();
        key.and_then(|key| self.take(&key).map(|item| (key, item))).into_iter().collect()
    }

    /// Takes all others out; how many.
    fn keep(&mut self, keys: Vec<Bytes>) -> u64 {
        let keys: HashSet<Bytes> = keys.into_iter().collect();
        let before = self.entries.len();
        self.entries.retain(|key, _| keys.contains(key));
        (before - self.entries.len()) as u64
    }

    fn pairs(&self) -> impl Iterator<Item = (Bytes, Item)> {
        self.entries.iter().map(|(key, (_, item))| (key.clone(), item.clone()))
    }
}

impl Object for Dict {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Dict(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            DictAsk::Get(key) => Answer::Value(self.value(&key)),
            DictAsk::Contains(key) => Answer::Yes(self.entries.contains_key(&key)),
            DictAsk::Insert(key, item) => Answer::Value(self.put(key, item, answers)),
            DictAsk::Remove(key) => Answer::Value(self.take(&key)),
            DictAsk::Len => Answer::Number(self.entries.len() as u64),
            DictAsk::Clear => {
                self.entries.clear();
                Answer::Done
            }
            DictAsk::Keys => Answer::Keys(self.entries.keys().cloned().collect()),
            DictAsk::Pairs => Answer::Pairs(self.pairs().collect()),
            DictAsk::Extend(pairs) => {
                for (key, item) in pairs {
                    self.put(key, item, answers);
                }
                Answer::Done
            }
            DictAsk::GetOrInsert(key, item) => {
                if !self.entries.contains_key(&key) {
                    self.put(key.clone(), item, answers);
                }
                Answer::Value(self.value(&key))
            }
            DictAsk::Read(key) => Answer::Versioned(self.entries.get(&key).cloned()),
            DictAsk::Swap(key, expected, new) => self.swap(key, expected, new, answers),
            DictAsk::Await(key) => match self.entries.entry(key) {
                Entry::Occupied(entry) => Answer::Value(Some(entry.get().1.clone())),
                Entry::Vacant(entry) => return self.waiting.push((entry.into_key(), caller)),
            },
            DictAsk::GetMany(keys) => Answer::Options(keys.iter().map(|key| self.value(key)).collect()),
            DictAsk::ContainsAll(keys) => Answer::Yes(keys.iter().all(|key| self.entries.contains_key(key))),
            DictAsk::RemoveMany(keys) if !fit(keys.iter().map(|key| self.item(key).map_or(0, Item::len))) => {
                too_much()
            }
            DictAsk::RemoveMany(keys) => Answer::Options(keys.iter().map(|key| self.take(key)).collect()),
            DictAsk::Keep(keys) => Answer::Number(self.keep(keys)),
            DictAsk::Pop => Answer::Pairs(self.pop()),
            DictAsk::Drain if !fit(self.entries.iter().map(|(key, (_, item))| key.len() + item.len())) => {
                too_much()
            }
            DictAsk::Drain => {
                Answer::Pairs(self.entries.drain().map(|(key, (_, item))| (key, item)).collect())
            }
        };
        answers.push((caller, answer));
    }

    fn rows(&self) -> Option<Vec<(Bytes, Item)>> {
        Some(self.pairs().collect())
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn cancel(&mut self, client: u64, id: u64, _: &mut Answers) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(_, caller)| !caller.is(client, id));
        self.waiting.len() < before
    }

    fn forget(&mut self, client: u64, _: &mut Answers) {
        self.waiting.retain(|(_, caller)| caller.client.number() != client);
    }
}
