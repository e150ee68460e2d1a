//! A list in the server, or an array: a list whose length is fixed.
//!
//! Each change gives what it changes a version that nothing in the list has had before. A range has the greatest version
//! among what is in it, and of the last change that moved items; so who has read one can tell whether it is still the same.

use std::mem;
use std::ops::Range;

use procession_codec::Bytes;

use crate::server::object::{Answers, Caller, Object, fit, not_of_this_kind, too_much};
use crate::wire::{Answer, Ask, Item, ListAsk};

#[derive(Debug, Default)]
pub(super) struct List {
    items: Vec<(u64, Item)>,
    /// The last one given.
    version: u64,
    /// That of the last change that moved items.
    moved: u64,
    is_fixed: bool,
}

impl List {
    /// An array of these.
    pub(super) fn fixed(items: Vec<Item>) -> Self {
        let items = items.into_iter().map(|item| (0, item)).collect();
        Self { items, is_fixed: true, ..Self::default() }
    }

    fn versioned(&mut self, item: Item) -> (u64, Item) {
        self.version += 1;
        (self.version, item)
    }

    /// Items move.
    fn moves(&mut self) {
        self.version += 1;
        self.moved = self.version;
    }

    fn len(&self) -> u64 {
        self.items.len() as u64
    }

    fn at(&self, index: u64) -> Option<usize> {
        usize::try_from(index).ok().filter(|index| *index < self.items.len())
    }

    /// What there is of a range.
    fn within(&self, from: u64, to: u64) -> Range<usize> {
        let cut = |index: u64| usize::try_from(index).unwrap_or(usize::MAX).min(self.items.len());
        cut(from)..cut(to).max(cut(from))
    }

    fn put(&mut self, index: u64, item: Item) -> Option<Item> {
        let at = self.at(index)?;
        let new = self.versioned(item);
        Some(mem::replace(&mut self.items[at], new).1)
    }

    fn insert(&mut self, index: u64, item: Item) {
        let at = self.at(index).unwrap_or(self.items.len());
        let new = self.versioned(item);
        self.moves();
        self.items.insert(at, new);
    }

    fn take(&mut self, range: Range<usize>) -> Vec<Item> {
        self.moves();
        self.items.drain(range).map(|(_, item)| item).collect()
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

    fn copies(&self, range: Range<usize>) -> Vec<Item> {
        self.items[range].iter().map(|(_, item)| item.clone()).collect()
    }

    fn read_range(&self, range: Range<usize>) -> Answer {
        let newest = self.items[range.clone()].iter().map(|(version, _)| *version).max();
        Answer::Range(newest.unwrap_or(0).max(self.moved), self.copies(range))
    }

    fn swap_range(&mut self, range: Range<usize>, expected: u64, new: Vec<Item>) -> Answer {
        match self.read_range(range.clone()) {
            Answer::Range(version, _) if version == expected => {
                if new.len() != range.len() {
                    self.moves();
                }
                let new: Vec<_> = new.into_iter().map(|item| self.versioned(item)).collect();
                self.items.splice(range, new);
                Answer::Done
            }
            other => other,
        }
    }

    fn set_range(&mut self, from: u64, items: Vec<Item>) -> Answer {
        let end = from.saturating_add(items.len() as u64);
        if end > self.len() {
            return self.out_of_bounds(end - 1);
        }
        for (index, item) in (from..).zip(items) {
            self.put(index, item);
        }
        Answer::Done
    }

    fn exchange(&mut self, a: u64, b: u64) -> Answer {
        let (Some(at), Some(other)) = (self.at(a), self.at(b)) else {
            return self.out_of_bounds(if self.at(a).is_none() { a } else { b });
        };
        self.items.swap(at, other);
        for at in [at, other] {
            self.version += 1;
            self.items[at].0 = self.version;
        }
        Answer::Done
    }

    fn swap_remove(&mut self, index: u64) -> Option<Item> {
        let at = self.at(index)?;
        self.moves();
        Some(self.items.swap_remove(at).1)
    }

    fn fill(&mut self, item: &Item) {
        for index in 0..self.len() {
            self.put(index, item.clone());
        }
    }

    fn remove_equal(&mut self, gone: &[Item]) -> u64 {
        let before = self.len();
        self.moves();
        self.items.retain(|(_, item)| !gone.iter().any(|other| item.is_same(other)));
        before - self.len()
    }

    fn out_of_bounds(&self, index: u64) -> Answer {
        Answer::OutOfBounds { index, len: self.len() }
    }

    /// What an array says to what a list does: its length stays, and what is not there is asked for by mistake.
    fn refused(&self, ask: &ListAsk) -> Option<Answer> {
        let needed = match ask {
            ListAsk::Get(index) | ListAsk::Set(index, _) => index.saturating_add(1),
            ListAsk::Read(index) | ListAsk::Swap(index, ..) => index.saturating_add(1),
            ListAsk::Range(from, to) | ListAsk::ReadRange(from, to) if from > to => *from,
            ListAsk::Range(_, to) | ListAsk::ReadRange(_, to) => *to,
            ListAsk::SwapRange(from, to, _, items) if to.checked_sub(*from) == Some(items.len() as u64) => {
                *to
            }
            ListAsk::SetRange(..) | ListAsk::Exchange(..) | ListAsk::Fill(_) | ListAsk::Find(_) => 0,
            ListAsk::Last | ListAsk::Len | ListAsk::All | ListAsk::Reverse => 0,
            _ => return Some(Answer::Refused("the length of an array is fixed".into())),
        };
        (needed > self.len()).then(|| self.out_of_bounds(needed - 1))
    }

    fn carry_out(&mut self, ask: ListAsk) -> Answer {
        match ask {
            ListAsk::Get(index) => Answer::Value(self.read(index).map(|(_, item)| item)),
            ListAsk::Set(index, item) => Answer::Value(self.put(index, item)),
            ListAsk::Remove(index) => {
                let at = self.at(index);
                Answer::Value(at.and_then(|at| self.take(at..at + 1).pop()))
            }
            ListAsk::Pop => {
                let last = self.items.len().saturating_sub(1);
                Answer::Value(self.take(last..self.items.len()).pop())
            }
            ListAsk::Last => Answer::Value(self.items.last().map(|(_, item)| item.clone())),
            ListAsk::Len => Answer::Number(self.len()),
            ListAsk::All => Answer::Items(self.copies(0..self.items.len())),
            ListAsk::Read(index) => Answer::Versioned(self.read(index)),
            ListAsk::Swap(index, expected, item) => self.swap(index, expected, item),
            ListAsk::Range(from, to) => Answer::Items(self.copies(self.within(from, to))),
            ListAsk::Drain(from, to) => {
                let range = self.within(from, to);
                match fit(self.items[range.clone()].iter().map(|(_, item)| item.len())) {
                    true => Answer::Items(self.take(range)),
                    false => too_much(),
                }
            }
            ListAsk::ReadRange(from, to) => self.read_range(self.within(from, to)),
            ListAsk::SwapRange(from, to, expected, items) => {
                self.swap_range(self.within(from, to), expected, items)
            }
            ListAsk::SetRange(from, items) => self.set_range(from, items),
            ListAsk::Exchange(a, b) => self.exchange(a, b),
            ListAsk::SwapRemove(index) => Answer::Value(self.swap_remove(index)),
            ListAsk::Find(item) => {
                let at = self.items.iter().position(|(_, other)| other.is_same(&item));
                Answer::Found(at.map(|at| at as u64))
            }
            ListAsk::RemoveEqual(items) => Answer::Number(self.remove_equal(&items)),
            other => {
                self.change(other);
                Answer::Done
            }
        }
    }

    /// Does what has no answer.
    fn change(&mut self, ask: ListAsk) {
        match ask {
            ListAsk::Insert(index, item) => self.insert(index, item),
            ListAsk::Extend(items) => items.into_iter().for_each(|item| self.insert(u64::MAX, item)),
            ListAsk::Clear => drop(self.take(0..self.items.len())),
            ListAsk::Truncate(len) => {
                let range = self.within(len, u64::MAX);
                self.take(range);
            }
            ListAsk::Fill(item) => self.fill(&item),
            ListAsk::Reverse => {
                self.moves();
                self.items.reverse();
            }
            _ => {}
        }
    }
}

impl Object for List {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::List(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let refused = if self.is_fixed { self.refused(&ask) } else { None };
        let answer = refused.unwrap_or_else(|| self.carry_out(ask));
        answers.push((caller, answer));
    }

    fn rows(&self) -> Option<Vec<(Bytes, Item)>> {
        Some(self.items.iter().map(|(_, item)| (Bytes::new(), item.clone())).collect())
    }
}
