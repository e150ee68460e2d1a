//! Settings of a child's surroundings: all that it has otherwise than its parent.
//!
//! What `posix_spawn` can do is done by it: environment, directory, stdio, group. Processors, niceness and limits are
//! set from outside once the child is there, before it has its task. Either way a refusal is an error of `spawn`, which
//! says what was refused, and there is no child. Invariant: the settings of this process stay as they were. Held by the
//! contract suite, `tests/suite/settings.rs`.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io::{Error, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use procession_sys::child::Child;
use procession_sys::hook::{self, Bootstrap, Started};
use procession_sys::limits::{Limit, Resource};
use procession_sys::spawn::{self, Differences};
use procession_sys::{Deadline, OsError, forked, zygote};

use crate::builder::Builder;
use crate::error::{Setting, SpawnError};
use crate::start_method::StartMethod;
use crate::stdio::{Pipes, Stdio, Stream};

/// The start method, and what the child runs then.
pub(crate) enum Way<'a> {
    Spawn(fn(Bootstrap) -> i32),
    /// The server has so much time to answer.
    ForkServer(fn(Bootstrap) -> i32, Deadline),
    Fork(Box<dyn FnOnce(Bootstrap) -> i32 + 'a>),
}

impl Way<'_> {
    pub(crate) fn method(&self) -> StartMethod {
        match self {
            Self::Spawn(_) => StartMethod::Spawn,
            Self::ForkServer(..) => StartMethod::ForkServer,
            Self::Fork(_) => StartMethod::Fork,
        }
    }
}

/// What a child has otherwise than its parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    program: Option<PathBuf>,
    /// Whether it starts from no variables at all.
    env_clear: bool,
    /// Variables set, and those taken away.
    env: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    stdio: [Stdio; 3],
    affinity: Option<Vec<usize>>,
    niceness: Option<i32>,
    limits: BTreeMap<Resource, Limit>,
    group: Option<u32>,
}

impl Builder {
    /// Sets the file that the child is started from (default: `/proc/self/exe`, the program that runs, also when its file was
    /// replaced or removed).
    ///
    /// It must be the same program: this very file under any of its names, because functions travel as addresses. Of any
    /// other, a copy or another build of it, [`join`](crate::Process::join) says so:
    /// [`NotSameImage`](crate::JoinError::NotSameImage); of a program that is not ours at all:
    /// [`NeverStarted`](crate::JoinError::NeverStarted), or [`NoHandshake`](crate::JoinError::NoHandshake) where that one
    /// does not end.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{JoinError, Process};
    ///
    /// let child = Process::builder().program("/bin/true").spawn(|()| (), ())?;
    /// assert!(matches!(child.join(), Err(JoinError::NeverStarted { .. })));
    /// # Ok(()) }
    /// ```
    pub fn program(mut self, path: impl AsRef<Path>) -> Self {
        self.settings.program = Some(path.as_ref().into());
        self
    }

    /// Sets a variable of the child's environment. Of several calls for one name the last counts.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::Process;
    ///
    /// let child = Process::builder().env("LEVEL", "3").spawn(|()| std::env::var("LEVEL").unwrap(), ())?;
    /// assert_eq!(child.join()?, "3");
    /// # Ok(()) }
    /// ```
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.settings.env.insert(name.as_ref().into(), Some(value.as_ref().into()));
        self
    }

    /// Takes a variable out of the child's environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.settings.env.insert(name.as_ref().into(), None);
        self
    }

    /// Gives the child none of the variables of this process, only those that are set by [`env`](Self::env) after this.
    pub fn env_clear(mut self) -> Self {
        self.settings.env.clear();
        self.settings.env_clear = true;
        self
    }

    /// Sets the directory that the child works in. A relative path starts from that of this process, when the child is
    /// started.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{Process, Setting, SpawnError};
    ///
    /// let child = Process::builder().current_dir("/proc").spawn(|()| std::env::current_dir().unwrap(), ())?;
    /// assert_eq!(child.join()?.to_str(), Some("/proc"));
    ///
    /// let refused = Process::builder().current_dir("/no/such").spawn(|()| (), ());
    /// assert!(matches!(refused, Err(SpawnError::Setting { setting: Setting::Directory, .. })));
    /// # Ok(()) }
    /// ```
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.settings.directory = Some(directory.as_ref().into());
        self
    }

    /// Sets where the child's standard input comes from (default: that of this process).
    pub fn stdin(mut self, stdio: impl Into<Stdio>) -> Self {
        self.settings.stdio[0] = stdio.into();
        self
    }

    /// Sets where the child's standard output goes (default: that of this process).
    pub fn stdout(mut self, stdio: impl Into<Stdio>) -> Self {
        self.settings.stdio[1] = stdio.into();
        self
    }

    /// Sets where the child's standard error goes (default: that of this process).
    pub fn stderr(mut self, stdio: impl Into<Stdio>) -> Self {
        self.settings.stdio[2] = stdio.into();
        self
    }

    /// Sets the processors that the child may run on, by their numbers from 0 on. An error if one of them is not there,
    /// or not allowed to this process.
    pub fn affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.settings.affinity = Some(processors.into_iter().collect());
        self
    }

    /// Sets the child's niceness: -20 (most favoured) to 19. Less than that of this process is for the privileged.
    pub fn niceness(mut self, niceness: i32) -> Self {
        self.settings.niceness = Some(niceness);
        self
    }

    /// Sets a limit of the child, before its task starts: a number binds and cannot be raised again, [`Limit`] says
    /// apart what binds and up to where the child may raise that. Of several calls for one resource the last counts.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use procession_process::{JoinError, Process, Resource, Signal};
    ///
    /// let child = Process::builder()
    ///     .limit(Resource::CoreDump, 0)
    ///     .limit(Resource::AddressSpace, 1 << 30)
    ///     .spawn(|n_bytes: usize| vec![1_u8; n_bytes].len(), 2 << 30)?;
    /// assert!(matches!(child.join(), Err(JoinError::Killed { signal: Signal::ABRT, .. })));
    /// # Ok(()) }
    /// ```
    pub fn limit(mut self, resource: Resource, limit: impl Into<Limit>) -> Self {
        self.settings.limits.insert(resource, limit.into());
        self
    }

    /// Puts the child into the group of processes with this number; 0 makes a new one, whose number is that of the child.
    ///
    /// Signals of the terminal, Ctrl-C among them, go to the group that is in front: a child in another one gets none.
    pub fn process_group(mut self, group: u32) -> Self {
        self.settings.group = Some(group);
        self
    }
}

impl Settings {
    /// Starts a child with all that must be there from its first instruction on.
    pub(crate) fn start(&self, way: Way<'_>) -> Result<(Started, Pipes), SpawnError> {
        let environment = self.environment().map_err(refused(Setting::Environment))?;
        let directory = self.directory.as_deref().map(spawn::directory).transpose();
        let directory = directory.map_err(refused(Setting::Directory))?;
        let mut theirs = [const { None }; 3];
        let mut ours = [const { None }; 3];
        for stream in Stream::ALL {
            let ends = self.stdio[stream as usize].open(stream).map_err(refused(Setting::Stdio))?;
            (theirs[stream as usize], ours[stream as usize]) = ends;
        }
        let program = self.program.as_deref().map(name_of_program).transpose();
        let program = program.map_err(refused(Setting::Program))?;
        let differences = Differences {
            program: program.as_deref(),
            directory: directory.as_ref().map(AsFd::as_fd),
            standard: theirs.each_ref().map(|one| one.as_ref().map(|one| one.as_fd())),
            group: self.group,
        };
        if program.is_some() && !matches!(way, Way::Spawn(_)) {
            return Err(refused(Setting::Program)(not_executed()));
        }
        let started = match way {
            Way::Spawn(entry) => hook::start_with(entry, environment, &differences),
            Way::ForkServer(entry, by) => zygote::start_with(entry, environment, &differences, by),
            Way::Fork(entry) => {
                let ends: Vec<_> = ours.iter().flatten().map(AsFd::as_fd).collect();
                forked::start(environment, &differences, &ends, entry)
            }
        };
        match started {
            Ok(started) => Ok((started, ours.into())),
            Err(error) if self.is_of_the_group(&error) => Err(refused(Setting::ProcessGroup)(error)),
            Err(error) if self.is_of_the_program(&error) => Err(refused(Setting::Program)(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets what is set from outside.
    pub(crate) fn adjust(&self, child: &Child) -> Result<(), SpawnError> {
        // A child that has ended already needs none of it: its outcome tells more.
        if let Some(processors) = &self.affinity {
            child.set_affinity(processors).map_err(refused(Setting::Affinity))?;
        }
        if let Some(niceness) = self.niceness {
            child.set_niceness(niceness).map_err(refused(Setting::Niceness))?;
        }
        for (resource, limit) in &self.limits {
            child.set_limit(*resource, *limit).map_err(refused(Setting::Limit(*resource)))?;
        }
        Ok(())
    }

    /// The child's variables, where they are not simply ours.
    fn environment(&self) -> Result<Option<Vec<(OsString, OsString)>>, OsError> {
        if self.env.is_empty() && !self.env_clear {
            return Ok(None);
        }
        for (name, value) in &self.env {
            check_variable(name, value.as_deref())?;
        }
        let inherited = (!self.env_clear).then(std::env::vars_os).into_iter().flatten();
        let kept = inherited.filter(|(name, _)| !self.env.contains_key(name));
        let set = self.env.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        Ok(Some(kept.chain(set).collect()))
    }

    /// Whether it was the group that was refused. `posix_spawn` does not say at what it failed, but these are the errors
    /// of `setpgid`, and starting our own program gives none of them.
    fn is_of_the_group(&self, error: &OsError) -> bool {
        const OF_SETPGID: [i32; 3] = [EPERM, ESRCH, EINVAL];
        self.group.is_some() && error.errno().is_some_and(|errno| OF_SETPGID.contains(&errno))
    }

    /// Whether it was the program: these are errors of `exec`.
    fn is_of_the_program(&self, error: &OsError) -> bool {
        const OF_EXEC: [i32; 4] = [ENOENT, ENOEXEC, EACCES, ENOTDIR];
        self.program.is_some() && error.errno().is_some_and(|errno| OF_EXEC.contains(&errno))
    }
}

// Numbers that are the same on every Linux; some have no `ErrorKind`, and others share one.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENOEXEC: i32 = 8;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;
const EINVAL: i32 = 22;

fn name_of_program(path: &Path) -> Result<CString, OsError> {
    let doing = || format!("starting {}", path.display());
    CString::new(path.as_os_str().as_bytes()).map_err(|e| OsError::new(doing(), e))
}

fn not_executed() -> OsError {
    let why = Error::new(ErrorKind::InvalidInput, "only `StartMethod::Spawn` executes a file");
    OsError::new("starting another program by forking", why)
}

fn refused(setting: Setting) -> impl Fn(OsError) -> SpawnError {
    move |error| SpawnError::Setting { setting, error }
}

fn check_variable(name: &OsStr, value: Option<&OsStr>) -> Result<(), OsError> {
    let why = if name.is_empty() {
        "a variable has a name"
    } else if name.as_bytes().contains(&b'=') {
        "a name holds no equals sign"
    } else if name.as_bytes().contains(&0) || value.is_some_and(|value| value.as_bytes().contains(&0)) {
        "neither name nor value hold a NUL"
    } else if name.as_bytes() == hook::VARIABLE.to_bytes() {
        "this one is how children are started"
    } else {
        return Ok(());
    };
    let error = Error::new(ErrorKind::InvalidInput, why);
    Err(OsError::new(format!("setting the variable {name:?} for a child"), error))
}
