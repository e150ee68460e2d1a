//! Runs a command with a watchdog: at its deadline the command ends, with every process it started.
//!
//! Invariants: each command runs in a process group of its own and reads no terminal. A guard process, which
//! waits for the end of a pipe that only we hold, kills that group when the watchdog expires and also when we
//! ourselves die, by whatever signal. Only groups made here are ever killed.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long the output of a command may stay open after the command itself has ended.
const HELD_OPEN: Duration = Duration::from_secs(10);

/// A command to run, with its environment, its directory, its input and its time.
pub(crate) struct Run {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: PathBuf,
    stdin: String,
    limit: Duration,
    grace: Duration,
}

impl Run {
    /// `program`, run in `dir`, killed after `limit`.
    pub(crate) fn new(program: impl Into<OsString>, dir: &Path, limit: Duration) -> Self {
        let (program, dir) = (program.into(), dir.to_owned());
        Self {
            program,
            args: Vec::new(),
            envs: Vec::new(),
            dir,
            stdin: String::new(),
            limit,
            grace: HELD_OPEN,
        }
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(dir: &Path, limit: Duration) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), dir, limit)
    }

    pub(crate) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    pub(crate) fn stdin(mut self, text: String) -> Self {
        self.stdin = text;
        self
    }

    /// Runs with our own output streams; an error says how it failed.
    pub(crate) fn shown(&self) -> Result<(), String> {
        let mut command = self.command();
        let (sender, events) = channel();
        let guarded = Guarded::start(&mut command, &self.stdin, sender).map_err(|e| self.not_started(&e))?;
        self.follow(guarded, &events, false, &mut |_| {})
    }

    /// Runs with both output streams merged in order, one call of `on_line` for each line.
    pub(crate) fn lines(&self, mut on_line: impl FnMut(&str)) -> Result<(), String> {
        let (reader, writer) = io::pipe().map_err(|e| format!("making a pipe: {e}"))?;
        let second = writer.try_clone().map_err(|e| format!("duplicating a pipe: {e}"))?;
        let mut command = self.command();
        command.stdout(writer).stderr(second);
        let (sender, events) = channel();
        let guarded =
            Guarded::start(&mut command, &self.stdin, sender.clone()).map_err(|e| self.not_started(&e))?;
        drop(command); // its ends of the pipe: from here on only the children hold them
        thread::spawn(move || read_lines(reader, &sender));
        self.follow(guarded, &events, true, &mut on_line)
    }

    /// The command line as one would type it.
    pub(crate) fn to_text(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy();
        let args = self.args.iter().map(|a| format!(" {}", a.to_string_lossy()));
        program.into_owned() + &args.collect::<String>()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).process_group(0);
        for (name, _) in std::env::vars_os() {
            if is_of_cargo_run(&name.to_string_lossy()) {
                command.env_remove(&name);
            }
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        command
    }

    fn not_started(&self, error: &io::Error) -> String {
        format!("starting `{}`: {error}", self.to_text())
    }

    /// Waits for the end of the command and, when `piped`, of its output.
    fn follow(
        &self,
        mut guarded: Guarded,
        events: &Receiver<Event>,
        piped: bool,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), String> {
        let started = Instant::now();
        let mut deadline = started + self.limit;
        let (mut status, mut open) = (None, piped);
        while status.is_none() || open {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(line)) => on_line(&line),
                Ok(Event::Closed) => open = false,
                Ok(Event::Ended(result)) => {
                    status = Some(result.map_err(|e| format!("waiting for `{}`: {e}", self.to_text()))?);
                    deadline = deadline.min(Instant::now() + self.grace);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    guarded.kill();
                    drain(events, on_line);
                    return Err(self.expired(status));
                }
            }
        }
        guarded.dismiss();
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("`{}` failed: {status}", self.to_text())),
            None => Err(format!("`{}` ended without a status", self.to_text())),
        }
    }

    fn expired(&self, status: Option<ExitStatus>) -> String {
        let text = self.to_text();
        match status {
            None => format!("`{text}` was killed by the watchdog after {} s", self.limit.as_secs()),
            Some(status) => {
                format!("`{text}` ended ({status}) but left a process behind that holds its output")
            }
        }
    }
}

/// The last words of a killed command: what it wrote before its end, for a bounded time.
fn drain(events: &Receiver<Event>, on_line: &mut dyn FnMut(&str)) {
    let deadline = Instant::now() + HELD_OPEN;
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Event::Line(line) = event {
            on_line(&line);
        }
    }
}

/// Variables that `cargo run` sets for xtask itself, and that would say something false to what xtask runs.
fn is_of_cargo_run(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    name == "OUT_DIR" || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

enum Event {
    Line(String),
    Closed,
    Ended(io::Result<ExitStatus>),
}

/// A running command and the guard of its process group.
struct Guarded {
    guard: Child,
}

impl Guarded {
    /// Starts `command` and its guard; `Event::Ended` follows.
    fn start(command: &mut Command, stdin: &str, events: Sender<Event>) -> io::Result<Self> {
        let mut child = command.spawn()?;
        let guard = Command::new("sh")
            .args(["-c", r#"read -r word || kill -s KILL -- "-$0""#, &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let guard = match guard {
            Ok(guard) => guard,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        if let Some(mut input) = child.stdin.take() {
            let text = stdin.to_owned();
            // A command may end without reading its input; that is no failure of ours.
            thread::spawn(move || drop(input.write_all(text.as_bytes())));
        }
        thread::spawn(move || drop(events.send(Event::Ended(child.wait()))));
        Ok(Self { guard })
    }

    /// Kills the whole group: the guard sees the end of its input without a word.
    fn kill(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }

    /// Sends the guard home.
    fn dismiss(&mut self) {
        if let Some(mut stdin) = self.guard.stdin.take() {
            drop(stdin.write_all(b"done\n"));
        }
        drop(self.guard.wait());
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_lines(reader: PipeReader, events: &Sender<Event>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    // An unreadable pipe ends like a closed one: the status of the command says the rest.
    while matches!(reader.by_ref().read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        if events.send(Event::Line(line)).is_err() {
            return;
        }
        bytes.clear();
    }
    drop(events.send(Event::Closed));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> (Result<(), String>, Vec<String>) {
        let mut lines = Vec::new();
        let mut run = Run::new("sh", Path::new("/"), limit).args(["-c", script]).stdin("given".into());
        run.grace = Duration::from_secs(1);
        (run.lines(|line| lines.push(line.to_owned())), lines)
    }

    #[test]
    fn merges_both_streams_in_order_and_feeds_stdin() {
        let (result, lines) = sh("echo one; echo two >&2; cat; exit 0", Duration::from_secs(60));
        assert_eq!((result, lines), (Ok(()), vec!["one".into(), "two".into(), "given".to_owned()]));
    }

    #[test]
    fn a_failure_names_the_command_and_the_status() {
        let error = sh("exit 3", Duration::from_secs(60)).0.unwrap_err();
        assert!(error.starts_with("`sh -c exit 3` failed") && error.contains('3'), "{error}");
    }

    #[test]
    fn the_watchdog_ends_the_command_and_its_children() {
        let (result, lines) = sh("sleep 1000 & echo $!; wait", Duration::from_secs(2));
        assert!(result.unwrap_err().contains("watchdog"));
        assert_ends(&lines[0]);
    }

    /// The kill is on its way: waits for the end itself, which a zombie that nobody has reaped has reached
    /// too.
    fn assert_ends(pid: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while is_running(pid) {
            assert!(Instant::now() < deadline, "process {pid} was not killed");
            thread::yield_now();
        }
    }

    fn is_running(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ") && !stat.contains(") X ")
    }

    #[test]
    fn output_held_open_by_a_left_over_process_is_a_failure_and_the_left_over_ends() {
        let (result, lines) = sh("sleep 1000 & echo $!", Duration::from_secs(60));
        assert!(result.unwrap_err().contains("left a process behind"));
        assert_ends(&lines[0]);
    }
}
