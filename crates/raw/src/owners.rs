//! Who takes part, and how a death is proved.
//!
//! Invariants of every implementation of [`Owners`]: an [`Id`] names one thread for the life of its domain (it is not
//! given out again before some 5·10^8 joins); `is_dead` answers `true` only after that thread executed its last
//! instruction, and then everything it stored is visible; a thread that is stopped is not dead.

use crate::atomic::AtomicU32;

/// A participant: a thread, by its slot in the domain's table and the generation of that slot. 29 bits; never 0 as a
/// lock word, which adds a bit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

impl Id {
    /// Slots of a domain's table.
    pub const SLOTS: u32 = 1 << 12;
    /// Generations of a slot, before they start over.
    pub const GENERATIONS: u32 = 1 << 17;
    /// The bits an id takes.
    pub const MASK: u32 = (1 << 29) - 1;

    /// The participant in `slot`, in its `generation`; both are taken modulo their number.
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self(((generation % Self::GENERATIONS) << 12) | (slot % Self::SLOTS))
    }

    /// From the lower 29 bits of a word; the others are ignored.
    pub const fn from_bits(word: u32) -> Self {
        Self(word & Self::MASK)
    }

    /// As the lower 29 bits of a word.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The slot, below [`Id::SLOTS`].
    pub const fn slot(self) -> u32 {
        self.0 % Self::SLOTS
    }

    /// The generation, below [`Id::GENERATIONS`].
    pub const fn generation(self) -> u32 {
        self.0 >> 12
    }
}

/// The domain's table is full, or this thread cannot join it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlot;

/// The participants of a domain, as an algorithm needs them.
pub trait Owners {
    /// The calling thread; joins the domain if it has not yet.
    fn me(&self) -> Result<Id, NoSlot>;

    /// Whether the participant has executed its last instruction. If so, what it stored is visible to the caller.
    /// Never blocks.
    fn is_dead(&self, id: Id) -> bool;

    /// Asks to be woken by the participant's death: a word and the value it holds, for
    /// [`Park::wait_any`](crate::Park::wait_any). `None` if it is dead already; `is_dead` then says so too.
    fn watch(&self, id: Id) -> Option<(&AtomicU32, u32)>;

    /// Wakes everybody who watches the participant. For who was woken by its death: the kernel wakes only one.
    fn pass_on(&self, id: Id);
}
