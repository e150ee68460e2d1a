//! The contract of processes: `contract::process::<mechanism>::<start method>::<case>`.

mod suite;

mod contract {
    mod process {
        mod reexec {
            crate::suite::contract!(spawn, procession_process::Process::builder);
        }
    }
}
