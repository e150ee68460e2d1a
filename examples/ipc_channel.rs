//! For programs that use `ipc-channel` already: a process started by us, and a pair of its channels between both.
//!
//! `ipc-channel` makes channels of nothing but a name, by which two processes meet once. Here the name is an argument of
//! the new process, and who waits for it watches the process as well: one that dies before it comes is an error, where
//! `accept` alone waits for ever.
//!
//! `cargo run --example ipc_channel`

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use procession::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

type Failure = Box<dyn Error + Send + Sync>;

/// Both directions, as one side has them.
type Ends<S, R> = (IpcSender<S>, IpcReceiver<R>);

/// The adapter: [`offer`](meeting::offer) in the parent, [`join`](meeting::join) in the process.
mod meeting {
    use super::*;

    /// A place where one process is waited for.
    pub(crate) struct Offer<S, R> {
        server: IpcOneShotServer<Ends<S, R>>,
        name: String,
    }

    /// Makes such a place, and its name for the process.
    pub(crate) fn offer<S, R>() -> Result<(Offer<S, R>, String), Failure>
    where
        S: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (server, name) = IpcOneShotServer::new()?;
        Ok((Offer { server, name: name.clone() }, name))
    }

    impl<S, R> Offer<S, R>
    where
        S: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        /// Our ends, as soon as `process` has joined; an error if it ends before.
        pub(crate) fn meet<T>(self, process: &Process<T>) -> Result<Ends<S, R>, Failure> {
            let (to, answer) = mpsc::channel();
            let Self { server, name } = self;
            let accepting = thread::spawn(move || to.send(server.accept().map(|(_, ends)| ends)));
            let met = loop {
                match answer.recv_timeout(Duration::from_millis(10)) {
                    Ok(ends) => break ends.map_err(Failure::from),
                    Err(RecvTimeoutError::Timeout) if process.is_alive() => {}
                    Err(RecvTimeoutError::Disconnected) => break Err("nobody accepts any more".into()),
                    Err(RecvTimeoutError::Timeout) => {
                        // It may have come just before it ended; else we come ourselves, so that the wait is over.
                        drop(IpcSender::<Ends<S, R>>::connect(name.clone()));
                        break answer.recv()?.map_err(|_| "the process ended before it came".into());
                    }
                }
            };
            let _ = accepting.join();
            met
        }
    }

    /// In the process: its own ends.
    pub(crate) fn join<S, R>(name: String) -> Result<Ends<S, R>, Failure>
    where
        S: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (to, their_from) = ipc::channel::<S>()?;
        let (their_to, from) = ipc::channel::<R>()?;
        IpcSender::<Ends<R, S>>::connect(name)?.send((their_to, their_from))?;
        Ok((to, from))
    }
}

/// Answers each text with its length, until nobody asks any more.
fn measure(name: String) -> Result<usize, TaskError> {
    let (to, from) = meeting::join::<usize, String>(name).map_err(std::io::Error::other)?;
    let mut n = 0;
    while let Ok(text) = from.recv() {
        to.send(text.len()).map_err(std::io::Error::other)?;
        n += 1;
    }
    Ok(n)
}

/// Never comes.
fn die(_name: String) {
    std::process::exit(3);
}

fn main() -> Result<(), Failure> {
    let (offer, name) = meeting::offer::<String, usize>()?;
    let process = procession::spawn(measure, name)?;
    let (to, from) = offer.meet(&process)?;
    for text in ["one", "three", ""] {
        to.send(text.to_owned())?;
        println!("{text:?} has {} bytes", from.recv()?);
    }
    drop(to);
    println!("{} answers", process.join_flat()?);

    let (offer, name) = meeting::offer::<String, usize>()?;
    let process = procession::spawn(die, name)?;
    match offer.meet(&process) {
        Ok(_) => return Err("it came after all".into()),
        Err(error) => println!("{error}"),
    }
    match process.join() {
        Err(JoinError::Exited { code, .. }) => println!("exit code {code}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
