//! A runtime's thread waits for pipes, queues and processes as it waits for everything else: without blocking.
//!
//! Any executor does; this one is ten lines.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use procession::prelude::*;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (mut future, waker) = (pin!(future), Waker::from(Arc::new(Unpark(thread::current()))));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Two futures at once.
async fn both<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut a, mut b) = (None, None);
    poll_fn(|cx| {
        if a.is_none() {
            a = Some(one.as_mut().poll(cx)).and_then(ready);
        }
        if b.is_none() {
            b = Some(other.as_mut().poll(cx)).and_then(ready);
        }
        if a.is_some() && b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (a.expect("ready"), b.expect("ready"))
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn count(lines: Receiver<String>) -> usize {
    lines.into_iter().map(|line| line.split_whitespace().count()).sum()
}

fn shout(end: Duplex<String, String>) {
    while let Ok(text) = end.recv() {
        let _ = end.send(&text.to_uppercase());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (lines, rest) = procession::queue::bounded::<String>(2)?;
    let (ours, theirs) = procession::pipe::<String, String>()?;
    let (counter, shouter) = (procession::spawn(count, rest)?, procession::spawn(shout, theirs)?);
    let feed = async {
        for n in 0..100 {
            lines.send_async(format!("line number {n}")).await?;
        }
        lines.close();
        Ok::<_, Box<dyn std::error::Error>>(counter.join_async().await?)
    };
    let ask = async {
        ours.send_async(&"hello".into()).await?;
        Ok::<_, Box<dyn std::error::Error>>(ours.recv_async().await?)
    };
    let (words, answer) = block_on(both(feed, ask));
    println!("{} words, {}", words?, answer?);
    drop(ours);
    shouter.join()?;
    Ok(())
}
