//! The contract of processes: `contract::process::<mechanism>::<start method>::<case>`.

mod suite;

use procession_process::{Builder, Process, StartMethod};

fn spawn() -> Builder {
    Process::builder().start_method(StartMethod::Spawn)
}

fn fork_server() -> Builder {
    Process::builder().start_method(StartMethod::ForkServer)
}

mod contract {
    mod process {
        mod reexec {
            crate::suite::contract!(spawn, crate::spawn;
                settings: the_program_under_another_name programs_that_are_not_ours;
            );
            crate::suite::contract!(fork_server, crate::fork_server;);
        }
    }
}
