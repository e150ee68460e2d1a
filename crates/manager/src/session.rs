//! A process's connection to a server: one for all of its proxies and threads.
//!
//! Any number of requests are under way at once. There is no thread that receives: of the callers that wait, one receives
//! for all, and when it has its own answer the next one does.
//!
//! Invariants: each request that waits gets one answer, or hears that the server is gone; whoever gives up has told the
//! server first, so that what it asked is not done later, or it has the answer. A forked child never uses the connection of
//! its parent. Held by `tests/dict.rs`, `tests/lifetime.rs` and `tests/handles.rs`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use procession_pipe::{Client, ConnectError, ConnectFault, Duplex, RecvError, SendError};
use procession_process::Process;

use crate::error::{CallError, is_over};
use crate::remote::RemotePanic;
use crate::wire::{Answer, Ask, Load, ObjectId, Reply, Request, SERVER, ServerId, VERSION};

/// How long a caller whose time is up waits for the server to say that it has stopped.
const STOPPING: Duration = Duration::from_secs(5);
/// How long a server may take to answer a greeting.
const GREETING: Duration = Duration::from_secs(10);
/// How long the end of a server may take whose connection has ended.
const ENDING: Duration = Duration::from_secs(2);

pub(crate) struct Session {
    server: ServerId,
    /// The process whose it is.
    pid: u32,
    end: Duplex<Request, Reply>,
    numbers: AtomicU64,
    state: Mutex<State>,
    turn: Condvar,
    /// The server, in the process that started it.
    process: OnceLock<Arc<Process>>,
}

#[derive(Debug, Default)]
struct State {
    /// By number: who waits, and what has come for it.
    calls: HashMap<u64, Option<Got>>,
    /// Whether somebody receives.
    is_received: bool,
    is_over: bool,
}

/// What came for a caller.
#[derive(Debug)]
enum Got {
    Answer(Answer),
    /// An answer that nobody can say whose it was.
    Lost,
}

/// Of this process.
static SESSIONS: Mutex<Vec<Weak<Session>>> = Mutex::new(Vec::new());

impl Session {
    /// Over the end of a server that this process has started.
    pub(crate) fn with(server: ServerId, end: Duplex<Request, Reply>) -> Arc<Self> {
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        Self::noted(&mut sessions, server, end)
    }

    /// That of this process to `server`; made if there is none.
    pub(crate) fn to(server: ServerId) -> Result<Arc<Self>, CallError> {
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        let known = sessions.iter().filter_map(Weak::upgrade).find(|s| s.server == server && s.pid == pid);
        if let Some(known) = known {
            return Ok(known);
        }
        let end = Client::builder().key(server.key()).connect_as(&server.address()).map_err(not_connected)?;
        let session = Self::noted(&mut sessions, server, end);
        // Nobody else finds it before the greeting, which must be the first request, is answered.
        let until = Instant::now().checked_add(GREETING);
        session.call(SERVER, Ask::Hello(VERSION), Load::default(), until)?;
        Ok(session)
    }

    fn noted(sessions: &mut Vec<Weak<Self>>, server: ServerId, end: Duplex<Request, Reply>) -> Arc<Self> {
        let session = Arc::new(Self {
            server,
            pid: std::process::id(),
            end,
            numbers: AtomicU64::new(1),
            state: Mutex::default(),
            turn: Condvar::new(),
            process: OnceLock::new(),
        });
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        session
    }

    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// Whether it is of the process that asks.
    pub(crate) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    /// The process that it asks when the connection has ended.
    pub(crate) fn set_process(&self, process: Arc<Process>) {
        let _ = self.process.set(process);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the answer, until `deadline` if there is one.
    pub(crate) fn call(
        &self,
        object: ObjectId,
        ask: Ask,
        load: Load,
        deadline: Option<Instant>,
    ) -> Result<Answer, CallError> {
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.state().calls.insert(id, None);
        let request = Request { id, object, ask };
        let sent = match deadline {
            Some(deadline) => self.end.send_until(&request, deadline),
            None => self.end.send(&request),
        };
        if let Err(error) = sent {
            self.state().calls.remove(&id);
            return Err(self.not_sent(error));
        }
        load.commit();
        self.answer(id, object, deadline)
    }

    /// Says something that nobody waits for. Never blocks for long; a server that is gone needs not to hear it. False: it
    /// cannot be said.
    pub(crate) fn tell(&self, object: ObjectId, ask: Ask, load: Load) -> bool {
        match self.end.send_timeout(&Request { id: 0, object, ask }, STOPPING) {
            Ok(()) => {
                load.commit();
                true
            }
            Err(error) => matches!(error, SendError::Closed),
        }
    }

    fn answer(&self, id: u64, object: ObjectId, deadline: Option<Instant>) -> Result<Answer, CallError> {
        let mut until = deadline;
        let mut is_stopping = false;
        let mut state = self.state();
        loop {
            match state.calls.get_mut(&id).and_then(Option::take) {
                Some(got) => {
                    state.calls.remove(&id);
                    // One that waits receives from now on.
                    self.turn.notify_all();
                    return got.outcome(is_stopping);
                }
                None if state.is_over => {
                    state.calls.remove(&id);
                    drop(state);
                    return Err(self.gone());
                }
                None => {}
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                if is_stopping {
                    state.calls.remove(&id);
                    self.turn.notify_all();
                    return Err(CallError::TimedOut);
                }
                drop(state);
                self.tell(object, Ask::Cancel(id), Load::default());
                (is_stopping, until) = (true, Instant::now().checked_add(STOPPING));
                state = self.state();
                continue;
            }
            state = if state.is_received {
                self.wait(state, until)
            } else {
                state.is_received = true;
                drop(state);
                let received = self.receive(until);
                self.take_in(received)
            };
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        let Some(until) = until else {
            return self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let left = until.saturating_duration_since(Instant::now());
        self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn receive(&self, until: Option<Instant>) -> Result<Reply, RecvError> {
        match until {
            Some(until) => self.end.recv_until(until),
            None => self.end.recv(),
        }
    }

    /// Hands over what was received, and the turn to receive.
    fn take_in(&self, received: Result<Reply, RecvError>) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.is_received = false;
        match received {
            Ok(Reply { id, answer }) => {
                // Who is not there any more has given up.
                if let Some(place) = state.calls.get_mut(&id) {
                    *place = Some(Got::Answer(answer));
                }
            }
            Err(error) if is_over(&error) => state.is_over = true,
            Err(RecvError::TimedOut) => {}
            Err(_) => state.calls.values_mut().for_each(|place| *place = Some(Got::Lost)),
        }
        if state.calls.len() > 1 {
            self.turn.notify_all();
        }
        state
    }

    fn not_sent(&self, error: SendError) -> CallError {
        match error {
            SendError::Closed => {
                self.state().is_over = true;
                self.turn.notify_all();
                self.gone()
            }
            SendError::TimedOut => CallError::TimedOut,
            SendError::Encode(e) => CallError::Encode(e),
            other => CallError::NotSent(other),
        }
    }

    /// What became of the server.
    fn gone(&self) -> CallError {
        let exit = self.process.get().and_then(|process| process.wait_timeout(ENDING).ok().flatten());
        CallError::ServerGone { exit }
    }
}

impl Got {
    fn outcome(self, is_stopping: bool) -> Result<Answer, CallError> {
        match self {
            // What was lent to one who then gave up was taken back.
            Self::Answer(Answer::Lent { .. }) if is_stopping => Err(CallError::TimedOut),
            Self::Answer(Answer::Cancelled) => Err(CallError::TimedOut),
            Self::Answer(Answer::WouldWait) => Err(CallError::WouldWait),
            Self::Answer(Answer::Closed) => Err(CallError::Closed),
            Self::Answer(Answer::Refused(why)) => Err(CallError::Refused(why)),
            Self::Answer(Answer::Panicked(panic)) => {
                Err(CallError::Panicked(RemotePanic::heard(panic).into()))
            }
            Self::Answer(Answer::Poisoned(message)) => Err(CallError::Poisoned(message)),
            Self::Answer(Answer::NotSameImage) => Err(CallError::NotSameImage),
            Self::Answer(answer) => Ok(answer),
            Self::Lost => Err(CallError::AnswerLost),
        }
    }
}

fn not_connected(error: ConnectError) -> CallError {
    match error.why {
        // Its name is free when it is gone.
        ConnectFault::NobodyListens | ConnectFault::Closed => CallError::ServerGone { exit: None },
        _ => CallError::NotConnected(Box::new(error)),
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("pid", &self.pid).field("end", &self.end).finish_non_exhaustive()
    }
}
