//! A server for lines of text, a process for each client: `exit` ends it, everything else is acknowledged. A client that
//! resets its connection harms nobody else.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use procession::prelude::*;
use procession::{Descriptor, StartMethod};

/// How many lines it acknowledged, unless the connection broke.
fn talk(client: Descriptor) -> Result<u32, TaskError> {
    let stream = TcpStream::from(client.into_owned()?);
    let mut writer = stream.try_clone()?;
    let mut n = 0;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.trim() == "exit" {
            writeln!(writer, "bye")?;
            break;
        }
        writeln!(writer, "ok {}", line.trim())?;
        n += 1;
    }
    Ok(n)
}

fn serve(listener: &TcpListener) -> Result<Process<Result<u32, TaskError>>, Box<dyn std::error::Error>> {
    let (client, _) = listener.accept()?;
    let builder = Process::builder().name("client").start_method(StartMethod::Spawn);
    Ok(builder.spawn(talk, Descriptor::from(OwnedFd::from(client)))?)
}

fn ask(stream: &mut BufReader<TcpStream>, line: &str) -> io::Result<String> {
    writeln!(stream.get_mut(), "{line}")?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    TcpStream::connect(address).map(BufReader::new)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;

    let mut polite = connect(address)?;
    let polite_server = serve(&listener)?;
    let mut rude = connect(address)?;
    let rude_server = serve(&listener)?;

    println!("{}", ask(&mut polite, "hello")?);
    println!("{}", ask(&mut rude, "never mind")?);
    // With an answer unread in it, closing resets the connection.
    writeln!(rude.get_mut(), "and")?;
    rude.get_ref().peek(&mut [0])?;
    drop(rude);
    match rude_server.join()? {
        Ok(n) => println!("one is gone after {n} lines"),
        Err(_) => println!("one has reset its connection"),
    }
    println!("{}", ask(&mut polite, "still there?")?);
    println!("{}", ask(&mut polite, "exit")?);
    println!("the other one had {} lines", polite_server.join()??);
    Ok(())
}
