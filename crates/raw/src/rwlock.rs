//! A lock for many who read or one who writes, where readers share no cache line.
//!
//! Invariants: a reader says so in a word of its own before it looks for a writer, and a writer takes the writer lock
//! before it looks for readers, so of two who come at once at least one sees the other; a reader word is written by the
//! thread in that slot only, but for `WAITERS`; the words of the dead mean nothing. Held by the unit tests (a kill at
//! every access), by `tests/loom.rs`, and by the table in the README beside the manifest.

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::limit::{Limit, Naps};
use crate::{EventCount, Held, Id, Lock, LockError, NotHeld, Owners, Park, Protected};

/// A lock for readers and writers of any processes that map its words. All zero is a free lock.
///
/// There is a word for each of `N` slots of the domain, by default for all; threads in later slots get
/// [`LockError::NoSlot`]. A writer passes over the words up to the highest slot that ever read.
///
/// Writers go first: who comes to read waits while a writer holds the lock or waits for the readers before it. Between
/// two writers, readers may come in. Who reads already may read again whatever waits, since it would wait for itself.
///
/// | reader word | meaning | who moves it, to what |
/// |---|---|---|
/// | `0` | the thread in this slot does not read | that thread, to its generation and depth 1 |
/// | generation, depth `n` | it reads, `n` times, or looks whether it may | that thread, to `n + 1`, `n - 1`, `0`; a writer adds `WAITERS` |
/// | the same + `WAITERS` | a writer may sleep until it is 0 | that thread, to `0`, and wakes in the same step |
/// | the same, of a dead generation | nothing | the next thread in this slot, as from `0` |
///
/// `writer` says who writes or waits for readers, with the states of [`Lock`]; its poison is that of the data. Readers
/// who wait for a writer sleep on `queue`. `top` is the highest slot that ever read, plus one; it only grows.
#[derive(Debug)]
#[repr(C)]
pub struct RwLock<const N: usize = 4096> {
    writer: Lock,
    queue: EventCount,
    top: AtomicU32,
    _spare: [AtomicU32; 13],
    readers: [AtomicU32; N],
}

const WAITERS: u32 = 1 << 31;
const GENERATION: u32 = 1 << 14;
const DEPTH: u32 = GENERATION - 1;

/// Words in a cache line.
const LINE: usize = 16;

const _: () = assert!(Id::GENERATIONS == WAITERS / GENERATION);
#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<RwLock>() == 64 + 4 * Id::SLOTS as usize && align_of::<RwLock>() == 4);
    assert!(core::mem::offset_of!(RwLock, queue) == 4 && core::mem::offset_of!(RwLock, top) == 8);
    assert!(core::mem::offset_of!(RwLock, readers) == 64);
};

impl<const N: usize> Default for RwLock<N> {
    fn default() -> Self {
        let (writer, queue, top) = Default::default();
        let zeros = |_| AtomicU32::new(0);
        Self { writer, queue, top, _spare: core::array::from_fn(zeros), readers: core::array::from_fn(zeros) }
    }
}

impl<const N: usize> RwLock<N> {
    /// How often one thread may read at the same time.
    pub const MAX_DEPTH: u32 = DEPTH;

    /// A free lock.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the lock to read; at once if the calling thread reads already.
    ///
    /// Blocks until no writer holds it or waits for it, the writer is proved dead, or the limit passes. A limit that has
    /// passed is one try.
    ///
    /// # Errors
    /// [`LockError`]; the lock is then as it was. [`LockError::Deadlock`]: the calling thread writes.
    /// [`LockError::TooDeep`]: it reads [`RwLock::MAX_DEPTH`] times already.
    ///
    /// # If a peer dies
    /// A writer: one reader or writer gets [`Protected::OwnerDied`], at once, and all others [`Protected::Poisoned`]
    /// until a writer calls [`mark_consistent`](Self::mark_consistent); also if it died before it wrote.
    pub fn read(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let me = Self::me(owners)?;
        let word = self.word(me);
        let now = word.load(Ordering::Relaxed);
        if depth(now, me) > 0 {
            if now & DEPTH == DEPTH {
                return Err(LockError::TooDeep);
            }
            word.fetch_add(1, Ordering::Relaxed);
            return Ok(Held { me, state: self.writer.state() });
        }
        self.try_read(park, me).map_or_else(|| self.read_contended(park, owners, me, limit), Ok)
    }

    /// Gives the lock back once by a thread that reads, and wakes a writer that waits for it. Does not block.
    ///
    /// `me` is that of [`Held`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not read; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here reads no longer, and the writer that waits for it is woken.
    pub fn unlock_read(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        let word = self.readers.get(index::<N>(me)).ok_or(NotHeld)?;
        match depth(word.load(Ordering::Relaxed), me) {
            0 => return Err(NotHeld),
            1 => Self::stop_reading(park, word, me),
            _ => _ = word.fetch_sub(1, Ordering::Relaxed),
        }
        Ok(())
    }

    /// Takes the lock to write.
    ///
    /// Blocks until no other thread holds it, all that do are proved dead, or the limit passes. From when it has no other
    /// writer before it, who comes to read waits. A limit that has passed is one try.
    ///
    /// # Errors
    /// [`LockError`]; the lock is then as it was. [`LockError::Deadlock`]: the calling thread writes or reads already.
    ///
    /// # If a peer dies
    /// A reader: it is not waited for. A writer: as for [`read`](Self::read). Who follows a dead writer and gives up waiting
    /// for readers leaves the news, with the name, to the next one.
    pub fn write(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let me = Self::me(owners)?;
        if depth(self.word(me).load(Ordering::Relaxed), me) > 0 {
            return Err(LockError::Deadlock);
        }
        let held = self.writer.lock(park, owners, limit)?;
        self.drain(park, owners, limit).map(|()| held).inspect_err(|_| self.give_up(park, held))
    }

    /// Gives the lock back by the thread that writes, and wakes who waits for it. Does not block. Poison stays.
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not write; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here still writes, or has given the lock back; if it woke nobody, its death does.
    pub fn unlock_write(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        self.writer.unlock(park, me)?;
        self.wake_readers(park);
        Ok(())
    }

    /// Makes the thread that writes one that reads, with no writer between. Does not block.
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not write; nothing was done.
    ///
    /// # If a peer dies
    /// Who is killed in here still writes, or reads no longer.
    pub fn downgrade(&self, park: &impl Park, me: Id) -> Result<(), NotHeld> {
        if self.writer() != Some(me) || me.slot() as usize >= N {
            return Err(NotHeld);
        }
        self.announce(park, me);
        self.unlock_write(park, me)
    }

    /// Says that the data is as it should be; later holders then find [`Protected::Consistent`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not write; nothing was done.
    pub fn mark_consistent(&self, me: Id) -> Result<(), NotHeld> {
        self.writer.mark_consistent(me)
    }

    /// Says that the data is not as it should be; later holders then find [`Protected::Poisoned`].
    ///
    /// # Errors
    /// [`NotHeld`]: `me` does not write; nothing was done.
    pub fn poison(&self, me: Id) -> Result<(), NotHeld> {
        self.writer.poison(me)
    }

    /// Who writes at this moment, or waits until the readers before it are gone; it may be dead.
    pub fn writer(&self) -> Option<Id> {
        self.writer.holder()
    }

    /// Who reads at this moment, or looks whether it may.
    pub fn readers(&self, owners: &impl Owners) -> impl Iterator<Item = Id> {
        self.words()
            .filter_map(|(slot, word)| reader(slot, word.load(Ordering::Relaxed)))
            .filter(|&id| !owners.is_dead(id))
    }

    /// In which state the data is; it means something to a holder only.
    pub(crate) fn state(&self) -> Protected {
        self.writer.state()
    }

    fn me(owners: &impl Owners) -> Result<Id, LockError> {
        owners.me().ok().filter(|me| (me.slot() as usize) < N).ok_or(LockError::NoSlot)
    }

    /// The word of a thread whose slot has one.
    fn word(&self, id: Id) -> &AtomicU32 {
        &self.readers[index::<N>(id)]
    }

    /// The words up to the highest slot that ever read, with their slots.
    fn words(&self) -> impl Iterator<Item = (u32, &AtomicU32)> {
        let top = self.top.load(Ordering::Relaxed).min(N as u32);
        (0..top).map(|slot| (slot, self.word(Id::new(slot, 0))))
    }

    /// Says that the thread reads, before it looks for a writer.
    fn announce(&self, park: &impl Park, me: Id) {
        // All of these and the look for a writer are in one order with the fence of the writer that looks for readers:
        // if it misses this thread, this thread sees it.
        let top = me.slot() + 1;
        if self.top.load(Ordering::SeqCst) < top {
            self.top.fetch_max(top, Ordering::SeqCst);
        }
        let word = self.word(me);
        let before = word.swap(me.generation() * GENERATION + 1, Ordering::SeqCst);
        // The checker knows that order by fences only.
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        if before & WAITERS != 0 {
            // Somebody died in this slot, and the writer that waits for it may not know.
            park.wake(word, u32::MAX);
        }
    }

    /// Reads if there is no writer.
    fn try_read(&self, park: &impl Park, me: Id) -> Option<Held> {
        self.announce(park, me);
        let (writer, state) = self.writer.look();
        if writer.is_none() {
            return Some(Held { me, state });
        }
        Self::stop_reading(park, self.word(me), me);
        None
    }

    fn stop_reading(park: &impl Park, word: &AtomicU32, me: Id) {
        let mine = me.generation() * GENERATION + 1;
        if word.compare_exchange(mine, 0, Ordering::Release, Ordering::Relaxed).is_err() {
            park.store_and_wake(word, 0, u32::MAX);
        }
    }

    #[cold]
    fn read_contended(
        &self,
        park: &impl Park,
        owners: &impl Owners,
        me: Id,
        limit: &impl Limit,
    ) -> Result<Held, LockError> {
        let mut naps = Naps::new(limit);
        loop {
            let Some(writer) = self.writer() else {
                if let Some(held) = self.try_read(park, me) {
                    return Ok(held);
                }
                continue;
            };
            if writer == me {
                return Err(LockError::Deadlock);
            }
            if owners.is_dead(writer) {
                // Whoever wins the writer lock has the news; as its holder it needs no look for a writer.
                let held = self.writer.lock(park, owners, limit)?;
                self.announce(park, me);
                self.let_in(park, me);
                return Ok(held);
            }
            if naps.passed() {
                return Err(LockError::TimedOut(writer));
            }
            let record = self.queue.enroll();
            fence(Ordering::SeqCst);
            if self.writer() != Some(writer) {
                continue;
            }
            let Some(life) = owners.watch(writer) else { continue };
            let words = [(self.queue.word(), record), life];
            naps.nap(|time| park.wait_any(&words, time)).map_err(|_| LockError::TimedOut(writer))?;
            if owners.is_dead(writer) {
                owners.pass_on(writer);
            }
        }
    }

    /// Waits, as the holder of the writer lock, until nobody reads.
    fn drain(&self, park: &impl Park, owners: &impl Owners, limit: &impl Limit) -> Result<(), LockError> {
        let mut naps = Naps::new(limit);
        fence(Ordering::SeqCst);
        // Once is enough: who comes to read from now on sees the writer.
        for (slot, word) in self.words() {
            loop {
                let now = word.load(Ordering::Acquire);
                let Some(reader) = reader(slot, now).filter(|&id| !owners.is_dead(id)) else { break };
                if naps.passed() {
                    return Err(LockError::TimedOut(reader));
                }
                let waiting = now | WAITERS;
                let order = Ordering::Relaxed;
                if now != waiting && word.compare_exchange(now, waiting, order, order).is_err() {
                    continue;
                }
                let Some(life) = owners.watch(reader) else { continue };
                let words = [(word, waiting), life];
                naps.nap(|time| park.wait_any(&words, time)).map_err(|_| LockError::TimedOut(reader))?;
                if owners.is_dead(reader) {
                    owners.pass_on(reader);
                }
            }
        }
        Ok(())
    }

    /// Gives the writer lock back that this call took.
    fn let_in(&self, park: &impl Park, me: Id) {
        // Only a peer that breaks the protocol can have taken it from us, and then it is not ours to give back.
        let _ = self.unlock_write(park, me);
    }

    /// The same, for a call that tells its caller nothing of the writer before.
    fn give_up(&self, park: &impl Park, Held { me, state }: Held) {
        let Protected::OwnerDied(dead) = state else { return self.let_in(park, me) };
        if self.writer.unfollow(park, me, dead).is_ok() {
            self.wake_readers(park);
        }
    }

    fn wake_readers(&self, park: &impl Park) {
        // Either a reader that is about to sleep sees that the lock is another's, or this thread sees that it may sleep.
        fence(Ordering::SeqCst);
        self.queue.notify_all(park);
    }
}

/// Where the word of a thread is: neighbouring slots lie in different cache lines.
fn index<const N: usize>(id: Id) -> usize {
    let slot = id.slot() as usize;
    let lines = if N.is_multiple_of(LINE) { N / LINE } else { 1 };
    if slot < N { slot % lines * LINE + slot / lines } else { N }
}

/// Who reads according to the word of a slot.
fn reader(slot: u32, word: u32) -> Option<Id> {
    (word & DEPTH != 0).then(|| Id::new(slot, word / GENERATION))
}

/// How often a thread reads according to its word.
fn depth(word: u32, me: Id) -> u32 {
    if word & !(WAITERS | DEPTH) == me.generation() * GENERATION { word & DEPTH } else { 0 }
}

#[cfg(all(test, not(loom)))]
mod tests;
