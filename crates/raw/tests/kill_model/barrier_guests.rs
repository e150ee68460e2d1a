//! The guests of a barrier: `Barrier::wait_as_guest`, `Place::arrive_as_guest`, and `Barrier::is_full`.

use super::*;

impl Barriers {
    pub(super) fn guest(&self, cpu: &mut Cpu<'_>) {
        let (began, seen, at) = (cpu.get(BEGAN), cpu.get(SEEN), usize::from(cpu.get(AT)));
        match cpu.pc() {
            PLACE => {
                let word = cpu.load(PLACES + at);
                cpu.set(SEEN, word);
                cpu.go(PLACE_STATE);
            }
            PLACE_STATE => {
                let now = cpu.load(STATE);
                let is_free = seen != guest(now) || now & BROKEN != 0;
                if now == began && is_free { cpu.go(PLACE_TAKE) } else { self.next_place(cpu) }
            }
            PLACE_TAKE => {
                let taken = if self.twin == Twin::GuestStores {
                    cpu.store(PLACES + at, guest(began));
                    true
                } else {
                    cpu.exchange(PLACES + at, seen, guest(began)).is_ok()
                };
                if !taken {
                    return self.next_place(cpu);
                }
                cpu.set(SEEN, 0);
                cpu.set(HERE, 1);
                self.again(cpu);
            }
            FULL => {
                let word = cpu.load(PLACES + at);
                let is_over = at + 1 == self.places();
                // What is free is looked at once more, by `has_arrived`: here it is the same word.
                match self.has_arrived(at, word, began) {
                    false => cpu.go(FULL_ARRIVED),
                    true if is_over => self.look_for_all(cpu),
                    true => cpu.set(AT, cpu.get(AT) + 1),
                }
            }
            _ => {
                let word = cpu.load(PLACES + at);
                let is_over = at + 1 == self.places();
                match self.has_arrived(at, word, began) {
                    false => self.begin(cpu),
                    true if is_over => self.look_for_all(cpu),
                    true => {
                        cpu.set(AT, cpu.get(AT) + 1);
                        cpu.go(FULL);
                    }
                }
            }
        }
    }

    fn next_place(&self, cpu: &mut Cpu<'_>) {
        cpu.set(SEEN, 0);
        let at = cpu.get(AT) + 1;
        if usize::from(at) < self.places() {
            cpu.set(AT, at);
            cpu.go(PLACE);
        } else {
            self.again(cpu);
        }
    }

    pub(super) fn is_guest(&self, p: usize) -> bool {
        (self.parties..self.parties + self.guests).contains(&p)
    }

    /// `Place::has_arrived`, from the word that was read.
    pub(super) fn has_arrived(&self, place: usize, word: u8, state: u8) -> bool {
        word == if place < self.parties { arrival(state) } else { guest(state) }
    }

    pub(super) fn have_arrived(&self, state: &State, began: u8) -> bool {
        (0..self.places()).all(|place| self.has_arrived(place, state.word(PLACES + place), began))
    }

    pub(super) fn looks_for_a_place(&self, cpu: &Cpu<'_>) -> bool {
        self.is_guest(cpu.me) && cpu.get(HERE) == 0
    }
}
