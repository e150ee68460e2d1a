//! The search: every state that a model can come to, in the order of how soon; then, backwards, from which of them the
//! living can still finish.
//!
//! Invariants: states are compared whole, not by a fingerprint; a kill and the end of a limit are never needed to go
//! on, so a state is stuck if no number of steps of the living (and ticks, if there are any) leads to an end; who
//! finds too many states fails instead of stopping early.

use std::collections::BTreeSet;

use crate::machine::{ASLEEP, Cpu, DEAD, DONE, PROCESSES, State};

/// What is modelled: the steps of the processes, and what is to be true of them.
pub(crate) trait Model {
    /// For the lines that the test prints.
    fn name(&self) -> String;

    fn begin(&self) -> State;

    /// One step of `cpu.me`, which is neither over nor asleep.
    fn step(&self, cpu: &mut Cpu<'_>);

    /// What is true of every state, or else its name.
    fn violated(&self, _state: &State) -> Option<&'static str> {
        None
    }

    /// Whether a process that sleeps may sleep for ever: nobody has done what it waits for.
    fn may_rest(&self, _state: &State, _p: usize) -> bool {
        false
    }

    /// Whether the call of the process has a limit, which passes at any moment.
    fn has_limit(&self, _p: usize) -> bool {
        false
    }

    /// The word that somebody outside the model changes after each death, waking all.
    fn obituary(&self) -> Option<usize> {
        None
    }

    fn place(&self, pc: u8) -> &'static str;
}

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) kills: u8,
    /// Whether sleeps end by themselves.
    pub(crate) ticks: bool,
}

/// What the search found.
pub(crate) struct Report {
    line: String,
    end: End,
    trace: String,
    /// Where those died whose death left somebody stuck.
    fatal: BTreeSet<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Holds,
    Violated(&'static str),
    Stuck,
}

impl Report {
    /// Everything that was promised holds.
    #[track_caller]
    pub(crate) fn holds(self) {
        assert_eq!(self.end, End::Holds, "{}\n{}", self.line, self.trace);
    }

    /// For broken twins: a property is violated.
    #[track_caller]
    pub(crate) fn violates(self, property: &'static str) {
        assert_eq!(self.end, End::Violated(property), "{}\n{}", self.line, self.trace);
    }

    /// For broken twins: somebody sleeps for ever although nobody died.
    #[track_caller]
    pub(crate) fn gets_stuck(self) {
        assert_eq!(self.end, End::Stuck, "{}\n{}", self.line, self.trace);
    }

    /// Somebody sleeps until its tick exactly if another was killed at one of these places.
    #[track_caller]
    pub(crate) fn needs_the_tick_after_kills_at(self, places: &[&str]) {
        assert_eq!(self.end, End::Stuck, "{}\n{}", self.line, self.trace);
        assert_eq!(self.fatal, places.iter().copied().collect(), "{}\n{}", self.line, self.trace);
    }

    /// The same for broken twins: this place is among them.
    #[track_caller]
    pub(crate) fn needs_the_tick_after_a_kill_at(self, place: &str) {
        assert_eq!(self.end, End::Stuck, "{}\n{}", self.line, self.trace);
        assert!(self.fatal.contains(place), "{:?}\n{}\n{}", self.fatal, self.line, self.trace);
    }
}

/// Searches all states and prints how many they are.
pub(crate) fn search(model: &dyn Model, bounds: Bounds) -> Report {
    let started = std::time::Instant::now();
    let mut graph = Graph::new(model, bounds);
    let mut end = graph.explore();
    let mut fatal = BTreeSet::new();
    let mut at = matches!(end, End::Violated(_)).then_some(graph.last);
    if end == End::Holds {
        for state in graph.stuck() {
            (end, at) = (End::Stuck, at.or(Some(state)));
            fatal.extend(graph.deaths(state));
        }
    }
    let line = format!(
        "{}, {} kills, {} ticks: {} states, depth {}, {end:?}{}, {:.1} s",
        model.name(),
        bounds.kills,
        if bounds.ticks { "with" } else { "no" },
        graph.states.len(),
        graph.depth,
        if fatal.is_empty() { String::new() } else { format!(" {fatal:?}") },
        started.elapsed().as_secs_f64(),
    );
    println!("{line}");
    Report { line, end, trace: at.map(|at| graph.trace(at)).unwrap_or_default(), fatal }
}

/// More states than any model is meant to have: about 3 GB.
const TOO_MANY: usize = 20_000_000;
const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
enum Action {
    Step(u8),
    Kill(u8),
    Tick(u8),
    Late(u8),
    Ring,
}

struct Graph<'a> {
    model: &'a dyn Model,
    bounds: Bounds,
    states: Vec<State>,
    /// From where each state was found first, and by what.
    parents: Vec<(u32, Action)>,
    /// Numbers of states by their hash: open addressing, a power of two.
    table: Vec<u32>,
    /// What the living can do: from, to.
    edges: Vec<(u32, u32)>,
    depth: usize,
    /// The state that was put down last.
    last: u32,
}

impl<'a> Graph<'a> {
    fn new(model: &'a dyn Model, bounds: Bounds) -> Self {
        let mut begin = model.begin();
        begin.set_kills(bounds.kills);
        let mut graph = Self {
            model,
            bounds,
            states: Vec::new(),
            parents: Vec::new(),
            table: vec![NOBODY; 1 << 12],
            edges: Vec::new(),
            depth: 0,
            last: 0,
        };
        graph.number(begin, NOBODY, Action::Ring);
        graph
    }

    fn explore(&mut self) -> End {
        let (mut next, mut level) = (0, self.states.len());
        while next < self.states.len() {
            if next == level {
                (self.depth, level) = (self.depth + 1, self.states.len());
            }
            if let Err(property) = self.expand(number(next)) {
                return End::Violated(property);
            }
            next += 1;
        }
        End::Holds
    }

    /// Finds everything that can happen next, or what is violated by it.
    fn expand(&mut self, at: u32) -> Result<(), &'static str> {
        let state = self.states[at as usize];
        let mut out = Vec::new();
        for p in (0..PROCESSES).filter(|&p| !state.is_over(p)) {
            if state.kills() > 0 {
                state.kill(p, !self.bounds.ticks, &mut out);
                self.reach(at, Action::Kill(p as u8), &mut out)?;
            }
            if self.model.has_limit(p) && !state.is_late(p) {
                let mut late = state;
                late.set_late(p);
                late.rouse(p);
                out.push(late);
                self.reach(at, Action::Late(p as u8), &mut out)?;
            }
            if !state.is_asleep(p) {
                let failed = self.step(state, p, &mut out);
                self.reach(at, Action::Step(p as u8), &mut out)?;
                failed.map_or(Ok(()), Err)?;
            } else if self.bounds.ticks || state.turns_back(p) {
                let mut awake = state;
                awake.rouse(p);
                out.push(awake);
                self.reach(at, Action::Tick(p as u8), &mut out)?;
            }
        }
        if let Some(word) = self.model.obituary().filter(|_| state.rings() > 0) {
            let mut rung = state;
            rung.set_rings(state.rings() - 1);
            rung.note(word, state.word(word) + 1);
            rung.wake(word, u8::MAX, &mut out);
            self.reach(at, Action::Ring, &mut out)?;
        }
        Ok(())
    }

    fn step(&self, mut state: State, p: usize, out: &mut Vec<State>) -> Option<&'static str> {
        let effects = Cpu::run(&mut state, p, |cpu| self.model.step(cpu));
        match effects.wake {
            Some((word, n)) => state.wake(word, n, out),
            None => out.push(state),
        }
        effects.failed
    }

    /// Puts down the states that an action leads to, and what is violated in one of them.
    fn reach(&mut self, from: u32, action: Action, out: &mut Vec<State>) -> Result<(), &'static str> {
        for state in out.drain(..) {
            let (at, is_new) = self.number(state, from, action);
            if matches!(action, Action::Step(_) | Action::Tick(_) | Action::Ring) {
                self.edges.push((from, at));
            }
            self.last = at;
            if let Some(property) = is_new.then(|| self.model.violated(&state)).flatten() {
                return Err(property);
            }
        }
        Ok(())
    }

    /// The number of a state, and whether it is new.
    fn number(&mut self, state: State, from: u32, action: Action) -> (u32, bool) {
        let mask = self.table.len() - 1;
        let mut slot = state.hash() as usize & mask;
        while self.table[slot] != NOBODY {
            if self.states[self.table[slot] as usize] == state {
                return (self.table[slot], false);
            }
            slot = (slot + 1) & mask;
        }
        let new = number(self.states.len());
        assert!(self.states.len() < TOO_MANY, "{}: too many states", self.model.name());
        self.table[slot] = new;
        self.states.push(state);
        self.parents.push((from, action));
        if self.states.len() * 2 > self.table.len() {
            self.grow();
        }
        (new, true)
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 4 - 1;
        self.table = vec![NOBODY; mask + 1];
        for (n, state) in self.states.iter().enumerate() {
            let mut slot = state.hash() as usize & mask;
            while self.table[slot] != NOBODY {
                slot = (slot + 1) & mask;
            }
            self.table[slot] = number(n);
        }
    }

    /// The states from which the living cannot come to an end, however they run.
    fn stuck(&self) -> Vec<u32> {
        // The edges backwards: those that lead to state n are `from[first[n]..first[n + 1]]`.
        let mut first = vec![0_u32; self.states.len() + 2];
        self.edges.iter().for_each(|&(_, to)| first[to as usize + 2] += 1);
        (2..first.len()).for_each(|n| first[n] += first[n - 1]);
        let mut from = vec![0_u32; self.edges.len()];
        for &(source, to) in &self.edges {
            let place = &mut first[to as usize + 1];
            from[*place as usize] = source;
            *place += 1;
        }
        let mut is_good: Vec<bool> = self.states.iter().map(|state| self.is_end(state)).collect();
        let mut good: Vec<u32> = (0..number(is_good.len())).filter(|&n| is_good[n as usize]).collect();
        while let Some(at) = good.pop() {
            let at = at as usize;
            for &source in &from[first[at] as usize..first[at + 1] as usize] {
                if !std::mem::replace(&mut is_good[source as usize], true) {
                    good.push(source);
                }
            }
        }
        (0..number(is_good.len())).filter(|&n| !is_good[n as usize]).collect()
    }

    fn is_end(&self, state: &State) -> bool {
        (0..PROCESSES).all(|p| state.is_over(p) || self.rests(state, p))
    }

    fn rests(&self, state: &State, p: usize) -> bool {
        state.is_asleep(p) && !state.turns_back(p) && self.model.may_rest(state, p)
    }

    fn deaths(&self, at: u32) -> impl Iterator<Item = &'static str> {
        let state = self.states[at as usize];
        (0..PROCESSES).filter_map(move |p| state.died_at(p)).map(|pc| self.place(pc))
    }

    fn place(&self, pc: u8) -> &'static str {
        match pc {
            ASLEEP => "asleep",
            DONE => "done",
            DEAD => "dead",
            _ => self.model.place(pc),
        }
    }

    /// What happened until a state, a line each.
    fn trace(&self, mut at: u32) -> String {
        let mut lines = Vec::new();
        while self.parents[at as usize].0 != NOBODY {
            let (from, action) = self.parents[at as usize];
            let before = self.states[from as usize];
            let line = match action {
                Action::Step(p) => format!("{p}: {}", self.place(before.pc(p.into()))),
                Action::Kill(p) if before.is_asleep(p.into()) => format!("{p} is killed asleep"),
                Action::Kill(p) => format!("{p} is killed before {}", self.place(before.pc(p.into()))),
                Action::Tick(p) if before.turns_back(p.into()) => format!("{p}: does not sleep"),
                Action::Tick(p) => format!("{p}: tick"),
                Action::Late(p) => format!("{p}: its limit passes"),
                Action::Ring => "the obituary rings".to_owned(),
            };
            lines.push(format!("{line:<60} {:?}", self.states[at as usize]));
            at = from;
        }
        lines.reverse();
        lines.join("\n")
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}
