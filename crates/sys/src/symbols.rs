//! Names of this program's functions, read from the symbol table of its own file.
//!
//! Only for texts that people read. Nothing found here is ever called, so a file that lies costs a wrong name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// Size of an entry of the table of sections.
const SECTION: usize = 64;
/// Size of a symbol.
const SYMBOL: usize = 24;
const SHT_SYMTAB: u64 = 2;
const STT_FUNC: u8 = 2;
/// Longest mangled name that is read.
const LONGEST: usize = 4096;
/// So many names are kept.
const KEPT: usize = 256;

/// The readable name of the function whose address in the file is `address`.
pub(crate) fn name_at(address: u64) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<u64, Option<String>>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = known().get(&address) {
        return name.clone();
    }
    let name = look_up(address).ok().flatten().and_then(|mangled| readable(&mangled));
    let mut known = known();
    if known.len() < KEPT {
        known.insert(address, name.clone());
    }
    name
}

/// `None` for what only says that a closure is called.
fn readable(mangled: &str) -> Option<String> {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    (!name.contains("ops::function::Fn")).then_some(name)
}

/// The symbol at `address`, as it stands in the file.
fn look_up(address: u64) -> io::Result<Option<String>> {
    let file = File::open("/proc/self/exe")?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    let (at, n) = (number(&header, 40, 8), number(&header, 60, 2));
    let section = |index: u64| {
        let mut section = [0; SECTION];
        file.read_exact_at(&mut section, at.saturating_add(index * SECTION as u64)).map(|()| section)
    };
    for index in 0..n {
        let table = section(index)?;
        if number(&table, 4, 4) == SHT_SYMTAB {
            let names = number(&section(number(&table, 40, 4))?, 24, 8);
            let (offset, size) = (number(&table, 24, 8), number(&table, 32, 8));
            let Some(name) = find(&file, offset, size, address)? else { return Ok(None) };
            return name_in(&file, names.saturating_add(name)).map(Some);
        }
    }
    Ok(None)
}

/// Where the name of the function at `address` begins among the names.
fn find(file: &File, offset: u64, size: u64, address: u64) -> io::Result<Option<u64>> {
    let mut from = BufReader::with_capacity(64 << 10, At { file, offset }.take(size));
    let mut symbol = [0; SYMBOL];
    for _ in 0..size / SYMBOL as u64 {
        from.read_exact(&mut symbol)?;
        if symbol[4] & 0xf == STT_FUNC && number(&symbol, 8, 8) == address {
            return Ok(Some(number(&symbol, 0, 4)));
        }
    }
    Ok(None)
}

fn name_in(file: &File, offset: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut from = BufReader::with_capacity(256, At { file, offset }.take(LONGEST as u64));
    io::BufRead::read_until(&mut from, 0, &mut bytes)?;
    bytes.pop_if(|last| *last == 0);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The file from some place on, without moving the file's own position.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

/// `len` bytes from `at` on, as a little-endian number.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_schemes() {
        let named = readable("_ZN6render5trace17h05af221e174051e9E");
        assert_eq!(named.as_deref(), Some("render::trace"));
        assert_eq!(readable("_RNvC6render5trace").as_deref(), Some("render::trace"));
        let closure = "_ZN4core3ops8function6FnOnce9call_once17h05af221e174051e9E";
        assert_eq!(readable(closure), None);
    }

    #[test]
    fn nothing_is_there() {
        assert_eq!(name_at(1), None);
    }
}
