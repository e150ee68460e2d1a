//! Questions as jobs: each brings the sender for its own answer, and keeps it when its worker dies, so another one answers.
//!
//! `cargo run --example answers`

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use procession::prelude::*;
use procession::queue::bounded;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Question {
    text: String,
    answer: Sender<String>,
}

fn work(questions: JobReceiver<Question>) {
    for question in questions {
        if question.text.contains("halt") && !question.is_redelivered() {
            std::process::abort();
        }
        let n = question.text.split(' ').count();
        // Who asked may be gone, and then nobody wants the answer.
        let _ = question.answer.send(format!("{n} words, asked {} times", question.deliveries()));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = procession::queue::jobs::<Question>(16)?;
    let workers = [procession::spawn(work, rx.clone())?, procession::spawn(work, rx)?];
    for text in ["how many words are these", "will you halt", "and these"] {
        let (answer, answers) = bounded(1)?;
        tx.send(Question { text: text.to_owned(), answer })?;
        println!("{text}: {}", answers.recv()?);
    }
    tx.join()?;
    tx.close();
    let n_died = workers.into_iter().map(Process::join).filter(Result::is_err).count();
    println!("{n_died} of 2 workers died, and all is answered");
    Ok(())
}
