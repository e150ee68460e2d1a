//! Functions of this program in files, for another run of the same program: what a debugger is given.
//!
//! A token proves by the key of its tree that it was made here. A file outlives the tree, so the key cannot go into it.
//! What takes its place: the file is one that only this user, and the administrator, can have written ([`OwnFile`]), and it
//! names the very program file (device, inode, layout, length, time of change) with a check over all of it. So whoever could
//! have forged it could as well have changed the program; damage, and another build, are errors.

use std::fs::{File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::{FunctionToken, ImageId, interface_hash, keyed};
use crate::{OsError, Result};

/// Bytes of a function in a file.
pub const KEPT: usize = 88;

/// Why a function in a file is none of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOurs {
    /// It is one of another program, or of another build of this one.
    OtherImage,
    /// What stands there was changed, or says something else.
    Damaged,
}

/// A regular file that belongs to this user, and that no other can write.
#[derive(Debug)]
pub struct OwnFile(File);

impl OwnFile {
    /// Opens it for reading.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` if it belongs to another user, or if a group or everybody may write to it;
    /// `InvalidInput` if it is no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e| OsError::new(format!("opening {}", path.display()), e);
        // A pipe must not keep us waiting for who writes.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
        let file = file.map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
            let why =
                "others may have written it: it must belong to this user, and to nobody else for writing";
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        Ok(Self(file))
    }

    /// Makes a new one, which only this user may read and write, with these bytes.
    ///
    /// # Errors
    /// The system's: also if there is something of that name. What could not be written whole is removed.
    pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = |e| OsError::new(format!("writing {}", path.display()), e);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| {
            let _ = std::fs::remove_file(path);
            failed(e)
        })
    }

    /// All of it, if that is no more than `most` bytes.
    ///
    /// # Errors
    /// The system's; `FileTooLarge`.
    pub fn read_all(&self, most: u64) -> Result<Vec<u8>> {
        let failed = |e| OsError::new("reading a file", e);
        let mut bytes = Vec::new();
        (&self.0).take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > most {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(bytes)
    }
}

/// This program's file, as six words.
fn program() -> Result<[u64; 6]> {
    let [device, inode, layout, probe] = ImageId::current()?.to_words();
    let about =
        std::fs::metadata("/proc/self/exe").map_err(|e| OsError::new("looking at /proc/self/exe", e))?;
    let changed = about.mtime().cast_unsigned().wrapping_mul(1_000_000_000);
    let changed = changed.wrapping_add(about.mtime_nsec().cast_unsigned());
    Ok([device, inode, layout, probe, about.len(), changed])
}

fn check(words: &[u64]) -> u64 {
    let mut hasher = keyed([1; 2]);
    for word in words {
        hasher.write_u64(*word);
    }
    hasher.finish()
}

impl<I: 'static> FunctionToken<I> {
    /// The function for a file that this program may read again in another run.
    ///
    /// # Errors
    /// This program's file cannot be looked at.
    pub fn keep(&self) -> Result<[u8; KEPT]> {
        let mut words = [0; 11];
        words[..6].copy_from_slice(&program()?);
        words[6..10].copy_from_slice(&[self.function, self.shim, self.types, self.interface]);
        words[10] = check(&words[..10]);
        let mut bytes = [0; KEPT];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Ok(bytes)
    }

    /// What [`keep`](Self::keep) wrote, read from a file of our own; the inner error: it is none of this program.
    ///
    /// # Errors
    /// This program's file cannot be looked at.
    pub fn from_kept(_file: &OwnFile, bytes: &[u8; KEPT]) -> Result<std::result::Result<Self, NotOurs>> {
        let mut words = [0; 11];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        if words[10] != check(&words[..10]) {
            return Ok(Err(NotOurs::Damaged));
        }
        if words[..6] != program()? {
            return Ok(Err(NotOurs::OtherImage));
        }
        if words[9] != interface_hash::<I>() {
            return Ok(Err(NotOurs::Damaged));
        }
        let [function, shim, types, interface] = [words[6], words[7], words[8], words[9]];
        let mut token = Self { function, shim, types, interface, check: 0, marker: std::marker::PhantomData };
        token.check = token.keyed_check();
        Ok(Ok(token))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    /// A file of its own for a test, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("procession-kept-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn shim(f: fn(u32) -> u32, io: &mut u32) {
        *io = f(*io);
    }

    #[test]
    fn a_function_comes_back_from_a_file() {
        let scratch = Scratch::new("function");
        let bytes = FunctionToken::of(|n: u32| n + 2, shim).keep().unwrap();
        OwnFile::create(&scratch.0, &bytes).unwrap();
        assert!(OwnFile::create(&scratch.0, &bytes).is_err(), "there is one");
        let file = OwnFile::open(&scratch.0).unwrap();
        assert_eq!(file.read_all(KEPT as u64).unwrap(), bytes);
        let token = FunctionToken::<u32>::from_kept(&file, &bytes).unwrap().unwrap();
        let mut io = 40;
        token.resolve().unwrap().call(&mut io);
        assert_eq!(io, 42);
        let other = FunctionToken::<i32>::from_kept(&file, &bytes).unwrap();
        assert_eq!(other.unwrap_err(), NotOurs::Damaged, "another interface");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            let refused = FunctionToken::<u32>::from_kept(&file, &changed).unwrap();
            assert_eq!(refused.unwrap_err(), NotOurs::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_function_of_another_build() {
        let scratch = Scratch::new("build");
        OwnFile::create(&scratch.0, b"").unwrap();
        let file = OwnFile::open(&scratch.0).unwrap();
        let mut words: Vec<u64> = program().unwrap().into_iter().chain([1, 2, 3, 4]).collect();
        words[5] += 1;
        words.push(check(&words));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let refused = FunctionToken::<u32>::from_kept(&file, bytes.first_chunk().unwrap()).unwrap();
        assert_eq!(refused.unwrap_err(), NotOurs::OtherImage);
    }

    #[test]
    fn files_that_others_may_write_are_refused() {
        let scratch = Scratch::new("modes");
        OwnFile::create(&scratch.0, b"text").unwrap();
        for (mode, is_own) in [(0o644, true), (0o664, false), (0o602, false), (0o600, true)] {
            std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(mode)).unwrap();
            let opened = OwnFile::open(&scratch.0).map(drop).map_err(|e| e.kind());
            assert_eq!(
                opened,
                if is_own { Ok(()) } else { Err(io::ErrorKind::PermissionDenied) },
                "{mode:o}"
            );
        }
        assert_eq!(OwnFile::open(Path::new("/dev")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            OwnFile::open(&scratch.0).unwrap().read_all(3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
