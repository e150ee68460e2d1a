//! What an object in the server is, and the answers that it owes.

use std::sync::Arc;

use crate::server::client::Client;
use crate::wire::{Answer, Ask, Reply};

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

/// What an object says to what is asked of others.
pub(super) fn not_of_this_kind() -> Answer {
    Answer::Refused("the object is of another kind, or of another version".into())
}
