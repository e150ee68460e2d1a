//! A function runs in another process, and its value comes back.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that shows something")]

fn greet(name: String) -> (String, u32) {
    (format!("hello, {name}"), std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = procession::spawn(greet, "bob".to_owned())?;
    let (text, pid) = child.join()?;
    println!("{text}");
    println!("said by another process: {}", pid != std::process::id());
    Ok(())
}
