//! The machine under the models: words, processes, and the kernel that puts them to sleep, wakes them, and marks the dead.
//!
//! Invariants: a step of a process is one access to one shared word or one system call, and a step that does more
//! panics; memory is sequentially consistent; a wake of one chooses any of the sleepers; a death marks the life word and
//! wakes one of those who watch it, as a robust futex does. Everything is in the bytes of [`State`], so two states with
//! the same bytes have the same future.

use core::fmt;

/// The most processes of a model.
pub(crate) const PROCESSES: usize = 4;
/// The words of a model; the last ones are the life words, and those before them may be notes that no process reads.
const WORDS: usize = 22;
const LIFE: usize = WORDS - PROCESSES;
/// The registers of a process.
const REGISTERS: usize = 10;

/// Program counters that no model uses for its own: done, and dead.
pub(crate) const DONE: u8 = 255;
pub(crate) const DEAD: u8 = 254;
/// Where the dead were when they slept.
pub(crate) const ASLEEP: u8 = 253;

/// The three values of a life word: the kernel wakes a watcher only if somebody asked for it.
const ALIVE: u8 = 1;
const WATCHED: u8 = 3;
const MARKED: u8 = 0;

/// Beside the words that a process sleeps on.
const TURNS_BACK: u32 = 1 << WORDS;
const _: () = assert!(WORDS < 24);

/// Bytes of a process: program counter, the words it sleeps on (two bytes and one), whether its limit has passed, where
/// it died, registers.
const PROCESS: usize = 6 + REGISTERS;
const KILLS: usize = WORDS;
const RINGS: usize = WORDS + 1;
const FIRST: usize = WORDS + 2;
const BYTES: usize = FIRST + PROCESSES * PROCESS;

/// Everything there is at one instant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State([u8; BYTES]);

const _: () = assert!(BYTES.is_multiple_of(8));

impl State {
    /// So many processes, which all begin at `pc`; the others are done.
    pub(crate) fn new(processes: usize, pc: u8) -> Self {
        let mut state = Self([0; BYTES]);
        for p in 0..PROCESSES {
            state.0[LIFE + p] = ALIVE;
            state.set_pc(p, if p < processes { pc } else { DONE });
        }
        state
    }

    pub(crate) fn word(&self, word: usize) -> u8 {
        self.0[word]
    }

    /// For what is no access of a process: the first values, and notes.
    pub(crate) fn note(&mut self, word: usize, value: u8) {
        self.0[word] = value;
    }

    pub(crate) fn pc(&self, p: usize) -> u8 {
        self.0[FIRST + p * PROCESS]
    }

    pub(crate) fn set_pc(&mut self, p: usize, pc: u8) {
        self.0[FIRST + p * PROCESS] = pc;
    }

    pub(crate) fn register(&self, p: usize, register: usize) -> u8 {
        self.0[FIRST + p * PROCESS + 6 + register]
    }

    pub(crate) fn set_register(&mut self, p: usize, register: usize, value: u8) {
        assert!(register < REGISTERS);
        self.0[FIRST + p * PROCESS + 6 + register] = value;
    }

    pub(crate) fn is_over(&self, p: usize) -> bool {
        matches!(self.pc(p), DONE | DEAD)
    }

    pub(crate) fn is_dead(&self, p: usize) -> bool {
        self.pc(p) == DEAD
    }

    pub(crate) fn is_asleep(&self, p: usize) -> bool {
        self.sleeps_on(p) != 0
    }

    /// Whether the limit of the process has passed.
    pub(crate) fn is_late(&self, p: usize) -> bool {
        self.0[FIRST + p * PROCESS + 4] != 0
    }

    pub(crate) fn set_late(&mut self, p: usize) {
        self.0[FIRST + p * PROCESS + 4] = 1;
    }

    /// Where a dead process was, if the search wanted to know.
    pub(crate) fn died_at(&self, p: usize) -> Option<u8> {
        let at = self.0[FIRST + p * PROCESS + 5];
        (self.is_dead(p) && at != 0).then_some(at)
    }

    pub(crate) fn kills(&self) -> u8 {
        self.0[KILLS]
    }

    pub(crate) fn set_kills(&mut self, kills: u8) {
        self.0[KILLS] = kills;
    }

    /// Deaths that nobody has announced yet.
    pub(crate) fn rings(&self) -> u8 {
        self.0[RINGS]
    }

    pub(crate) fn set_rings(&mut self, rings: u8) {
        self.0[RINGS] = rings;
    }

    /// Whether the process is about to find out that it need not sleep.
    pub(crate) fn turns_back(&self, p: usize) -> bool {
        self.sleeps_on(p) & TURNS_BACK != 0
    }

    fn sleeps_on(&self, p: usize) -> u32 {
        let at = FIRST + p * PROCESS + 1;
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], 0])
    }

    fn set_sleep(&mut self, p: usize, words: u32) {
        let at = FIRST + p * PROCESS + 1;
        self.0[at..at + 3].copy_from_slice(&words.to_le_bytes()[..3]);
    }

    /// Ends the sleep of a process.
    pub(crate) fn rouse(&mut self, p: usize) {
        self.set_sleep(p, 0);
    }

    fn sleepers(&self, word: usize) -> impl Iterator<Item = usize> {
        let state = *self;
        (0..PROCESSES).filter(move |&p| state.sleeps_on(p) >> word & 1 != 0)
    }

    /// All states there may be after a wake of up to `n` sleepers of `word`; `n` is one or everybody.
    pub(crate) fn wake(self, word: usize, n: u8, out: &mut Vec<Self>) {
        let everybody = self.sleepers(word).count() <= usize::from(n);
        assert!(everybody || n == 1, "wakes are of one or of all");
        if everybody {
            let mut state = self;
            self.sleepers(word).for_each(|p| state.rouse(p));
            out.push(state);
        } else {
            out.extend(self.sleepers(word).map(|p| {
                let mut state = self;
                state.rouse(p);
                state
            }));
        }
    }

    /// All states there may be after the death of `p`: the kernel marks its life word and wakes one watcher.
    pub(crate) fn kill(mut self, p: usize, remember: bool, out: &mut Vec<Self>) {
        let at = if self.is_asleep(p) { ASLEEP } else { self.pc(p) };
        let begin = FIRST + p * PROCESS;
        self.0[begin..begin + PROCESS].fill(0);
        self.set_pc(p, DEAD);
        self.0[begin + 5] = if remember { at } else { 0 };
        let is_watched = self.0[LIFE + p] == WATCHED;
        self.0[LIFE + p] = MARKED;
        self.set_kills(self.kills() - 1);
        self.set_rings(self.rings() + 1);
        self.wake(LIFE + p, u8::from(is_watched), out);
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hash = 0_u64;
        for chunk in self.0.as_chunks::<8>().0 {
            hash = (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        hash
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "words {:x?} lives {:x?}", &self.0[..LIFE], &self.0[LIFE..WORDS])
    }
}

/// One step of one process.
pub(crate) struct Cpu<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) me: usize,
    accesses: u8,
    wake: Option<(usize, u8)>,
    failed: Option<&'static str>,
}

/// What a step does besides changing its state.
pub(crate) struct Effects {
    pub(crate) wake: Option<(usize, u8)>,
    pub(crate) failed: Option<&'static str>,
}

impl<'a> Cpu<'a> {
    pub(crate) fn run(state: &'a mut State, me: usize, step: impl FnOnce(&mut Cpu<'a>)) -> Effects {
        let mut cpu = Cpu { state, me, accesses: 0, wake: None, failed: None };
        step(&mut cpu);
        let (pc, accesses) = (cpu.state.pc(me), cpu.accesses);
        assert!(accesses <= 1, "a step that came to {pc} made {accesses} accesses");
        Effects { wake: cpu.wake, failed: cpu.failed }
    }

    pub(crate) fn pc(&self) -> u8 {
        self.state.pc(self.me)
    }

    pub(crate) fn go(&mut self, pc: u8) {
        self.state.set_pc(self.me, pc);
    }

    /// The process is done, and nobody looks at its registers any more.
    pub(crate) fn done(&mut self) {
        let begin = FIRST + self.me * PROCESS;
        self.state.0[begin..begin + PROCESS].fill(0);
        self.go(DONE);
    }

    pub(crate) fn get(&self, register: usize) -> u8 {
        self.state.register(self.me, register)
    }

    pub(crate) fn set(&mut self, register: usize, value: u8) {
        self.state.set_register(self.me, register, value);
    }

    /// The property that this step has broken, if it is broken.
    pub(crate) fn check(&mut self, holds: bool, property: &'static str) {
        if !holds {
            self.failed = Some(property);
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.state.is_late(self.me)
    }

    pub(crate) fn load(&mut self, word: usize) -> u8 {
        self.accesses += 1;
        self.state.word(word)
    }

    pub(crate) fn store(&mut self, word: usize, value: u8) {
        self.accesses += 1;
        self.state.note(word, value);
    }

    pub(crate) fn exchange(&mut self, word: usize, old: u8, new: u8) -> Result<(), u8> {
        let now = self.load(word);
        if now == old {
            self.state.note(word, new);
            Ok(())
        } else {
            Err(now)
        }
    }

    /// Says what the word held before.
    pub(crate) fn or(&mut self, word: usize, bits: u8) -> u8 {
        let now = self.load(word);
        self.state.note(word, now | bits);
        now
    }

    pub(crate) fn and(&mut self, word: usize, bits: u8) {
        let now = self.load(word);
        self.state.note(word, now & bits);
    }

    pub(crate) fn add(&mut self, word: usize, addend: u8) {
        let now = self.load(word);
        self.state.note(word, now.wrapping_add(addend));
    }

    /// `Park::wake`: says how many it woke.
    pub(crate) fn wake(&mut self, word: usize, n: u8) -> u8 {
        self.accesses += 1;
        self.in_the_same_step_wake(word, n)
    }

    /// The second half of `Park::store_and_wake` and its kin, whose first half was an access.
    pub(crate) fn in_the_same_step_wake(&mut self, word: usize, n: u8) -> u8 {
        assert!(self.wake.is_none());
        self.wake = Some((word, n));
        n.min(u8::try_from(self.state.sleepers(word).count()).unwrap())
    }

    /// `Park::wait_any`: afterwards the process is at `next`, after a sleep or at once. If the first words are as
    /// expected and a later one is not, the kernel takes it out of their queues again, in which it may be woken.
    pub(crate) fn sleep(&mut self, words: impl Iterator<Item = (usize, u8)> + Clone, next: u8) {
        self.accesses += 1;
        self.go(next);
        let is_as_expected = |&(word, expected): &(usize, u8)| self.state.word(word) == expected;
        let turns_back = !words.clone().all(|word| is_as_expected(&word));
        let mask = words.take_while(is_as_expected).fold(0, |mask, (word, _)| mask | 1 << word);
        self.state.set_sleep(self.me, if turns_back && mask != 0 { mask | TURNS_BACK } else { mask });
    }

    /// `Owners::is_dead`.
    pub(crate) fn is_dead(&mut self, id: u8) -> bool {
        self.load(LIFE + usize::from(id)) == MARKED
    }

    /// `Owners::watch`: whether the other is alive, so that its life word can be slept on.
    pub(crate) fn watch(&mut self, id: u8) -> bool {
        let is_alive = !self.is_dead(id);
        if is_alive {
            self.state.note(LIFE + usize::from(id), WATCHED);
        }
        is_alive
    }

    /// What a sleeper gives for a life that it watches.
    pub(crate) fn life(id: u8) -> (usize, u8) {
        (LIFE + usize::from(id), WATCHED)
    }

    /// `Owners::pass_on`.
    pub(crate) fn pass_on(&mut self, id: u8) {
        self.wake(LIFE + usize::from(id), u8::MAX);
    }
}
