//! Failed tasks in files, run once more.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use procession_codec::{Codec, Descriptor, Postcard};
use procession_pool::{Pool, ReplayError, Replayed, SaveError, attempt, replay, with_state};
use procession_process::{Signal, TaskError};
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role, role};

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own for a test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("procession-replay-{}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fragile((n, text): (u32, String)) -> usize {
    if n > 3 { panic!("{n} is too much for {text:.4}") } else { text.len() }
}

fn panic_of(replayed: Replayed) -> String {
    let Replayed::Panicked(panic) = replayed else { panic!("{replayed:?}") };
    assert!(panic.location.contains("replay.rs") && !panic.backtrace.is_empty(), "{panic:?}");
    panic.message
}

#[test]
fn a_failed_task_runs_again() {
    guarded(|| {
        let (scratch, pool) = (Scratch::new(), Pool::new(2).unwrap());
        let path = scratch.file("panic");
        let items = (0..10).map(|n| (n, "a".repeat(n as usize)));
        let failed = pool.map(fragile, items).unwrap_err();
        failed.save_replay(&path).unwrap();
        assert_eq!(panic_of(replay(&path).unwrap()), "4 is too much for aaaa");
        assert_eq!(panic_of(replay(&path).unwrap()), "4 is too much for aaaa", "as often as one likes");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(failed.save_replay(&path), Err(SaveError::Os(_))), "there is one");
        // An argument that travelled in memory of its own.
        let large = pool.submit(fragile, (9, "b".repeat(100 << 10))).unwrap();
        while !large.is_ready() {
            std::thread::yield_now();
        }
        large.save_replay(scratch.file("large")).unwrap();
        assert!(large.get().is_err(), "its outcome is still there");
        assert!(panic_of(replay(scratch.file("large")).unwrap()).ends_with(" for bbbb"));
    });
}

/// What ended the worker ends the process that runs it again, and no other.
#[test]
fn a_deadly_task_runs_again_in_a_process_of_its_own() {
    fn abort_at(n: u32) -> u32 {
        if n == 7 { std::process::abort() } else { n }
    }
    if let Some(path) = std::env::var_os("SAVED_TASK")
        && role().is_some()
    {
        roles::say("running");
        roles::say(&format!("{:?}", replay(PathBuf::from(path))));
        return;
    }
    guarded(|| {
        let (scratch, pool) = (Scratch::new(), Pool::new(1).unwrap());
        let path = scratch.file("deadly");
        pool.submit(abort_at, 7).unwrap().get().unwrap_err().save_replay(&path).unwrap();
        let mut process = Role::new("debugged").env("SAVED_TASK", path.to_str().unwrap()).spawn();
        assert_eq!(process.hear(PATIENCE).as_deref(), Some("running"));
        assert_eq!(process.hear(PATIENCE), None);
        let status = process.wait_with_output(PATIENCE).status;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::ABRT.0));
    });
}

#[test]
fn state_context_and_attempt_are_there() {
    #[expect(clippy::ptr_arg, reason = "a context is one type, and an owned one")]
    fn weigh(context: &Vec<u32>, n: usize) -> (u32, u32) {
        let state = with_state(|state: &mut u32| *state);
        if procession_process::parent().is_some() {
            std::process::abort();
        }
        (context[n] + state, attempt())
    }
    guarded(|| {
        let scratch = Scratch::new();
        let open = |n: u32| if n == 0 { Err(TaskError::new("nothing")) } else { Ok(n) };
        let pool = Pool::builder().workers(1).retries(1).initializer(open, 1000).build().unwrap();
        let failed = pool.with(&vec![1, 2, 3]).submit(weigh, 2).unwrap().get().unwrap_err();
        let path = scratch.file("weighed");
        failed.save_replay(&path).unwrap();
        let Replayed::Returned(value) = replay(&path).unwrap() else { panic!("it returns here") };
        assert_eq!(Postcard::decode::<(u32, u32)>(&value).unwrap(), (1003, 2));
    });
}

#[test]
fn what_cannot_be_saved() {
    guarded(|| {
        let (scratch, pool) = (Scratch::new(), Pool::new(1).unwrap());
        let path = scratch.file("none");
        let (_, writer) = std::io::pipe().unwrap();
        let handle = Descriptor::from(OwnedFd::from(writer));
        let failed =
            pool.submit(|_: Descriptor| -> u8 { panic!("no") }, handle.clone()).unwrap().get().unwrap_err();
        assert!(matches!(failed.save_replay(&path), Err(SaveError::Handles)));
        let with = pool.with(&handle);
        let failed =
            with.submit(|_: &Descriptor, n: u8| -> u8 { panic!("{n}") }, 1).unwrap().get().unwrap_err();
        assert!(matches!(failed.save_replay(&path), Err(SaveError::Handles)));
        let endless = pool
            .submit(
                |()| -> u8 {
                    loop {
                        std::thread::park();
                    }
                },
                (),
            )
            .unwrap();
        let waiting = pool.submit(|n: u8| n, 1).unwrap();
        assert!(matches!(endless.save_replay(&path), Err(SaveError::NotFailed)));
        assert!(waiting.cancel() && endless.cancel());
        assert!(matches!(waiting.get().unwrap_err().save_replay(&path), Err(SaveError::NotRun)));
        assert!(!path.exists(), "nothing is left behind");
    });
}

#[test]
fn files_that_are_none() {
    guarded(|| {
        let (scratch, pool) = (Scratch::new(), Pool::new(1).unwrap());
        let path = scratch.file("whole");
        let failed = pool.submit(fragile, (9, "x".to_string())).unwrap().get().unwrap_err();
        failed.save_replay(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let changed = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            replay(&path)
        };
        for len in 0..whole.len() {
            let refused = changed(&whole[..len]);
            let is_told = if len < 18 {
                matches!(refused, Err(ReplayError::NotAReplay))
            } else {
                matches!(refused, Err(ReplayError::Damaged))
            };
            assert!(is_told, "{len} bytes: {refused:?}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let refused = changed(&bytes);
            let is_told = match at {
                0..18 => matches!(refused, Err(ReplayError::NotAReplay)),
                18..20 => matches!(refused, Err(ReplayError::Version(_))),
                _ => matches!(refused, Err(ReplayError::Damaged)),
            };
            assert!(is_told, "byte {at}: {refused:?}");
        }
        assert!(matches!(changed(&[&whole[..], &[0]].concat()), Err(ReplayError::Damaged)));
        assert_eq!(panic_of(changed(&whole).unwrap()), "9 is too much for x");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let refused = replay(&path).unwrap_err();
        assert!(
            matches!(&refused, ReplayError::Os(e) if e.kind() == std::io::ErrorKind::PermissionDenied),
            "{refused}"
        );
        let missing = replay(scratch.file("missing")).unwrap_err();
        assert!(
            matches!(&missing, ReplayError::Os(e) if e.kind() == std::io::ErrorKind::NotFound),
            "{missing}"
        );
    });
}

/// The same program in another file might be another build: its functions are not called.
#[test]
fn a_file_of_another_image() {
    const SAVE: &str = "PROCESSION_TEST_SAVES_TO";
    if let Some(path) = std::env::var_os(SAVE) {
        let failed = Pool::new(1).unwrap().submit(fragile, (9, "x".to_string())).unwrap().get().unwrap_err();
        return failed.save_replay(Path::new(&path)).unwrap();
    }
    guarded(|| {
        let scratch = Scratch::new();
        let (program, path) = (scratch.file("program"), scratch.file("saved"));
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let ended =
            Command::new(&program).args(["--exact", "a_file_of_another_image"]).env(SAVE, &path).output();
        assert!(ended.unwrap().status.success());
        assert!(path.exists());
        assert!(matches!(replay(&path), Err(ReplayError::NotSameImage)));
    });
}
