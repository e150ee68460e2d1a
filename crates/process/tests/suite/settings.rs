//! What a child has otherwise than its parent, because its builder said so.
//!
//! # Safety
//! Standard descriptors are closed in a role, which does nothing else.
#![allow(unsafe_code, reason = "closes the standard descriptors of a role")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use procession_process::{
    Builder, JoinError, Limit, Process, Resource, Setting, Signal, SpawnError, Stdio, active_children, spawn,
};
use procession_testkit::{Role, role};

use super::{PATIENCE, Start, await_start, expected, gate, hold};

/// Starting with these settings is refused, for this one, with a text that has these words; and there is no child.
fn refused(builder: Builder, setting: Setting, words: &[&str]) -> ErrorKind {
    let path = |child: Process| child.path()[0];
    let before = path(Process::builder().spawn(|()| (), ()).unwrap());
    let error = builder.name("refused").spawn(|()| (), ()).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    let (told, error) = expected!(error, SpawnError::Setting { setting, error } => (setting, error));
    assert_eq!(told, setting, "{text}");
    assert!(active_children().iter().all(|child| child.name() != "refused"));
    assert!(path(Process::builder().spawn(|()| (), ()).unwrap()) > before);
    error.kind()
}

/// A directory for one test, removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn the_program_under_another_name(start: Start) {
    let directory = Directory::new("link");
    let link = directory.0.join("another name");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &link).unwrap();
    assert_eq!(start().program(link).spawn(|n: u8| n + 1, 1).unwrap().join().unwrap(), 2);
}

pub(crate) fn programs_that_are_not_ours(start: Start) {
    let directory = Directory::new("programs");
    let copy = directory.0.join("copy");
    // By another process: were it open for writing here, a child started meanwhile by another test would keep it so for
    // an instant, in which it is busy.
    let ours = std::env::current_exe().unwrap();
    assert!(std::process::Command::new("cp").args([&ours, &copy]).status().unwrap().success());
    let error = start().program(&copy).spawn(|n: u8| n + 1, 1).unwrap().join().unwrap_err();
    expected!(error, JoinError::NotSameImage { .. });
    let error = start().program("/bin/true").spawn(|n: u8| n + 1, 1).unwrap().join().unwrap_err();
    let exit = expected!(error, JoinError::NeverStarted { exit, .. } => exit);
    assert_eq!(exit.code(), Some(0));

    let text = directory.0.join("text");
    std::fs::write(&text, "no program").unwrap();
    for (path, kind) in [
        (directory.0.join("none"), ErrorKind::NotFound),
        (copy.join("inside"), ErrorKind::NotADirectory),
        (text, ErrorKind::PermissionDenied),
        ("a\0b".into(), ErrorKind::InvalidInput),
    ] {
        let words = [&*format!("starting {}", path.display())];
        assert_eq!(refused(start().program(&path), Setting::Program, &words), kind);
    }
}

type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

fn variables(_: ()) -> Variables {
    std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec())).collect()
}

pub(crate) fn environment(start: Start) {
    let ours = variables(());
    let variable = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let (existing, _) = ours.first_key_value().expect("some variable");
    let existing = OsStr::from_bytes(existing);

    let some = start()
        .env("PROCESSION_A", "first")
        .env("PROCESSION_A", "ß = second")
        .env("PROCESSION_B", OsString::from_vec(vec![0xff, b'=']))
        .env("PROCESSION_C", "never")
        .env_remove("PROCESSION_C")
        .env_remove(existing);
    let mut expected = ours.clone();
    expected.remove(existing.as_bytes());
    expected.extend([variable("PROCESSION_A", "ß = second".as_bytes()), variable("PROCESSION_B", b"\xff=")]);
    assert_eq!(some.spawn(variables, ()).unwrap().join().unwrap(), expected);

    // A child's children have what it has.
    let grandchild = |()| spawn(variables, ()).unwrap().join().unwrap();
    let bare = start().env("PROCESSION_GONE", "1").env_clear().env("PROCESSION_A", "");
    assert_eq!(bare.spawn(grandchild, ()).unwrap().join().unwrap(), [variable("PROCESSION_A", b"")].into());
    assert_eq!(variables(()), ours, "ours stay as they were");
}

pub(crate) fn variables_that_cannot_be(start: Start) {
    for (name, value, word) in [
        ("", "x", "name"),
        ("A=B", "x", "\"A=B\""),
        ("A\0B", "x", "NUL"),
        ("AB", "x\0y", "\"AB\""),
        ("PROCESSION_CHILD", "3:7", "\"PROCESSION_CHILD\""),
    ] {
        let kind = refused(start().env(name, value), Setting::Environment, &["setting the variable", word]);
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
}

pub(crate) fn directory(start: Start) {
    let here = std::env::current_dir().unwrap();
    let look = |()| std::env::current_dir().unwrap();
    assert_eq!(start().current_dir("/proc").spawn(look, ()).unwrap().join().unwrap(), PathBuf::from("/proc"));
    let above = start().current_dir("..").spawn(look, ()).unwrap().join().unwrap();
    assert_eq!(Some(&*above), here.parent(), "a relative path starts here");
    assert_eq!(std::env::current_dir().unwrap(), here, "ours stays as it was");

    let missing = refused(start().current_dir("/proc/no/such"), Setting::Directory, &["/proc/no/such"]);
    assert_eq!(missing, ErrorKind::NotFound);
    let file = refused(start().current_dir("/proc/self/stat"), Setting::Directory, &["/proc/self/stat"]);
    assert_eq!(file, ErrorKind::NotADirectory);
}

fn standard(_: ()) -> Vec<PathBuf> {
    (0..3).map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()).collect()
}

pub(crate) fn stdio_of_every_kind(start: Start) {
    let ours = standard(());
    let nowhere = start().stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::inherit());
    let null = PathBuf::from("/dev/null");
    let seen = nowhere.spawn(standard, ()).unwrap().join().unwrap();
    assert_eq!(seen, [&null, &ours[1], &null].map(Clone::clone));

    // A file of the caller's, at the place where the caller stands in it.
    let mut file = tempfile();
    file.write_all(b"ours, ").unwrap();
    let copy = file.try_clone().unwrap();
    start().stdout(copy).spawn(|()| say("theirs"), ()).unwrap().join().unwrap();
    file.rewind().unwrap();
    assert_eq!(std::io::read_to_string(&file).unwrap(), "ours, theirs");

    // Pipes, each of which is taken once.
    fn echo(_: ()) {
        let said = std::io::read_to_string(std::io::stdin()).unwrap();
        say(&format!("out {said}"));
        std::io::stderr().write_all(format!("err {said}").as_bytes()).unwrap();
    }
    let all = start().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = all.spawn(echo, ()).unwrap();
    let (mut out, mut err) = (child.take_stdout().unwrap(), child.take_stderr().unwrap());
    child.take_stdin().unwrap().write_all(b"hello").unwrap();
    let (mut out_text, mut err_text) = (String::new(), String::new());
    out.read_to_string(&mut out_text).unwrap();
    err.read_to_string(&mut err_text).unwrap();
    assert_eq!((out_text.as_str(), err_text.as_str()), ("out hello", "err hello"));
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none() && child.take_stderr().is_none());
    child.join().unwrap();
    let child = start().spawn(|()| (), ()).unwrap();
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none() && child.take_stderr().is_none());
    child.join().unwrap();
}

fn say(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

/// A file without a name.
fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("procession-settings-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A descriptor that the kernel gives out under the number of a closed standard one is not mistaken for it.
pub(crate) fn stdio_of_a_program_that_has_none(start: Start) {
    if role().is_none() {
        drop(Role::new("bare").spawn().wait_with_output(PATIENCE).expect_success());
        return;
    }
    // Standard error stays, for this test's own failures.
    for fd in 0..2 {
        // SAFETY: nothing in this role uses them after this (module page).
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    // The file has the number of standard input, so it must be out of the way before input is put there.
    let file = tempfile();
    assert_eq!(file.as_raw_fd(), 0);
    let mut copy = file.try_clone().unwrap();
    let crossed = start().stdin(Stdio::null()).stdout(file);
    crossed.spawn(|()| say("theirs"), ()).unwrap().join().unwrap();
    copy.rewind().unwrap();
    assert_eq!(std::io::read_to_string(&copy).unwrap(), "theirs");

    fn double(_: ()) {
        let said = std::io::read_to_string(std::io::stdin()).unwrap();
        say(&said.repeat(2));
    }
    let child = start().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn(double, ()).unwrap();
    child.take_stdin().unwrap().write_all(b"hello").unwrap();
    let output = child.join_with_output();
    output.outcome.unwrap();
    assert_eq!(output.stdout, b"hellohello");
}

/// Neither who joins nor who is joined waits for a reader.
pub(crate) fn a_noisy_child_is_joined(start: Start) {
    const N_BYTES: usize = 3 << 20;
    fn noise(n_bytes: usize) -> usize {
        assert_eq!(std::io::read_to_string(std::io::stdin()).unwrap(), "");
        std::io::stderr().write_all(&vec![b'e'; n_bytes]).unwrap();
        std::io::stdout().write_all(&vec![b'o'; n_bytes]).unwrap();
        n_bytes
    }
    let noisy = || {
        let all = start().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        all.spawn(noise, N_BYTES).unwrap()
    };
    let output = noisy().join_with_output();
    assert_eq!(output.outcome.unwrap(), N_BYTES);
    assert!(output.stdout == vec![b'o'; N_BYTES] && output.stderr == vec![b'e'; N_BYTES]);
    assert_eq!(noisy().join().unwrap(), N_BYTES, "what nobody wants is thrown away");

    // What it wrote before it was killed is there, and who still holds its pipe is not waited for.
    let dies = |(held, up): (procession_pipe::Duplex<u8, u8>, procession_pipe::Duplex<u8, u8>)| -> u8 {
        say("last words");
        std::io::stdout().flush().unwrap();
        Process::builder().outlive_parent(true).spawn(hold, held).unwrap().detach();
        up.send(&1).unwrap();
        up.recv().unwrap()
    };
    let ((ours, theirs), (our_up, their_up)) = (gate(), gate());
    let child = start().stdout(Stdio::piped()).spawn(dies, (theirs, their_up)).unwrap();
    await_start(&ours);
    await_start(&our_up);
    child.kill().unwrap();
    let output = child.join_with_output();
    expected!(output.outcome, Err(JoinError::Killed { signal: Signal::KILL, .. }));
    assert_eq!(output.stdout, b"last words");
    drop(ours.send(&0));
}

/// A field of `/proc/thread-self/stat`, by its number in `proc(5)`.
fn stat(field: usize) -> i64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_ascii_whitespace().nth(field - 3).unwrap().parse().unwrap()
}

const GROUP: usize = 5;
const NICENESS: usize = 19;

pub(crate) fn niceness(start: Start) {
    fn both(_: ()) -> (i64, i64) {
        (stat(NICENESS), spawn(|()| stat(NICENESS), ()).unwrap().join().unwrap())
    }
    let ours = stat(NICENESS);
    let nicer = (ours + 3).min(19);
    let wanted = i32::try_from(nicer).unwrap();
    assert_eq!(start().niceness(wanted).spawn(both, ()).unwrap().join().unwrap(), (nicer, nicer));
    assert_eq!(stat(NICENESS), ours);
    for wrong in [20, -21, i32::MAX] {
        let kind = refused(start().niceness(wrong), Setting::Niceness, &["niceness", &wrong.to_string()]);
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
}

fn processors(_: ()) -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap().to_owned()
}

pub(crate) fn affinity(start: Start) {
    let ours = processors(());
    let last: usize = ours.rsplit([',', '-']).next().unwrap().parse().unwrap();
    let bound = start().affinity([last, last]).spawn(processors, ()).unwrap();
    assert_eq!(bound.join().unwrap(), last.to_string());
    assert_eq!(processors(()), ours);
    for wrong in [vec![], vec![1023], vec![last, 1023], vec![1 << 20]] {
        let kind = refused(start().affinity(wrong), Setting::Affinity, &["processors ["]);
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
}

pub(crate) fn resource_limits(start: Start) {
    use procession_sys::limits;
    fn look(_: ()) -> [(Option<u64>, Option<u64>); 2] {
        let now = limits::get();
        [now.core_dump, now.file_size].map(|limit| (limit.soft, limit.hard))
    }
    let ours = limits::get();
    let apart = Limit { soft: Some(1 << 20), hard: ours.file_size.hard };
    let limited =
        start().limit(Resource::CoreDump, 0).limit(Resource::FileSize, 7).limit(Resource::FileSize, apart);
    let seen = limited.spawn(look, ()).unwrap().join().unwrap();
    assert_eq!(seen, [(Some(0), Some(0)), (apart.soft, apart.hard)], "the last one counts");
    assert_eq!(limits::get(), ours);

    // One that binds: a second of processor time.
    let toil = |()| -> () {
        loop {
            std::hint::spin_loop();
        }
    };
    let dies = start()
        .limit(Resource::ProcessorTime, Limit { soft: Some(1), hard: Some(9) })
        .limit(Resource::CoreDump, 0);
    let error = dies.spawn(toil, ()).unwrap().join().unwrap_err();
    assert_eq!(error.signal(), Some(Signal::XCPU), "{error}");

    let inverted = Limit { soft: Some(2), hard: Some(1) };
    for resource in [Resource::Descriptors, Resource::Stack, Resource::LockedMemory] {
        let words = ["setting the limit", resource.name(), "2 of 1"];
        let kind = refused(start().limit(resource, inverted), Setting::Limit(resource), &words);
        assert_eq!(kind, ErrorKind::InvalidInput);
    }
}

pub(crate) fn process_groups(start: Start) {
    fn group(_: ()) -> i64 {
        stat(GROUP)
    }
    let ours = stat(GROUP);
    assert_eq!(start().spawn(group, ()).unwrap().join().unwrap(), ours);
    let (ours_to_say, theirs) = gate();
    let leader = start().process_group(0).spawn(hold, theirs).unwrap();
    await_start(&ours_to_say);
    let follower = start().process_group(leader.pid()).spawn(group, ()).unwrap();
    assert_eq!(follower.join().unwrap(), i64::from(leader.pid()));
    ours_to_say.send(&1).unwrap();
    leader.join().unwrap();
    assert_eq!(stat(GROUP), ours);
    // A number that no process can have, and one that is none.
    for wrong in [1 << 30, u32::MAX] {
        refused(start().process_group(wrong), Setting::ProcessGroup, &[]);
    }
}
