//! Before `main`: where a program started again by us becomes a child, and how the two meet.
//!
//! A static in `.init_array` calls a function before `main`. It is inert unless the environment holds
//! [`VARIABLE`]; then descriptor [`CHILD_FD`] is a socket whose first packet, written before the program was even
//! started, names the image, the tree's key and the function to run. The child compares the image with its
//! own *before* any jump and answers with one packet ([`Hello`]). Then the function runs on the main thread and its
//! answer is the exit code: `main` is never entered.
//!
//! The program's own constructors, which lie behind ours, are called first, so a task finds the same initialised program
//! that `main` would.
//!
//! | killed | the parent sees |
//! |---|---|
//! | before the hook ran, or in it | end of file on the socket, and no hello |
//! | after the hello | end of file; what was sent before stays readable |
//! | the parent, at any time | the child sees its pidfd readable, or the socket hang up, and ends |
//!
//! # Safety
//! `.init_array` entries are called by the C runtime once, on the only thread, with `(argc, argv, envp)`. The
//! environment is read and changed there, before a second thread can exist. A program with more rights than its caller
//! (setuid, capabilities) reads no variable, so nobody can make it run a function of their choice.
#![allow(unsafe_code, reason = "the pre-main hook is a linker section, and reads the C environment")]

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;

use crate::child::{Child, own_pidfd};
use crate::image::{self, FunctionToken, ImageId};
use crate::signal::{self, Disposition, Signal};
use crate::spawn::{CHILD_FD, Differences};
use crate::{Deadline, OsError, Result, socket, spawn};

/// The environment variable that makes a program a child; removed before any task runs.
pub const VARIABLE: &CStr = c"PROCESSION_CHILD";

const MAGIC: u64 = u64::from_le_bytes(*b"prcsn-01");
/// Magic, nonce (2), key (2), image (4), then a function token.
const BOOT_WORDS: usize = 9;
const BOOT_SIZE: usize = BOOT_WORDS * 8 + FunctionToken::<Entry>::SIZE;
/// Magic, nonce (2), verdict, image (4).
const HELLO_WORDS: usize = 8;

/// What the child side is given: its end of the socket, and its parent's pidfd (`None` where the kernel has none).
#[derive(Debug)]
pub struct Bootstrap {
    /// The private channel to the parent.
    pub socket: OwnedFd,
    /// Readable once the parent is dead.
    pub parent: Option<OwnedFd>,
}

/// What the entry function's shim exchanges: the bootstrap in, the exit code out.
struct Entry {
    bootstrap: Option<Bootstrap>,
    code: i32,
}

/// A child that has been started: its process and our end of its socket.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub child: Child,
    /// Our end. The first packet on it is the hello: see [`Started::hello`].
    pub socket: OwnedFd,
    nonce: [u64; 2],
}

/// What the child said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// It runs the same image and goes on.
    Ready,
    /// It runs another image: this one. It has ended.
    OtherImage(ImageId),
}

/// Starts this program again as a child that runs `entry` before `main`.
///
/// Does not wait for the child to run. Errors: our code is not the program `/proc/self/exe` (a plugin in a foreign
/// host); this process is itself a child whose hook did not run; descriptors, memory or processes have run out.
pub fn start(entry: fn(Bootstrap) -> i32) -> Result<Started> {
    start_with(entry, None, &Differences::default())
}

/// [`start`], where the child has `environment` instead of the caller's, if there is one, and the `differences`.
pub fn start_with(
    entry: fn(Bootstrap) -> i32,
    environment: Option<Vec<(OsString, OsString)>>,
    differences: &Differences<'_>,
) -> Result<Started> {
    start_as(ImageId::current()?, entry, environment, differences)
}

/// [`start_with`], where the child is told that `image` is ours.
fn start_as(
    image: ImageId,
    entry: fn(Bootstrap) -> i32,
    variables: Option<Vec<(OsString, OsString)>>,
    differences: &Differences<'_>,
) -> Result<Started> {
    let invitation = Invitation::new(image, entry)?;
    let arguments =
        std::env::args_os().map(|argument| text(argument.into_vec())).collect::<Result<Vec<_>>>()?;
    let variables = variables.unwrap_or_else(|| std::env::vars_os().collect());
    let environment = environment(variables, invitation.nonce)?;
    let theirs = invitation.theirs.as_fd();
    let child = spawn::spawn(c"/proc/self/exe", &arguments, &environment, theirs, differences)?;
    Ok(invitation.into_started(child))
}

/// The socket for a child that is still to be made, with the first packet in it.
#[derive(Debug)]
pub(crate) struct Invitation {
    ours: OwnedFd,
    theirs: OwnedFd,
    nonce: [u64; 2],
}

/// For a child that is to run `entry` of this image.
pub(crate) fn invite(entry: fn(Bootstrap) -> i32) -> Result<Invitation> {
    Invitation::new(ImageId::current()?, entry)
}

/// For a child whose maker tells it all that the first packet would, and has proved to be of this image and tree.
pub(crate) fn invite_by_another() -> Result<Invitation> {
    Invitation::without_packet()
}

/// What a child runs, as it travels to the one that makes the child.
pub(crate) fn entry_token(entry: fn(Bootstrap) -> i32) -> [u8; ENTRY] {
    token(entry).to_bytes()
}

/// Bytes of it.
pub(crate) const ENTRY: usize = FunctionToken::<Entry>::SIZE;

impl Invitation {
    fn new(image: ImageId, entry: fn(Bootstrap) -> i32) -> Result<Self> {
        let invitation = Self::without_packet()?;
        send_boot(&invitation.ours, invitation.nonce, image, entry)?;
        Ok(invitation)
    }

    fn without_packet() -> Result<Self> {
        if let Some(why) = missed() {
            return Err(why);
        }
        let (ours, theirs) = socket::pair()?;
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| OsError::new("getting a random number", e))?;
        let nonce = u128::from_le_bytes(random);
        let nonce = [nonce as u64, (nonce >> 64) as u64];
        Ok(Self { ours, theirs, nonce })
    }

    /// The child's end.
    pub(crate) fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// What the child must know to take the first packet for its own.
    pub(crate) fn nonce(&self) -> [u64; 2] {
        self.nonce
    }

    /// In a forked child, which has both ends: takes its own, as a program that was started again would.
    pub(crate) fn accept(self) -> Option<Bootstrap> {
        drop(self.ours);
        let (socket, _, parent) = take_boot(self.theirs, self.nonce)?;
        Some(Bootstrap { socket, parent })
    }

    /// The child has been made, and has its end.
    pub(crate) fn into_started(self, child: Child) -> Started {
        Started { child, socket: self.ours, nonce: self.nonce }
    }
}

impl Started {
    /// Process and socket, where nobody waits for the hello.
    pub(crate) fn into_parts(self) -> (Child, OwnedFd) {
        (self.child, self.socket)
    }

    /// Reads the first packet. `None`: it did not come before `deadline`.
    ///
    /// Errors: the child ended before saying anything ([`io::ErrorKind::UnexpectedEof`]); what it said is no hello
    /// ([`io::ErrorKind::InvalidData`]).
    pub fn hello(&self, deadline: Deadline) -> Result<Option<Hello>> {
        let mut bytes = [0; HELLO_WORDS * 8];
        let doing = || format!("waiting for the first word of process {}", self.child.pid());
        let received = socket::recv_packet(
            self.socket.as_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            &mut Vec::new(),
            deadline,
        );
        match received {
            Ok(packet) if packet.bytes == bytes.len() => {}
            Ok(_) => return Err(OsError::new(doing(), io::Error::from(io::ErrorKind::InvalidData))),
            Err(socket::RecvFailed::TimedOut) => return Ok(None),
            Err(socket::RecvFailed::Closed) => {
                return Err(OsError::new(doing(), io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
            Err(socket::RecvFailed::Os(e)) => return Err(e),
            Err(_) => return Err(OsError::new(doing(), io::Error::from(io::ErrorKind::InvalidData))),
        }
        let words: [u64; HELLO_WORDS] = words(&bytes);
        let [magic, n0, n1, verdict, image @ ..] = words;
        if magic != MAGIC || [n0, n1] != self.nonce {
            return Err(OsError::new(doing(), io::Error::from(io::ErrorKind::InvalidData)));
        }
        Ok(Some(if verdict == 0 { Hello::Ready } else { Hello::OtherImage(ImageId::from_words(image)) }))
    }
}

/// If this process was started as a child and its pre-main hook did not run, becomes that child now and does not
/// return; else does nothing. Harmless to call, any number of times.
///
/// For programs whose linker drops constructors. Call it first in `main`, while there is one thread: a child that has
/// more by then ends with code 125.
pub fn init() {
    let asked = std::env::var_os(VARIABLE.to_str().unwrap_or_default()).is_some();
    if !RAN.load(Ordering::Relaxed) && asked && !has_more_rights() {
        // The environment must not be changed beside other threads; the parent hears that this child never started.
        if std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
            std::process::exit(NOT_OURS);
        }
        run_child();
    }
}

/// This process is a child whose hook did not run: starting children from here would never end.
fn missed() -> Option<OsError> {
    std::env::var_os(VARIABLE.to_str().unwrap_or_default())?;
    let why = "this process was itself started as a child, but its pre-main hook did not run; \
               call `procession::init()` first in `main`";
    Some(OsError::new("starting a child", io::Error::other(why)))
}

fn send_boot(socket: &OwnedFd, nonce: [u64; 2], image: ImageId, entry: fn(Bootstrap) -> i32) -> Result<()> {
    let (key, i) = (image::tree_key(), image.to_words());
    let head = [MAGIC, nonce[0], nonce[1], key[0], key[1], i[0], i[1], i[2], i[3]].map(u64::to_le_bytes);
    let parent = own_pidfd()?;
    let parent: Vec<BorrowedFd<'_>> = parent.iter().map(AsFd::as_fd).collect();
    let bytes = [head.as_flattened(), &entry_token(entry)].concat();
    socket::send_packet(socket.as_fd(), &[IoSlice::new(&bytes)], &parent, Deadline::now())
        .map_err(|e| OsError::new("writing the first packet for a child", io::Error::other(e)))?;
    Ok(())
}

fn token(entry: fn(Bootstrap) -> i32) -> FunctionToken<Entry> {
    FunctionToken::of(entry, |entry, exchange: &mut Entry| {
        if let Some(bootstrap) = exchange.bootstrap.take() {
            exchange.code = entry(bootstrap);
        }
    })
}

fn text(bytes: Vec<u8>) -> Result<CString> {
    CString::new(bytes).map_err(|e| OsError::new("preparing the child's arguments", io::Error::from(e)))
}

/// These variables, and ours.
fn environment(variables: Vec<(OsString, OsString)>, nonce: [u64; 2]) -> Result<Vec<CString>> {
    let ours = format!("{}={CHILD_FD}:{:016x}{:016x}", VARIABLE.to_string_lossy(), nonce[1], nonce[0]);
    variables
        .into_iter()
        .map(|(name, value)| text([name.as_bytes(), value.as_bytes()].join(&b'=')))
        .chain([text(ours.into_bytes())])
        .collect()
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// The entry the C runtime finds.
///
/// Its place is the first behind what belongs to the implementation (std takes the arguments at 99), so which
/// constructors are left to us to call does not hang on the order in which the linker met them.
#[used]
#[unsafe(link_section = ".init_array.00100")]
static HOOK: Constructor = hook;

/// Whether the hook ran in this process, as a child or not.
static RAN: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    static __init_array_start: Constructor;
    static __init_array_end: Constructor;
}

extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    // SAFETY: called by the C runtime before any other thread exists (module page).
    if unsafe { libc::getenv(VARIABLE.as_ptr()) }.is_null() || has_more_rights() || forced_off() {
        return;
    }
    RAN.store(true, Ordering::Relaxed);
    call_constructors_behind_ours(argc, argv, envp);
    run_child();
}

/// Whether the program runs with more rights than who started it.
fn has_more_rights() -> bool {
    // SAFETY: reads a value that the kernel gave at the start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether `PROCESSION_WITHOUT` (see [`caps`](crate::caps)) names the hook: for tests of what happens without it.
fn forced_off() -> bool {
    std::env::var_os(crate::caps::SWITCH)
        .is_some_and(|off| off.as_bytes().split(|byte| *byte == b',').any(|word| word == b"hook"))
}

/// Since we shall not return, the constructors that follow in the section would be skipped.
fn call_constructors_behind_ours(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let (start, end) = (&raw const __init_array_start, &raw const __init_array_end);
    let mut entry = start;
    let mut behind = false;
    while entry < end {
        // SAFETY: the linker's two symbols bound an array of constructors of this image; `entry` lies between them.
        let constructor = unsafe { entry.cast::<Option<Constructor>>().read() };
        if let Some(constructor) = constructor {
            if behind {
                constructor(argc, argv, envp);
            }
            behind |= constructor as usize == hook as Constructor as usize;
        }
        entry = entry.wrapping_add(1);
    }
}

/// Becomes the child that the environment speaks of. Returns only if it does not speak of us after all.
fn run_child() {
    if let Some(nonce) = take_variable()
        && let Some(socket) = take_socket()
        && let Some(boot) = take_boot(socket, [nonce as u64, (nonce >> 64) as u64])
    {
        run_boot(boot);
    }
}

/// In a forked child of a process that is of its parent's image and tree: goes on as a program that was started again.
pub(crate) fn go_on(nonce: [u64; 2], entry: &[u8; ENTRY], socket: OwnedFd, parent: OwnedFd) -> ! {
    let mine = ImageId::current().map(ImageId::to_words).unwrap_or_default();
    if !say_hello(&socket, nonce, true, mine) {
        std::process::exit(NOT_OURS);
    }
    run_boot((socket, FunctionToken::from_bytes(entry), Some(parent)))
}

fn run_boot((socket, token, parent): Boot) -> ! {
    // As std's own start would have done; a write to a closed pipe is then an error and not a death.
    let _ = signal::set(Signal::PIPE, Disposition::Ignore);
    let Some(function) = token.resolve() else { std::process::exit(NOT_OURS) };
    let mut exchange = Entry { bootstrap: Some(Bootstrap { socket, parent }), code: NOT_OURS };
    function.call(&mut exchange);
    std::process::exit(exchange.code);
}

/// Exit code of a child that was given what it cannot run.
pub(crate) const NOT_OURS: i32 = 125;

/// Reads and removes our variable: neither the task nor its own children shall see it.
fn take_variable() -> Option<u128> {
    // SAFETY: one thread only (module page; `init` asks the same of its caller).
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: `getenv` gave a string of the environment, which nobody changes meanwhile.
    let value = unsafe { CStr::from_ptr(value) }.to_str().ok()?.to_owned();
    // SAFETY: one thread only, as above.
    unsafe { libc::unsetenv(VARIABLE.as_ptr()) };
    let (descriptor, nonce) = value.split_once(':')?;
    if descriptor.parse() != Ok(CHILD_FD) {
        return None;
    }
    u128::from_str_radix(nonce, 16).ok()
}

type Boot = (OwnedFd, FunctionToken<Entry>, Option<OwnedFd>);

/// Takes [`CHILD_FD`], if it is what our parent placed there.
fn take_socket() -> Option<OwnedFd> {
    // SAFETY: only looked at here, and not used if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(CHILD_FD) };
    if rustix::net::sockopt::socket_type(borrowed) != Ok(rustix::net::SocketType::SEQPACKET) {
        return None;
    }
    // SAFETY: our variable says that our parent placed this descriptor for us, and it is open.
    let socket = unsafe { OwnedFd::from_raw_fd(borrowed.as_raw_fd()) };
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
    Some(socket)
}

/// Takes the boot packet from the socket, checks it, and answers with the hello.
fn take_boot(socket: OwnedFd, nonce: [u64; 2]) -> Option<Boot> {
    let mut bytes = [0; BOOT_SIZE];
    let mut descriptors = Vec::new();
    let received = socket::recv_packet(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut descriptors,
        Deadline::now(),
    );
    let (head, token) = bytes.split_at(BOOT_WORDS * 8);
    let head: [u64; BOOT_WORDS] = words(head);
    let [magic, n0, n1, k0, k1, image @ ..] = head;
    let whole = received.is_ok_and(|packet| packet.bytes == BOOT_SIZE);
    if !whole || magic != MAGIC || [n0, n1] != nonce {
        std::process::exit(NOT_OURS);
    }
    let mine = ImageId::current().map(ImageId::to_words).unwrap_or_default();
    let same = mine == image && image::join_tree([k0, k1]);
    if !say_hello(&socket, nonce, same, mine) || !same {
        std::process::exit(NOT_OURS);
    }
    let token = FunctionToken::from_bytes(token.try_into().ok()?);
    Some((socket, token, descriptors.pop()))
}

/// The first packet to the parent.
fn say_hello(socket: &OwnedFd, [n0, n1]: [u64; 2], same: bool, mine: [u64; 4]) -> bool {
    let [i0, i1, i2, i3] = mine;
    let hello = [MAGIC, n0, n1, u64::from(!same), i0, i1, i2, i3].map(u64::to_le_bytes);
    socket::send_packet(socket, &[IoSlice::new(hello.as_flattened())], &[], Deadline::now()).is_ok()
}

#[cfg(test)]
mod tests;
