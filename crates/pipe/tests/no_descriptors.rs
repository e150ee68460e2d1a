//! A listener whose process has no descriptors left says so, keeps who waits, and goes on when there are some again. In a
//! process of its own, because the limit is that of a process.

mod meet;

use std::fs::File;
use std::thread;

use meet::FAR;
use procession_pipe::{AcceptError, Address, Client, Listener};
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role};

#[test]
fn nobody_is_lost_for_want_of_descriptors() {
    if roles::role().is_some() {
        let listener = Listener::bind(std::env::var("ADDRESS").unwrap().parse::<Address>().unwrap()).unwrap();
        let mut all: Vec<File> = std::iter::from_fn(|| File::open("/proc/self/stat").ok()).collect();
        roles::say("none left");
        for _ in 0..2 {
            let error = listener.accept_timeout(FAR).unwrap_err();
            assert!(matches!(error, AcceptError::Os(_)), "{error}");
            assert!(error.to_string().contains("Too many open files"), "{error}");
        }
        all.pop();
        all.pop();
        listener.accept_timeout(FAR).unwrap().send_bytes(b"at last").unwrap();
        assert_eq!(listener.n_refused(), 0);
        return;
    }
    guarded(|| {
        let address = Address::unique().unwrap();
        // A listener raises the soft limit as far as it can, so the hard one is lowered.
        let role = Role::new("listener").env("ADDRESS", address.to_string()).into_command();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""])
            .arg(role.get_program())
            .args(role.get_args());
        command.envs(role.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let mut process = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        let end = loop {
            match Client::builder().timeout(FAR).connect(&address) {
                Ok(end) => break end,
                Err(_) => {
                    assert!(process.try_wait().unwrap().is_none());
                    thread::yield_now();
                }
            }
        };
        assert_eq!(end.recv_bytes().unwrap(), b"at last");
        assert!(process.wait().unwrap().success());
    });
}
