//! What an object in the server is, and the answers that it owes.

use std::sync::Arc;

use procession_codec::Bytes;

use crate::server::client::Client;
use crate::wire::{Answer, Ask, Item, Reply};

/// An object in the server.
pub(super) trait Object: Send {
    /// Does what is asked. What comes of it, for whoever asked it when, goes into `answers`; a caller that has to wait is
    /// kept by the object.
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers);

    /// The caller with this number at this client does not wait any longer. False: it has its answer.
    fn cancel(&mut self, _client: u64, _id: u64, _answers: &mut Answers) -> bool {
        false
    }

    /// A client is gone: nobody waits there any more.
    fn forget(&mut self, _client: u64, _answers: &mut Answers) {}

    /// How many callers it keeps.
    fn n_waiting(&self) -> usize {
        0
    }

    /// A client gives back what it was lent by this number, with what is guarded from now on. False: it was not.
    fn give(&mut self, _client: u64, _number: u64, _item: Option<Item>, _answers: &mut Answers) -> bool {
        false
    }

    /// What it has, each with its key or an empty one, if it is made of many.
    fn rows(&self) -> Option<Vec<(Bytes, Item)>> {
        None
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) client: Arc<Client>,
    /// The number of its request.
    pub(super) id: u64,
}

/// Answers on their way; sent when the object is free again.
pub(super) type Answers = Vec<(Caller, Answer)>;

impl Caller {
    /// Whether it is this one.
    pub(super) fn is(&self, client: u64, id: u64) -> bool {
        self.client.number() == client && self.id == id
    }

    /// Sends its answer.
    pub(super) fn answer(self, answer: Answer) {
        if self.id != 0 {
            self.client.reply(Reply { id: self.id, answer });
        }
    }
}

/// Whether values of these lengths fit into an answer; what is taken out must not be lost.
pub(super) fn fit(lens: impl IntoIterator<Item = usize>) -> bool {
    lens.into_iter().map(|len| len + ITEM).sum::<usize>() <= MOST
}

/// What an item has in an answer, beside its bytes, at most.
pub(super) const ITEM: usize = 16;
/// The most bytes of an answer, with some left for what is around.
pub(super) const MOST: usize = (64 << 20) - 1024;

/// What an object says that is to give more than fits.
pub(super) fn too_much() -> Answer {
    Answer::Refused("it is too much for one answer, and stays".into())
}

/// What an object says to what is asked of others.
pub(super) fn not_of_this_kind() -> Answer {
    Answer::Refused("the object is of another kind, or of another version".into())
}
