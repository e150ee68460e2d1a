//! The contract of a fork server's processes where the kernel does not remember how a process ended (Linux before 6.15):
//! the server waits for them and tells.
//!
//! # Safety
//! The environment is changed once, through std, whose lock every reader in this program goes through.
#![allow(unsafe_code, reason = "sets the variable that switches the kernel's memory off")]

#[expect(dead_code, reason = "some cases are of executions only")]
mod suite;

/// A builder in a process whose fork server, and those below it, ask the kernel for nothing of the dead.
fn without_exit_info() -> procession_process::Builder {
    static SWITCHED: std::sync::Once = std::sync::Once::new();
    SWITCHED.call_once(|| {
        // SAFETY: every other access to the environment in this program goes through std (module page).
        unsafe { std::env::set_var(procession_sys::caps::SWITCH, "exit_info") };
        // The server is there before anything is counted.
        let child = by_server().spawn(|n: u8| n + 1, 1).expect("a child");
        assert_eq!(child.join().expect("a value"), 2);
    });
    by_server()
}

fn by_server() -> procession_process::Builder {
    procession_process::Process::builder().start_method(procession_process::StartMethod::ForkServer)
}

mod contract {
    mod process {
        mod reexec_without_exit_info {
            crate::suite::contract!(fork_server, crate::without_exit_info;);
        }
    }
}
