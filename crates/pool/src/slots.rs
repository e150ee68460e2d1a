//! Outcomes that wait to be taken, in blocks as they came: what is done for an outcome is done once for its block.
//!
//! Invariants: blocks stand in the order of their indices, do not overlap, and none is empty.

use std::collections::VecDeque;

use crate::sink::Outcome;

#[derive(Debug, Default)]
pub(crate) struct Slots {
    blocks: VecDeque<Block>,
    len: usize,
}

#[derive(Debug)]
struct Block {
    /// Index of the first outcome.
    first: usize,
    outcomes: VecDeque<Outcome>,
}

impl Slots {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes in the outcomes from index `first` on. None of them may be here.
    pub(crate) fn put(&mut self, first: usize, outcomes: Vec<Outcome>) {
        if outcomes.is_empty() {
            return;
        }
        self.len += outcomes.len();
        let block = Block { first, outcomes: outcomes.into() };
        let before = self.blocks.partition_point(|other| other.first < first);
        self.blocks.insert(before, block);
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Outcome> {
        let block = &self.blocks[self.block_of(index)?];
        block.outcomes.get(index - block.first)
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.get(index).is_some()
    }

    /// Takes the outcome with the least index.
    pub(crate) fn pop_first(&mut self) -> Option<(usize, Outcome)> {
        let block = self.blocks.front_mut()?;
        let (index, outcome) = (block.first, block.outcomes.pop_front()?);
        block.first += 1;
        if block.outcomes.is_empty() {
            self.blocks.pop_front();
        }
        self.len -= 1;
        Some((index, outcome))
    }

    /// Takes the outcome with this index: as a rule it is the least.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Outcome> {
        if self.blocks.front().is_some_and(|block| block.first == index) {
            return self.pop_first().map(|(_, outcome)| outcome);
        }
        let at = self.block_of(index)?;
        let block = &mut self.blocks[at];
        let mut rest = block.outcomes.split_off(index - block.first);
        let outcome = rest.pop_front()?;
        if block.outcomes.is_empty() {
            self.blocks.remove(at);
        }
        self.len -= 1 + rest.len();
        self.put(index + 1, rest.into());
        Some(outcome)
    }

    /// The block that has this index.
    fn block_of(&self, index: usize) -> Option<usize> {
        let at = self.blocks.partition_point(|block| block.first <= index).checked_sub(1)?;
        (index - self.blocks[at].first < self.blocks[at].outcomes.len()).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Value;

    fn outcomes(tasks: std::ops::Range<u64>) -> Vec<Outcome> {
        tasks.map(|task| Ok(Value { task, bytes: Vec::new(), descriptors: Vec::new() })).collect()
    }

    fn task(outcome: Outcome) -> u64 {
        outcome.map_or(u64::MAX, |value| value.task)
    }

    #[test]
    fn each_is_taken_once_in_whatever_order_it_came() {
        let mut slots = Slots::default();
        slots.put(7, outcomes(7..10));
        slots.put(0, outcomes(0..3));
        slots.put(5, Vec::new());
        slots.put(3, outcomes(3..7));
        assert_eq!((slots.len(), slots.has(9), slots.has(10)), (10, true, false));
        assert_eq!(slots.remove(4).map(task), Some(4), "from the middle of a block");
        assert_eq!(slots.remove(9).map(task), Some(9), "its last");
        assert_eq!(slots.remove(7).map(task), Some(7), "the first of a later one");
        assert!(slots.remove(4).is_none() && !slots.has(4) && slots.has(5));
        let rest: Vec<_> = std::iter::from_fn(|| slots.pop_first()).collect();
        assert!(rest.iter().all(|(index, outcome)| outcome.as_ref().unwrap().task == *index as u64));
        assert_eq!(rest.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 5, 6, 8]);
        assert!(slots.is_empty() && slots.blocks.is_empty());
    }
}
