//! The contract of processes: `contract::process::<mechanism>::<start method>::<case>`.

mod suite;

use std::process::Command;

use procession_process::{Builder, Process, StartMethod};

fn spawn() -> Builder {
    Process::builder().start_method(StartMethod::Spawn)
}

fn fork_server() -> Builder {
    Process::builder().start_method(StartMethod::ForkServer)
}

fn fork() -> Builder {
    Process::builder().start_method(StartMethod::Fork).allow_threads(true)
}

/// The variable that a process has which runs one case of a forked parent.
const ALONE: &str = "PROCESSION_TEST_ALONE";

/// Runs `case` in a process of its own, whose one other thread, that of the test harness, waits for it and holds nothing.
fn alone(case: fn()) {
    if std::env::var_os(ALONE).is_some() {
        return case();
    }
    procession_testkit::guarded(|| {
        let test = std::thread::current().name().expect("a test has a name").to_owned();
        let mut again = Command::new(std::env::current_exe().expect("a path"));
        again.args(["--exact", &test, "--nocapture", "--test-threads=1"]).env(ALONE, "1");
        let output = again.output().expect("a process");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success() && said[0].contains("1 passed"), "{}\n{}", said[0], said[1]);
    });
}

mod contract {
    mod process {
        mod reexec {
            crate::suite::contract!(spawn, crate::spawn;
                settings: the_program_under_another_name programs_that_are_not_ours;
            );
            crate::suite::contract!(fork_server, crate::fork_server;);
        }
        mod copied {
            crate::suite::contract!(@common crate::alone, fork crate::fork;);
        }
    }
}
