//! The contract of processes where the kernel has no pidfds (Linux before 5.3, some sandboxes).
//!
//! # Safety
//! The environment is changed once, through std, whose lock every reader in this program goes through.
#![allow(unsafe_code, reason = "sets the variable that switches pidfds off")]

mod suite;

/// A builder in a process, and a tree of processes, without pidfds.
fn without_pidfd() -> procession_process::Builder {
    static SWITCHED: std::sync::Once = std::sync::Once::new();
    SWITCHED.call_once(|| {
        // SAFETY: every other access to the environment in this program goes through std (module page).
        unsafe { std::env::set_var(procession_sys::caps::SWITCH, "pidfd") };
        assert!(!procession_sys::caps::has(procession_sys::caps::Capability::Pidfd), "asked too early");
    });
    procession_process::Process::builder()
}

mod contract {
    mod process {
        mod reexec_without_pidfd {
            crate::suite::contract!(spawn, crate::without_pidfd;
                settings: the_program_under_another_name programs_that_are_not_ours;
            );
        }
    }
}
