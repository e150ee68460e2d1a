//! What another object had at one instant; it never changes, and is handed out in blocks.

use procession_codec::Bytes;

use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item};

/// The most rows of a block.
const MOST_ROWS: usize = 1024;
/// When a block has so many bytes, no row is added.
const ENOUGH: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Frozen(Vec<(Bytes, Item)>);

impl Frozen {
    pub(super) fn new(rows: Vec<(Bytes, Item)>) -> Self {
        Self(rows)
    }

    /// Nothing only when there is nothing left.
    fn block(&self, from: u64) -> Vec<(Bytes, Item)> {
        let rows = usize::try_from(from).ok().and_then(|from| self.0.get(from..)).unwrap_or_default();
        let mut n_bytes = 0;
        let fit = rows.iter().take(MOST_ROWS).take_while(|(key, item)| {
            let has_room = n_bytes < ENOUGH;
            n_bytes += key.len() + item.len();
            has_room
        });
        fit.cloned().collect()
    }
}

impl Object for Frozen {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let answer = match ask {
            Ask::Block(from) => Answer::Pairs(self.block(from)),
            _ => not_of_this_kind(),
        };
        answers.push((caller, answer));
    }
}
