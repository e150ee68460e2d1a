//! A server with one thread that forks whenever it receives a byte, and tells the child's end: the floor of starts.
//!
//! It is forked while its parent is small, so what its own forks cost does not grow with the parent.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socketpair};

use crate::fork::{Forked, fork};

/// The server, in a process of its own.
#[derive(Debug)]
pub struct ForkServer {
    socket: OwnedFd,
    _server: Forked,
}

/// What the server said of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its process.
    pub pid: i32,
    /// Its exit code; -1 if it was killed.
    pub code: i32,
}

impl ForkServer {
    /// Starts it; each child will run `task`.
    ///
    /// # Panics
    /// If there is no socket or no process to be had.
    pub fn new(task: impl Fn()) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair of sockets");
        let server = fork(|| serve(&theirs, &task));
        Self { socket: ours, _server: server }
    }

    /// Asks for a child and waits for its end.
    ///
    /// # Panics
    /// If the server is gone.
    pub fn start_and_join(&self) -> Ended {
        rustix::net::send(&self.socket, &[1], SendFlags::NOSIGNAL).expect("a server");
        Ended { pid: self.number(), code: self.number() }
    }

    fn number(&self) -> i32 {
        let mut bytes = [0; 4];
        let (_, n) = rustix::net::recv(&self.socket, &mut bytes, RecvFlags::empty()).expect("a server");
        assert_eq!(n, bytes.len(), "the fork server ended");
        i32::from_ne_bytes(bytes)
    }
}

fn serve(socket: &OwnedFd, task: &impl Fn()) {
    let tell = |number: i32| rustix::net::send(socket, &number.to_ne_bytes(), SendFlags::NOSIGNAL).is_ok();
    while rustix::net::recv(socket, &mut [0; 1], RecvFlags::empty()).is_ok_and(|(_, n)| n == 1) {
        let child = fork(task);
        let told = tell(child.pid().as_raw_nonzero().get());
        let code = child.join().exit_status().unwrap_or(-1);
        if !told || !tell(code) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procession_testkit::counted;

    #[test]
    fn each_request_is_a_process_of_its_own() {
        counted(|| {
            let server = ForkServer::new(|| ());
            let (first, second) = (server.start_and_join(), server.start_and_join());
            assert_eq!((first.code, second.code), (0, 0));
            assert!(first.pid != second.pid && first.pid != std::process::id() as i32);
            let failing = ForkServer::new(|| std::panic::resume_unwind(Box::new(())));
            assert_eq!(failing.start_and_join().code, 101);
        });
    }
}
