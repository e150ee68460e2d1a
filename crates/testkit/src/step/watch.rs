//! What one instruction of a victim changed: bytes that it shares with others, or the state of the kernel.
//!
//! Invariants: an instruction is said to have changed something if it is a system call, or if it names memory of a
//! shared mapping of the victim and bytes there are others afterwards. What others write at the same place during the
//! step counts too, which costs a kill point and loses none; what they write elsewhere does not count.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::operand::{self, Registers};

/// Longer than any instruction.
const CODE: usize = 16;
/// So many bytes before and behind an address are compared: more than an instruction stores.
const AROUND: u64 = 64;

/// Reads a victim's memory.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    memory: File,
    shared: Vec<Range<u64>>,
}

/// What the next instruction can change.
#[derive(Debug)]
pub(super) enum Before {
    Nothing,
    Call,
    Bytes { at: u64, bytes: Vec<u8> },
}

impl Watch {
    pub(super) fn new(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, memory: File::open(format!("/proc/{pid}/mem"))?, shared: shared(pid) })
    }

    /// Looks at the instruction at `rip`, which is not done yet.
    pub(super) fn before(&self, rip: u64, registers: &Registers) -> Before {
        let code = self.read(rip, CODE as u64);
        if operand::is_call(&code) {
            return if is_mark(registers) { Before::Nothing } else { Before::Call };
        }
        let address = operand::address(&code, registers);
        let place = address.and_then(|at| Some((at, self.shared.iter().find(|range| range.contains(&at))?)));
        place.map_or(Before::Nothing, |(at, range)| {
            let (start, end) =
                (range.start.max(at.saturating_sub(AROUND)), range.end.min(at.saturating_add(AROUND)));
            Before::Bytes { at: start, bytes: self.read(start, end - start) }
        })
    }

    /// Whether the instruction has changed something.
    pub(super) fn has_changed(&mut self, before: &Before) -> bool {
        match before {
            Before::Nothing => false,
            Before::Bytes { at, bytes } => self.read(*at, bytes.len() as u64) != *bytes,
            Before::Call => {
                self.shared = shared(self.pid);
                true
            }
        }
    }

    /// As many of `n` bytes as can be read; none of a victim that is no more.
    fn read(&self, at: u64, n: u64) -> Vec<u8> {
        let mut bytes = vec![0; n as usize];
        let n_read = self.memory.read_at(&mut bytes, at).unwrap_or(0);
        bytes.truncate(n_read);
        bytes
    }
}

/// Whether a system call is the one that closes the window, which is none of what the victim does.
fn is_mark(registers: &Registers) -> bool {
    registers[operand::RAX] == libc::SYS_tgkill.cast_unsigned()
        && registers[operand::RDX] == u64::from(libc::SIGSTOP.cast_unsigned())
}

/// The mappings that a process writes and shares.
fn shared(pid: u32) -> Vec<Range<u64>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter_map(range).collect()
}

/// The range of a line like `7f00-7fff rw-s ..`.
fn range(line: &str) -> Option<Range<u64>> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let mode = words.next()?.as_bytes();
    let number = |text| u64::from_str_radix(text, 16).ok();
    (mode.get(1) == Some(&b'w') && mode.get(3) == Some(&b's')).then_some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_that_are_written_and_shared() {
        let line = |mode: &str| format!("7f10-7f20 {mode} 00000000 00:01 1053   /memfd:x (deleted)");
        assert_eq!(range(&line("rw-s")), Some(0x7f10..0x7f20));
        assert_eq!((range(&line("rw-p")), range(&line("r--s")), range("")), (None, None, None));
    }
}
