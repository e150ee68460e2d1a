//! An object of a trait of the user's in the server, and whose turn it is.
//!
//! | state | calls that run | who waits |
//! |---|---|---|
//! | free | none | nobody |
//! | shared | some with `&self` | nobody, or one with `&mut self` and all behind it |
//! | exclusive | one with `&mut self` | anybody |
//! | poisoned | perhaps some with `&self` | nobody |
//!
//! A call that waits is in the queue of its object and has no thread; it gets one when it begins.
//!
//! Invariants: calls begin in the order in which they came; one that waits and is cancelled, or whose client is gone, never
//! begins; each gets one answer. Held by `tests/remote.rs`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use procession_process::catch_panic;

use crate::register::Served;
use crate::remote::{Exchange, Method};
use crate::server::crew::Crew;
use crate::server::object::{Answers, Caller, Object, not_of_this_kind};
use crate::wire::{Answer, Ask, Item, RemoteAsk};

pub(super) struct Remote(Arc<Core>);

struct Core {
    /// Its lock is always free for whose turn it is. There until the core is dropped.
    object: RwLock<Option<Box<dyn Served>>>,
    methods: &'static [Method],
    turns: Mutex<Turns>,
    crew: Crew,
}

#[derive(Default)]
struct Turns {
    n_shared: usize,
    is_exclusive: bool,
    waiting: VecDeque<Call>,
    /// What a method with `&mut self` said when it panicked.
    poison: Option<String>,
}

struct Call {
    caller: Caller,
    method: &'static Method,
    arguments: Item,
}

impl Remote {
    pub(super) fn new(object: Box<dyn Served>, crew: Crew) -> Self {
        let methods = object.methods();
        Self(Arc::new(Core { object: RwLock::new(Some(object)), methods, turns: Mutex::default(), crew }))
    }

    /// Queues it, or answers it.
    fn admit(&self, caller: Caller, number: u64, version: u64, arguments: Item, answers: &mut Answers) {
        let method = match self.0.methods.iter().find(|method| method.number == number) {
            None => return answers.push((caller, Answer::NoMethod)),
            Some(method) if method.version != version => {
                return answers.push((caller, Answer::OtherVersion(method.signature.into())));
            }
            Some(method) => method,
        };
        let mut turns = self.0.turns();
        match &turns.poison {
            Some(message) => answers.push((caller, Answer::Poisoned(message.clone()))),
            None => turns.waiting.push_back(Call { caller, method, arguments }),
        }
        self.0.go_on(turns);
    }

    /// Those of which this is true wait no longer; whether there were some.
    fn dismiss(&self, is_meant: impl Fn(&Caller) -> bool) -> bool {
        let mut turns = self.0.turns();
        let before = turns.waiting.len();
        turns.waiting.retain(|call| !is_meant(&call.caller));
        let were_some = turns.waiting.len() < before;
        self.0.go_on(turns);
        were_some
    }
}

impl Object for Remote {
    fn ask(&mut self, caller: Caller, ask: Ask, answers: &mut Answers) {
        let answer = match ask {
            Ask::Remote(RemoteAsk::Call { number, version, arguments }) => {
                return self.admit(caller, number, version, arguments, answers);
            }
            Ask::Remote(RemoteAsk::IsPoisoned) => Answer::Yes(self.0.turns().poison.is_some()),
            Ask::Remote(RemoteAsk::ClearPoison) => {
                self.0.turns().poison = None;
                Answer::Done
            }
            _ => not_of_this_kind(),
        };
        answers.push((caller, answer));
    }

    fn cancel(&mut self, client: u64, id: u64, _: &mut Answers) -> bool {
        self.dismiss(|caller| caller.is(client, id))
    }

    fn forget(&mut self, client: u64, _: &mut Answers) {
        self.dismiss(|caller| caller.client.number() == client);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // What the object does when it is dropped, whether it panics, and how long it takes is nobody's business here: this
        // may be the thread of a client. So it goes whole to a thread of the crew, whoever had the core last.
        let object = self.object.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.crew.run(move || drop(object));
    }
}

impl Core {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what can begin.
    fn go_on(self: &Arc<Self>, mut turns: MutexGuard<'_, Turns>) {
        let mut begun = Vec::new();
        while let Some(Call { method, .. }) = turns.waiting.front() {
            let is_free = !turns.is_exclusive && (turns.n_shared == 0 || !method.is_exclusive);
            let Some(call) = turns.waiting.pop_front_if(|_| is_free) else { break };
            if call.method.is_exclusive {
                turns.is_exclusive = true;
            } else {
                turns.n_shared += 1;
            }
            begun.push(call);
        }
        drop(turns);
        for call in begun {
            let core = Arc::clone(self);
            self.crew.run(move || core.carry_out(call));
        }
    }

    fn carry_out(self: &Arc<Self>, Call { caller, method, arguments }: Call) {
        let mut exchange = Exchange::new(arguments);
        let called = catch_panic(|| match method.is_exclusive {
            true => {
                let mut object = self.object.write().unwrap_or_else(PoisonError::into_inner);
                if let Some(object) = &mut *object {
                    object.call_exclusive(method.number, &mut exchange);
                }
            }
            false => {
                let object = self.object.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(object) = &*object {
                    object.call_shared(method.number, &mut exchange);
                }
            }
        });
        let mut turns = self.turns();
        let mut lost = VecDeque::new();
        if !method.is_exclusive {
            turns.n_shared -= 1;
        } else {
            turns.is_exclusive = false;
            if let Err(panic) = &called {
                turns.poison = Some(panic.to_string());
                lost = std::mem::take(&mut turns.waiting);
            }
        }
        self.go_on(turns);
        let (answer, load) = match called {
            Ok(()) => exchange.into_answer(),
            Err(panic) => {
                let message = panic.to_string();
                for call in lost {
                    call.caller.answer(Answer::Poisoned(message.clone()));
                }
                (Answer::Panicked(panic), Default::default())
            }
        };
        caller.answer(answer);
        load.commit();
    }
}
