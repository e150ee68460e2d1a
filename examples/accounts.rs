//! One account, three tellers in processes of their own, and one of them dies in the middle: who comes next is told, and
//! repairs.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;
use procession::{JoinError, Mutex};

#[derive(Clone, Copy, Default, Plain)]
struct Account {
    cents: i64,
    entries: u64,
}

fn deposit(acc: Mutex<Account>) -> Result<(), LockError> {
    // Other errors: Deadlock, NoSlot, Corrupt.
    let mut a = acc.lock().or_repair(|a, dead| {
        eprintln!("holder {} died", dead.pid());
        a.entries = 1;
    })?;
    a.cents += 100;
    a.entries += 1;
    Ok(())
}

/// Dies with half of its work done.
fn clumsy(acc: Mutex<Account>) -> Result<(), LockError> {
    let mut a = acc.lock()?;
    a.cents += 100;
    std::process::abort()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let account = Mutex::new(Account::default())?;
    match procession::spawn(clumsy, account.clone())?.join() {
        Err(JoinError::Killed { signal, .. }) => println!("one teller died of {signal}"),
        other => panic!("{other:?}"),
    }
    for teller in [(); 2].map(|()| procession::spawn(deposit, account.clone())) {
        teller?.join()??;
    }
    let account = account.lock()?;
    println!("{} cents in {} entries", account.cents, account.entries);
    Ok(())
}
