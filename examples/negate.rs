//! A shared number and a shared array, both changed by a child.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

use procession::prelude::*;

fn change((number, array): (Value<f64>, Array<i32>)) {
    number.set(3.25).expect("nobody was killed");
    for item in &mut *array.write() {
        *item = -*item;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = Value::new(0.0)?;
    let array = Array::from_fn(10, |i| i as i32)?;
    procession::spawn(change, (number.clone(), array.clone()))?.join()?;
    println!("{}", number.get());
    println!("{:?}", &*array.read());
    Ok(())
}
