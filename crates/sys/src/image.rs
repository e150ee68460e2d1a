//! This program as a mapped image: which one it is, and functions of it as values that travel.
//!
//! A function travels as its distance from the linker's anchor `__ehdr_start`, together with the monomorphic *shim*
//! that knows its types, the hash of those types' names, and a keyed check over all of it. The key is random, one per
//! process tree, and never leaves the private channels of the tree. So a [`FunctionToken`] that passes
//! [`FunctionToken::resolve`] was made by [`FunctionToken::of`] from a real `fn(A) -> R`, in this very image: bytes
//! from elsewhere are an error value and not a jump. [`kept`] says what a file must be to name a function. Held by the tests below and by those of
//! [`hook`](crate::hook).
//!
//! # Safety
//! - The ELF header and the program headers of the image are mapped, constant and readable at `__ehdr_start` for the
//!   life of the process: the linker puts them into the first loaded segment.
//! - All function pointers have one representation and one calling convention whatever their signature, and are
//!   ABI-compatible with each other as arguments (Rust reference, "ABI compatibility"). So the shim
//!   `fn(fn(A) -> R, &mut I)` may be called as `fn(fn(), &mut I)`.
#![allow(unsafe_code, reason = "reads the image's own headers and turns checked addresses into functions")]

use std::any::{TypeId, type_name};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read as _};
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;
use std::{fmt, slice};

use crate::{OsError, Result};

pub mod kept;

unsafe extern "C" {
    /// First byte of the image's ELF header; made by the linker.
    static __ehdr_start: u8;
}

const PT_LOAD: u32 = libc::PT_LOAD;
const PT_NOTE: u32 = libc::PT_NOTE;
const NT_GNU_BUILD_ID: u32 = 3;

fn anchor() -> usize {
    (&raw const __ehdr_start).addr()
}

/// The image's own ELF header and program headers.
fn headers() -> (&'static libc::Elf64_Ehdr, &'static [libc::Elf64_Phdr]) {
    // SAFETY: see the module page: the header is mapped, constant, and aligned to a page.
    let header = unsafe { &*(&raw const __ehdr_start).cast::<libc::Elf64_Ehdr>() };
    let table = (&raw const __ehdr_start).wrapping_add(header.e_phoff as usize).cast::<libc::Elf64_Phdr>();
    // SAFETY: see the module page: the table follows the header in the same segment.
    (header, unsafe { slice::from_raw_parts(table, header.e_phnum.into()) })
}

/// What must be added to an address in the file to get the address in memory.
fn bias(programs: &[libc::Elf64_Phdr]) -> usize {
    let first = programs.iter().find(|p| p.p_type == PT_LOAD && p.p_offset == 0);
    anchor().wrapping_sub(first.map_or(0, |p| p.p_vaddr as usize))
}

/// Where the code of the image lies.
fn code() -> impl Iterator<Item = Range<usize>> {
    let programs = headers().1;
    let bias = bias(programs);
    programs.iter().filter(|p| p.p_type == PT_LOAD && p.p_flags & libc::PF_X != 0).map(move |p| {
        let start = bias.wrapping_add(p.p_vaddr as usize);
        start..start + p.p_memsz as usize
    })
}

/// Which program image a process runs: the file, and what the linker wrote into it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ImageId {
    device: u64,
    inode: u64,
    /// Hash of the ELF header, the program headers and the build id.
    layout: u64,
    /// Distance from the anchor to a function of this crate.
    probe: u64,
}

impl ImageId {
    /// The image of this process, or why functions of it cannot run in another process. Asked once; a failure is asked
    /// again.
    ///
    /// Errors: the program was started through the loader (`ld.so program`) or our code lives in a library that a
    /// foreign program loaded; starting `/proc/self/exe` again would run something else. Or there is no descriptor left
    /// to look at it with.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<ImageId> = OnceLock::new();
        match CURRENT.get() {
            Some(current) => Ok(*current),
            None => Self::look().map(|found| *CURRENT.get_or_init(|| found)),
        }
    }

    /// One open file for all looks at it, so that they are of one file.
    fn look() -> Result<Self> {
        const EXE: &str = "/proc/self/exe";
        let failed = |error: io::Error| OsError::new(format!("looking at {EXE}"), error);
        let mut exe = File::open(EXE).map_err(failed)?;
        let file = exe.metadata().map_err(failed)?;
        let mut start = [0; size_of::<libc::Elf64_Ehdr>()];
        let is_ours = match exe.read_exact(&mut start) {
            Ok(()) => start == header_bytes(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(failed(error)),
        };
        if !is_ours {
            let foreign = io::Error::other(format!("this code is not part of the program {EXE}"));
            return Err(OsError::new("identifying the program image", foreign));
        }
        let probe = (anchor as fn() -> usize as usize).wrapping_sub(anchor()) as u64;
        Ok(Self { device: file.dev(), inode: file.ino(), layout: layout_hash(), probe })
    }

    /// As four words, for the handshake.
    pub(crate) fn to_words(self) -> [u64; 4] {
        [self.device, self.inode, self.layout, self.probe]
    }

    /// From what [`ImageId::to_words`] gave.
    pub(crate) fn from_words([device, inode, layout, probe]: [u64; 4]) -> Self {
        Self { device, inode, layout, probe }
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ImageId(file {:x}:{}, layout {:016x}, {:x})",
            self.device, self.inode, self.layout, self.probe
        )
    }
}

fn header_bytes() -> [u8; size_of::<libc::Elf64_Ehdr>()] {
    // SAFETY: see the module page: as many bytes as the header has are mapped at the anchor.
    unsafe { (&raw const __ehdr_start).cast::<[u8; size_of::<libc::Elf64_Ehdr>()]>().read() }
}

fn layout_hash() -> u64 {
    let (_, programs) = headers();
    let mut hasher = keyed([0; 2]);
    hasher.write(&header_bytes());
    for p in programs {
        for word in [u64::from(p.p_type), u64::from(p.p_flags), p.p_offset, p.p_vaddr, p.p_filesz, p.p_memsz]
        {
            hasher.write_u64(word);
        }
    }
    hasher.write(build_id(programs).unwrap_or_default());
    hasher.finish()
}

/// The build id, where the linker wrote one.
fn build_id(programs: &'static [libc::Elf64_Phdr]) -> Option<&'static [u8]> {
    programs.iter().filter(|p| p.p_type == PT_NOTE).find_map(|p| {
        let start = bias(programs).wrapping_add(p.p_vaddr as usize) as *const u8;
        // SAFETY: a note segment lies inside a loaded, read-only segment of the image.
        let notes = unsafe { slice::from_raw_parts(start, p.p_filesz as usize) };
        find_note(notes, NT_GNU_BUILD_ID)
    })
}

/// The description of the first GNU note of this kind.
fn find_note(mut notes: &[u8], wanted: u32) -> Option<&[u8]> {
    let padded = |n: u32| (n as usize).next_multiple_of(4);
    loop {
        let (head, rest) = notes.split_at_checked(12)?;
        let word = |i: usize| head.get(i..i + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
        let (name_len, desc_len, kind) = (word(0)?, word(4)?, word(8)?);
        let (name, rest) = rest.split_at_checked(padded(name_len))?;
        let desc = rest.get(..desc_len as usize)?;
        if kind == wanted && name.starts_with(b"GNU\0") {
            return Some(desc);
        }
        notes = rest.get(padded(desc_len)..)?;
    }
}

/// The secret of one process tree: made by its first process, handed to children over their private channel.
static KEY: OnceLock<[u64; 2]> = OnceLock::new();

/// The key of this process's tree, made now if this process is the first.
pub(crate) fn tree_key() -> [u64; 2] {
    *KEY.get_or_init(|| {
        let mut bytes = [0; 16];
        // Fails only where the kernel has no random source at all; then the address space layout must do.
        if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) != Ok(bytes.len()) {
            bytes[..8].copy_from_slice(&(anchor() as u64).to_ne_bytes());
        }
        let word = |i: usize| bytes[i..i + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        [word(0), word(8)]
    })
}

/// Joins the tree whose key this is. False if this process already belongs to another.
pub(crate) fn join_tree(key: [u64; 2]) -> bool {
    *KEY.get_or_init(|| key) == key
}

#[allow(deprecated, reason = "the only SipHash of std that takes a key")]
fn keyed(key: [u64; 2]) -> impl Hasher {
    std::hash::SipHasher::new_with_keys(key[0], key[1])
}

/// Hash of the names in the function's type: what a reader of a dump sees differ between two builds.
fn name_hash<F>() -> u64 {
    let mut hasher = keyed([0; 2]);
    hasher.write(type_name::<F>().as_bytes());
    hasher.finish()
}

/// Within one image no two types share this.
fn interface_hash<I: 'static>() -> u64 {
    let mut hasher = keyed([0; 2]);
    TypeId::of::<I>().hash(&mut hasher);
    hasher.finish()
}

/// A function that takes a borrowed context and an argument.
pub type Two<C, A, R> = fn(&C, A) -> R;

/// A function of this image, ready to travel to another process of the same image and tree: five words.
///
/// `I` is what the caller and the shim exchange; it is part of the check.
pub struct FunctionToken<I> {
    function: u64,
    shim: u64,
    types: u64,
    interface: u64,
    check: u64,
    marker: PhantomData<fn(&mut I)>,
}

impl<I: 'static> FunctionToken<I> {
    /// Bytes of a token on the wire.
    pub const SIZE: usize = 40;

    /// A token for `function`, which `shim` calls with what it finds in an `I`, leaving there what came of it.
    pub fn of<A, R>(function: fn(A) -> R, shim: fn(fn(A) -> R, &mut I)) -> Self {
        Self::at(function as usize, shim as usize, name_hash::<fn(A) -> R>())
    }

    /// [`of`](Self::of) for a function that takes a borrowed context and an argument.
    pub fn of_two<C, A, R>(function: Two<C, A, R>, shim: fn(Two<C, A, R>, &mut I)) -> Self {
        Self::at(function as usize, shim as usize, name_hash::<fn(&C, A) -> R>())
    }

    fn at(function: usize, shim: usize, types: u64) -> Self {
        let place = |address: usize| address.wrapping_sub(anchor()) as u64;
        let mut token = Self {
            function: place(function),
            shim: place(shim),
            types,
            interface: interface_hash::<I>(),
            check: 0,
            marker: PhantomData,
        };
        token.check = token.keyed_check();
        token
    }

    /// As bytes, for a private channel of this tree.
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let words = [self.function, self.shim, self.types, self.interface, self.check];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From bytes; says nothing yet of whether they are worth anything.
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let mut words = [0; 5];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        let [function, shim, types, interface, check] = words;
        Self { function, shim, types, interface, check, marker: PhantomData }
    }

    /// The function itself, ready to be called. `None`: this token was not made in this image and tree, or for
    /// another interface.
    pub fn resolve(&self) -> Option<Function<I>> {
        if self.check != self.keyed_check() || self.interface != interface_hash::<I>() {
            return None;
        }
        let address = |place: u64| {
            let address = anchor().wrapping_add(place as usize);
            code().any(|range| range.contains(&address)).then_some(address)
        };
        let (function, shim) = (address(self.function)? as *const (), address(self.shim)? as *const ());
        // SAFETY: the keyed check proves that `of` or `of_two` made this token, now or in a file, from a `fn(A) -> R` of this image (module page).
        let function = unsafe { std::mem::transmute::<*const (), fn()>(function) };
        // SAFETY: as above, from a `fn(fn(A) -> R, &mut I)`, which may be called under this type (module page).
        let shim = unsafe { std::mem::transmute::<*const (), fn(fn(), &mut I)>(shim) };
        Some(Function { function, shim })
    }

    /// The function's name as the program's own table of symbols has it, readable; `None` where the program was stripped of
    /// its symbols, or the token is of elsewhere. A closure that became a `fn` has the name of the standard library's call
    /// of it: then this is `None`, too. Reads the program's file; the answers are kept.
    pub fn name(&self) -> Option<String> {
        let (_, programs) = headers();
        let first = programs.iter().find(|p| p.p_type == PT_LOAD && p.p_offset == 0);
        crate::symbols::name_at(first.map_or(0, |p| p.p_vaddr).wrapping_add(self.function))
    }

    fn keyed_check(&self) -> u64 {
        let mut hasher = keyed(tree_key());
        for word in [self.function, self.shim, self.types, self.interface] {
            hasher.write_u64(word);
        }
        hasher.finish()
    }
}

impl<I: 'static> Clone for FunctionToken<I> {
    fn clone(&self) -> Self {
        Self::from_bytes(&self.to_bytes())
    }
}

impl<I> fmt::Debug for FunctionToken<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionToken({:+#x})", self.function)
    }
}

/// A function that travelled and proved to be of this image.
pub struct Function<I> {
    function: fn(),
    shim: fn(fn(), &mut I),
}

impl<I> Function<I> {
    /// Calls it, through its shim. A panic of the function comes through.
    pub fn call(&self, exchange: &mut I) {
        (self.shim)(self.function, exchange);
    }
}

impl<I> fmt::Debug for Function<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({:p})", self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice<A: Copy + std::ops::Add<Output = A>>(a: A) -> A {
        a + a
    }

    fn shim(f: fn(u32) -> u32, io: &mut u32) {
        *io = f(*io);
    }

    #[test]
    fn a_function_survives_the_journey() {
        let bytes = FunctionToken::of(twice::<u32>, shim).to_bytes();
        let mut io = 21;
        FunctionToken::from_bytes(&bytes).resolve().unwrap().call(&mut io);
        assert_eq!(io, 42);
        let closure = FunctionToken::of(|n: u32| n + 1, shim);
        closure.resolve().unwrap().call(&mut io);
        assert_eq!(io, 43);
    }

    #[test]
    fn a_function_of_two_and_the_names_of_functions() {
        fn add(context: &u32, n: u32) -> u32 {
            context + n
        }
        let token = FunctionToken::of_two(add, |f: fn(&u32, u32) -> u32, io: &mut u32| *io = f(&40, *io));
        let mut io = 2;
        token.resolve().unwrap().call(&mut io);
        assert_eq!(io, 42);
        assert!(
            token.name().unwrap().ends_with("a_function_of_two_and_the_names_of_functions::add"),
            "{token:?}"
        );
        let twice = FunctionToken::of(twice::<u32>, shim);
        assert_eq!(twice.name().unwrap(), "procession_sys::image::tests::twice");
        assert_eq!(FunctionToken::of(|n: u32| n + 1, shim).name(), None);
    }

    #[test]
    fn every_changed_bit_and_another_interface_are_refused() {
        let bytes = FunctionToken::<u32>::of(twice::<u32>, shim).to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(FunctionToken::<u32>::from_bytes(&changed).resolve().is_none(), "bit {bit}");
        }
        assert!(FunctionToken::<i32>::from_bytes(&bytes).resolve().is_none());
    }

    #[test]
    fn this_image_is_itself() {
        let id = ImageId::current().unwrap();
        assert_eq!(ImageId::from_words(id.to_words()), id);
        assert!(code().any(|range| range.contains(&(shim as fn(fn(u32) -> u32, &mut u32) as usize))));
    }

    #[test]
    fn notes_are_walked_and_garbage_is_survived() {
        let mut notes = Vec::new();
        for (kind, desc) in [(1_u32, &b"abcde"[..]), (3, b"id")] {
            for word in [4, u32::try_from(desc.len()).unwrap(), kind] {
                notes.extend(word.to_ne_bytes());
            }
            notes.extend(b"GNU\0");
            notes.extend(desc);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(find_note(&notes, 3), Some(&b"id"[..]));
        for len in 0..notes.len() {
            let _ = find_note(&notes[..len], 9);
        }
        assert_eq!(find_note(&[0xff; 64], 3), None);
    }
}
