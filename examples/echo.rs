//! A TCP server that gives each client a process of its own: what a client sends comes back.
//!
//! `cargo run --example echo -- [ADDRESS]` serves until it is ended; without an address it serves three clients of its own.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use procession::Descriptor;
use procession::prelude::*;

// ANCHOR: serve
fn serve(client: Descriptor) -> Result<u64, TaskError> {
    let mut reader = TcpStream::from(client.into_owned()?);
    let mut writer = reader.try_clone()?;
    Ok(io::copy(&mut reader, &mut writer)?)
}

/// Starts a process for the next client.
fn accept(listener: &TcpListener) -> Result<Process<Result<u64, TaskError>>, Box<dyn std::error::Error>> {
    let (client, _) = listener.accept()?;
    // The child has a duplicate of the connection; ours is closed here, so that the client sees the end of it.
    Ok(procession::spawn(serve, Descriptor::from(OwnedFd::from(client)))?)
}
// ANCHOR_END: serve

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(address) = std::env::args().nth(1) {
        let listener = TcpListener::bind(address)?;
        println!("listening at {}", listener.local_addr()?);
        loop {
            // Goes on by itself, and ends with this process if not before.
            accept(&listener)?.detach();
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    for text in ["one", "two", "three"] {
        let mut client = TcpStream::connect(address)?;
        let server = accept(&listener)?;
        client.write_all(text.as_bytes())?;
        client.shutdown(Shutdown::Write)?;
        let mut echo = String::new();
        client.read_to_string(&mut echo)?;
        println!("{echo}: {} bytes", server.join()??);
    }
    Ok(())
}
