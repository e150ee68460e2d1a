//! A failed task in a file, to be run once more, alone: in a debugger.
//!
//! | bytes | what |
//! |---|---|
//! | 18 | `procession replay` and the end of a line |
//! | 2 | version of the layout: 1 |
//! | 8 | length of the rest, without its check |
//! | 8 | check of the rest |
//! | … | the function, as `procession_sys::image` keeps it, its argument, its context, the initializer; in Postcard |
//!
//! Numbers are little-endian. A function runs only in the program file that saved it, and only from a file that nobody
//! else can have written. Held by `tests/replay.rs`.

use std::error::Error;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use procession_codec::{Bytes, Codec, Postcard};
use procession_process::{Panic, record_panics};
use procession_sys::OsError;
use procession_sys::image::kept::{KEPT, NotOurs, OwnFile};
use procession_sys::image::{Function, FunctionToken};
use serde::{Deserialize, Serialize};

use crate::context::ContextRef;
use crate::error::TaskFailed;
use crate::job::PackError;
use crate::report::{Case, Report};
use crate::serial;
use crate::setup::{self, Broken, InitializerFailure};
use crate::task::Task;
use crate::wire::{Answer, Call};

const MAGIC: &[u8; 18] = b"procession replay\n";
const VERSION: u16 = 1;
const HEAD: usize = 36;
/// Longest file that is read.
const LONGEST: u64 = 8 << 30;

#[derive(Serialize, Deserialize)]
struct Body {
    function: Bytes,
    argument: Bytes,
    context: Option<Bytes>,
    /// Function and argument of the initializer.
    setup: Option<(Bytes, Bytes)>,
    attempt: u32,
}

/// Why a task was not saved. There is no file then.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaveError {
    /// It has not failed: it is under way, it gave a value, or its outcome was taken.
    NotFailed,
    /// It failed before it ran in any worker: there is nothing that could be run again.
    NotRun,
    /// There are handles in its argument, in its context, or in the argument of the pool's initializer: what they stand for
    /// cannot lie in a file.
    Handles,
    /// The system refused: the file cannot be made, or the argument cannot be read any more.
    Os(OsError),
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("saving a failed task: ")?;
        match self {
            Self::NotFailed => f.write_str("it has not failed, or its outcome was taken"),
            Self::NotRun => f.write_str("it never ran"),
            Self::Handles => f.write_str("there are handles in what it was given"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for SaveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Os(e) = self { Some(e.os_error()) } else { None }
    }
}

/// Why a saved task was not run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is no saved task.
    NotAReplay,
    /// It was written by a version of this library whose files we do not read.
    Version(u16),
    /// It was cut short, or changed.
    Damaged,
    /// It was saved by another program, or by another build of this one: functions cannot be called across.
    NotSameImage,
    /// The initializer of the task's pool fails here.
    Initializer(InitializerFailure),
    /// The system refused; `PermissionDenied` also where others may have written the file.
    Os(OsError),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("running a saved task: ")?;
        match self {
            Self::NotAReplay => f.write_str("the file is no saved task"),
            Self::Version(version) => write!(f, "the file has version {version}, ours is {VERSION}"),
            Self::Damaged => f.write_str("the file was cut short, or changed"),
            Self::NotSameImage => {
                f.write_str("it was saved by another program, or another build of this one")
            }
            Self::Initializer(failure) => write!(f, "initializing: {failure}"),
            Self::Os(e) => e.fmt(f),
        }
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Os(e) = self { Some(e.os_error()) } else { None }
    }
}

/// What a saved task did this time.
#[derive(Debug)]
#[non_exhaustive]
pub enum Replayed {
    /// It returned, and this is its value, encoded by [`Postcard`].
    Returned(Bytes),
    /// It panicked.
    Panicked(Box<Panic>),
    /// Its argument could not be decoded.
    ArgumentNotDecoded(String),
    /// Its value could not be encoded.
    ResultNotEncoded(String),
}

/// Runs a task that was saved by [`TaskFailed::save_replay`], once, in the calling thread of this process: to be called by a
/// program that runs in a debugger, or by a test.
///
/// Whatever the task does it does here: what ended its worker ends this process, and there are no limits. The initializer of
/// its pool runs before it, the exit function does not. [`attempt`](crate::attempt) is that of the attempt that failed.
///
/// Errors: see [`ReplayError`]; nothing has run then. The file must be of this very program file, and one that nobody but its
/// owner, who must be the user of this process, may write: it names the function to call.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession_pool::{Pool, Replayed, replay};
///
/// fn invert(n: i32) -> i32 {
///     1000 / n
/// }
///
/// let path = std::env::temp_dir().join(format!("replay-of-{}", std::process::id()));
/// let pool = Pool::new(1)?;
/// let failed = pool.map(invert, [2, 1, 0]).unwrap_err();
/// failed.save_replay(&path)?;
/// let again = replay(&path)?;
/// std::fs::remove_file(&path)?;
/// assert!(matches!(again, Replayed::Panicked(panic) if panic.message.contains("divide by zero")));
/// # Ok(()) }
/// ```
pub fn replay(path: impl AsRef<Path>) -> Result<Replayed, ReplayError> {
    let file = OwnFile::open(path.as_ref()).map_err(ReplayError::Os)?;
    let body = parse(&file.read_all(LONGEST).map_err(ReplayError::Os)?)?;
    let function = restore::<Call>(&file, &body.function)?;
    let context = body.context.map(|bytes| ContextRef::of_bytes(&bytes)).transpose().map_err(of_pack)?;
    let initializer = match &body.setup {
        Some((function, argument)) => Some((setup::restored(&file, function)?, argument.to_vec())),
        None => None,
    };
    record_panics();
    let before = State(setup::swap(None));
    if let Some((token, argument)) = initializer {
        let opened = setup::open_again(token, argument);
        opened.map_err(|broken: Broken| ReplayError::Initializer(broken.into()))?;
    }
    let (input, bytes) = (Arc::new(body.argument.to_vec()), 0..body.argument.len());
    let call = Call { input, bytes, descriptors: Vec::new(), context, answer: None, marks: None };
    let done = serial::run_one(&function, call, body.attempt);
    drop(before);
    Ok(match done {
        Ok((bytes, _)) => Replayed::Returned(bytes.into()),
        Err(Answer::Panicked(panic)) => Replayed::Panicked(Box::new(panic)),
        Err(Answer::BadArgument(error)) => Replayed::ArgumentNotDecoded(error),
        Err(Answer::BadResult(error)) => Replayed::ResultNotEncoded(error),
        Err(Answer::Value(bytes)) => Replayed::Returned(bytes),
    })
}

/// The state that was there before.
struct State(Option<Box<dyn std::any::Any>>);

impl Drop for State {
    fn drop(&mut self) {
        drop(setup::swap(self.0.take()));
    }
}

fn of_pack(error: PackError) -> ReplayError {
    match error {
        PackError::Os(e) => ReplayError::Os(e),
        PackError::Encode(_) => ReplayError::Damaged,
    }
}

/// A function that a file names.
pub(crate) fn restore<I: 'static>(file: &OwnFile, bytes: &[u8]) -> Result<Function<I>, ReplayError> {
    let bytes: &[u8; KEPT] = bytes.try_into().map_err(|_| ReplayError::Damaged)?;
    match FunctionToken::from_kept(file, bytes).map_err(ReplayError::Os)? {
        Ok(token) => token.resolve().ok_or(ReplayError::Damaged),
        Err(NotOurs::OtherImage) => Err(ReplayError::NotSameImage),
        Err(NotOurs::Damaged) => Err(ReplayError::Damaged),
    }
}

fn parse(bytes: &[u8]) -> Result<Body, ReplayError> {
    let (magic, rest) = bytes.split_first_chunk::<18>().ok_or(ReplayError::NotAReplay)?;
    if magic != MAGIC {
        return Err(ReplayError::NotAReplay);
    }
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(ReplayError::Damaged)?;
    let version = u16::from_le_bytes(*version);
    if version != VERSION {
        return Err(ReplayError::Version(version));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(ReplayError::Damaged)?;
    let (sum, rest) = rest.split_first_chunk::<8>().ok_or(ReplayError::Damaged)?;
    if u64::from_le_bytes(*length) != rest.len() as u64 || u64::from_le_bytes(*sum) != check(rest) {
        return Err(ReplayError::Damaged);
    }
    Postcard::decode(rest).map_err(|_| ReplayError::Damaged)
}

fn check(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Body {
    fn of(case: &Case, attempt: u32) -> Result<Self, SaveError> {
        let gone = || {
            let error = std::io::Error::other("its memory cannot be read");
            SaveError::Os(OsError::new("reading the argument of a task", error))
        };
        let n_handles = case.context.as_ref().map_or(0, ContextRef::n_handles) + case.n_handles;
        if n_handles > 0 || case.setup.as_ref().is_some_and(|setup| !setup.job.descriptors.is_empty()) {
            return Err(SaveError::Handles);
        }
        let token: &[u8; 40] = case.function.as_ref().try_into().map_err(|_| gone())?;
        let function = FunctionToken::<Call>::from_bytes(token).keep().map_err(SaveError::Os)?;
        let context = match &case.context {
            Some(context) => Some(context.bytes().ok_or_else(gone)?.into()),
            None => None,
        };
        let setup = match &case.setup {
            Some(setup) => Some(setup.keep().map_err(SaveError::Os)?),
            None => None,
        };
        let argument = case.argument.bytes().ok_or_else(gone)?.into();
        Ok(Self { function: function.to_vec().into(), argument, context, setup, attempt })
    }
}

impl Report {
    fn save(&self, path: &Path) -> Result<(), SaveError> {
        let mut bytes = Vec::new();
        let body = Body::of(&self.case, self.attempt())?;
        Postcard::encode_into(&body, &mut bytes).map_err(|e| {
            SaveError::Os(OsError::new("writing down a task", std::io::Error::other(e.to_string())))
        })?;
        let mut file = Vec::with_capacity(HEAD + bytes.len());
        file.extend(MAGIC);
        file.extend(VERSION.to_le_bytes());
        file.extend((bytes.len() as u64).to_le_bytes());
        file.extend(check(&bytes).to_le_bytes());
        file.extend(bytes);
        OwnFile::create(path, &file).map_err(SaveError::Os)
    }
}

impl TaskFailed {
    /// Saves function and argument of the task in a new file at `path`, for [`replay`]: by this very program
    /// file, and by this user. What the argument says lies in that file; only this user may read it.
    ///
    /// Errors: see [`SaveError`]; handles cannot be saved, nor what never ran. There must be nothing at `path` yet.
    pub fn save_replay(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        self.report().ok_or(SaveError::NotRun)?.save(path.as_ref())
    }
}

impl<R> Task<R> {
    /// [`TaskFailed::save_replay`] of the failure that waits here, which stays: [`get`](Task::get) still gives it.
    /// [`SaveError::NotFailed`] while the task is not done, or if it gave a value.
    pub fn save_replay(&self, path: impl AsRef<Path>) -> Result<(), SaveError> {
        self.failure().ok_or(SaveError::NotFailed)?.save_replay(path)
    }
}
