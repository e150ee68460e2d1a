//! A queue in the server.
//!
//! | state | receivers wait | senders wait |
//! |---|---|---|
//! | empty | perhaps | no |
//! | neither empty nor full | no | no |
//! | full | no | perhaps, each with its item |
//! | closed | no | no |

use std::collections::VecDeque;

use crate::server::object::{Answers, Caller, ITEM, MOST, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, QueueAsk};

#[derive(Debug)]
pub(super) struct Queue {
    /// The most items, at least 1.
    most: usize,
    items: VecDeque<Item>,
    receivers: VecDeque<Caller>,
    senders: VecDeque<(Caller, Item)>,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(most: u64) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX).max(1),
            items: VecDeque::new(),
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            is_closed: false,
        }
    }

    fn send(&mut self, caller: Caller, item: Item, waits: bool, answers: &mut Answers) {
        let answer = if self.is_closed {
            Answer::Closed
        } else if let Some(receiver) = self.receivers.pop_front() {
            answers.push((receiver, Answer::Value(Some(item))));
            Answer::Done
        } else if self.items.len() < self.most {
            self.items.push_back(item);
            Answer::Done
        } else if waits {
            return self.senders.push_back((caller, item));
        } else {
            Answer::WouldWait
        };
        answers.push((caller, answer));
    }

    fn recv(&mut self, caller: Caller, waits: bool, answers: &mut Answers) {
        let answer = if let Some(item) = self.items.pop_front() {
            self.fill(answers);
            Answer::Value(Some(item))
        } else if self.is_closed {
            Answer::Closed
        } else if waits {
            return self.receivers.push_back(caller);
        } else {
            Answer::WouldWait
        };
        answers.push((caller, answer));
    }

    /// There is room for one.
    fn fill(&mut self, answers: &mut Answers) {
        if let Some((sender, item)) = self.senders.pop_front() {
            self.items.push_back(item);
            answers.push((sender, Answer::Done));
        }
    }

    /// What is there, and what comes in its place at once.
    fn recv_many(&mut self, most: u64, answers: &mut Answers) -> Answer {
        let (mut items, mut room) = (Vec::new(), MOST);
        while (items.len() as u64) < most {
            let fits = |item: &mut Item| item.len() + ITEM <= room;
            let Some(item) = self.items.pop_front_if(fits) else { break };
            room -= item.len() + ITEM;
            items.push(item);
            self.fill(answers);
        }
        if items.is_empty() && self.is_closed { Answer::Closed } else { Answer::Items(items) }
    }

    fn close(&mut self, answers: &mut Answers) {
        self.is_closed = true;
        let senders = self.senders.drain(..).map(|(caller, _)| caller);
        answers.extend(self.receivers.drain(..).chain(senders).map(|caller| (caller, Answer::Closed)));
    }

    /// Keeps those only who wait for what `keeps` says; whether somebody went.
    fn retain(&mut self, keeps: impl Fn(&Caller) -> bool) -> bool {
        let n = self.n_waiting();
        self.receivers.retain(&keeps);
        self.senders.retain(|(caller, _)| keeps(caller));
        self.n_waiting() < n
    }
}

impl Object for Queue {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let Ask::Queue(ask) = ask else { return answers.push((caller, not_of_this_kind())) };
        let answer = match ask {
            QueueAsk::Send(item, waits) => return self.send(caller, item, waits, answers),
            QueueAsk::Recv(waits) => return self.recv(caller, waits, answers),
            QueueAsk::Len => Answer::Number(self.items.len() as u64),
            QueueAsk::Close => {
                self.close(answers);
                Answer::Done
            }
            QueueAsk::IsClosed => Answer::Yes(self.is_closed),
            QueueAsk::RecvMany(most) => self.recv_many(most, answers),
            QueueAsk::Capacity => Answer::Number(self.most as u64),
        };
        answers.push((caller, answer));
    }

    fn n_waiting(&self) -> usize {
        self.receivers.len() + self.senders.len()
    }

    fn cancel(&mut self, client: u64, id: u64, _: &mut Answers) -> bool {
        self.retain(|caller| !caller.is(client, id))
    }

    fn forget(&mut self, client: u64, _: &mut Answers) {
        self.retain(|caller| caller.client.number() != client);
    }
}
