//! A dictionary and a list that a manager keeps, changed by a child.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::manager;
use procession::prelude::*;

type Things = (Dict<String, Vec<u32>>, manager::List<i32>);

fn change((groups, numbers): Things) -> Result<(), TaskError> {
    groups.insert("odd".to_owned(), vec![1, 3])?;
    // What is nested is changed where it is: no change of others is overwritten.
    groups.update("odd".to_owned(), Vec::push, 5)?;
    numbers.push(10)?;
    numbers.update(0, |first, by| *first += by, 100)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let manager = Manager::start()?;
    let things: Things = (manager.dict()?, manager.list()?);
    things.1.extend([1, 2, 3])?;
    procession::spawn(change, things.clone())?.join()??;
    println!("{:?}", things.0.get("odd")?.unwrap_or_default());
    println!("{:?}", things.1.to_vec()?);
    Ok(())
}
