//! Two workers answer questions that come over one queue; each question brings the sender for its own answer.
//!
//! `cargo run --example replies`
//!
//! A question that kills its worker is an error for who asked it, and for nobody else: the sender for its answer died with
//! the worker.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use procession::prelude::*;
use procession::queue::{RecvError, bounded};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Question {
    text: String,
    answer: Sender<usize>,
}

fn work(questions: Receiver<Question>) {
    for Question { text, answer } in questions {
        if text.contains("halt") {
            std::process::abort();
        }
        // Who asked may be gone, and then nobody wants the answer.
        let _ = answer.send(text.split(' ').count());
    }
}

fn ask((questions, text): (Sender<Question>, String)) -> Result<String, TaskError> {
    let (answer, answers) = bounded(1)?;
    questions.send(Question { text: text.clone(), answer })?;
    Ok(match answers.recv() {
        Ok(n) => format!("{text}: {n} words"),
        Err(RecvError::Disconnected) => format!("{text}: no answer will come"),
        Err(error) => return Err(error.into()),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = bounded::<Question>(16)?;
    let workers = [procession::spawn(work, rx.clone())?, procession::spawn(work, rx)?];
    // Questions may come from anywhere: here from other processes, one after the other.
    for text in ["how many words are these", "will you halt", "and these"] {
        println!("{}", procession::spawn(ask, (tx.clone(), text.to_owned()))?.join()??);
    }
    tx.close();
    let n_died = workers.into_iter().map(Process::join).filter(Result::is_err).count();
    println!("{n_died} of 2 workers died");
    Ok(())
}
