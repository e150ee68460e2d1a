//! `cargo xtask`: the commands of this repository, written in Rust so that they need no other tool.
//!
//! Invariants: it depends on no crate of the workspace, so that it builds when they do not; every command it
//! starts has a watchdog; its exit code is 0 only if everything it was asked for went well.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program talks to its user")]

mod artifacts;
mod bench;
mod ci;
mod demo;
mod examples;
mod fallbacks;
mod kills;
mod libtest;
mod loom;
mod readme;
mod run;
mod testing;
mod tidy;
mod workspace;

use bench::Size;
use std::process::ExitCode;
use std::time::Duration;
use workspace::Workspace;

/// A full measurement of every bench ends long before.
const BENCH_WATCHDOG: Duration = Duration::from_secs(4 * 60 * 60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match command(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well; `Ok(false)`: no, and all about it has been printed.
fn command(args: &[String]) -> Result<bool, String> {
    let (name, rest) =
        args.split_first().map_or(("help", [].as_slice()), |(name, rest)| (name.as_str(), rest));
    match name {
        "ci" => {
            let ([long], names) = options(rest, ["--long"])?;
            return ci::run(Workspace::read()?, &names, long);
        }
        "tidy" => {
            let ([bless], names) = options(rest, ["--bless"])?;
            no_more(&names)?;
            tidy::run(&Workspace::read()?, bless)?;
        }
        "bench" | "benchmarks" => {
            let ([quick, smoke], names) = options(rest, ["--quick", "--smoke"])?;
            no_more(names.get(1..).unwrap_or_default())?;
            let (size, filter) = (size(quick, smoke)?, names.first().map(String::as_str));
            bench::run(&Workspace::read()?, size, filter, BENCH_WATCHDOG)?;
        }
        "demo" => {
            let ([quick], names) = options(rest, ["--quick"])?;
            no_more(&names)?;
            demo::run(&Workspace::read()?, quick)?;
        }
        "help" | "--help" | "-h" => println!("{}", usage()),
        other => return Err(format!("there is no command `{other}`\n\n{}", usage())),
    }
    Ok(true)
}

/// Which of the `known` options are there, and the other words.
fn options<const N: usize>(args: &[String], known: [&str; N]) -> Result<([bool; N], Vec<String>), String> {
    let (options, words): (Vec<String>, Vec<String>) =
        args.iter().cloned().partition(|arg| arg.starts_with('-'));
    match options.iter().find(|option| !known.contains(&option.as_str())) {
        Some(option) => Err(format!("there is no option `{option}` here\n\n{}", usage())),
        None => Ok((known.map(|name| options.iter().any(|option| option == name)), words)),
    }
}

fn no_more(words: &[String]) -> Result<(), String> {
    words.first().map_or(Ok(()), |word| Err(format!("`{word}` is one word too many\n\n{}", usage())))
}

fn size(quick: bool, smoke: bool) -> Result<Size, String> {
    match (quick, smoke) {
        (false, false) => Ok(Size::Full),
        (true, false) => Ok(Size::Quick),
        (false, true) => Ok(Size::Smoke),
        (true, true) => Err("--quick measures and --smoke does not: choose one".into()),
    }
}

fn usage() -> String {
    format!(
        "\
cargo xtask ci [--long] [STEP...]    everything that must be green, or these steps; --long: at full size
{}cargo xtask tidy [--bless]           the rules that no compiler holds; --bless: write {}
cargo xtask bench [--quick|--smoke] [FILTER]
                                     the benches (also: benchmarks); --smoke: each once, nothing measured
cargo xtask demo [--quick]           what is special here, in half a minute
cargo xtask help                     this text

PROCESSION_BUDGET_FACTOR=3 gives the tests of every crate three times their time, for a slow machine.",
        ci::usage(),
        tidy::UNSAFE_LIST,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_and_words_are_told_apart() {
        assert_eq!(options(&words("fmt --long doc"), ["--long"]), Ok(([true], words("fmt doc"))));
        assert_eq!(options(&words("fmt"), ["--long"]), Ok(([false], words("fmt"))));
        assert!(options(&words("--lnog"), ["--long"]).is_err());
    }

    #[test]
    fn mistakes_are_errors_and_name_the_commands() {
        for bad in
            ["cii", "ci --fast", "ci typo", "tidy now", "bench a b", "bench --quick --smoke", "demo now"]
        {
            assert!(command(&words(bad)).is_err(), "{bad}");
        }
        assert!(command(&words("cii")).unwrap_err().contains("cargo xtask demo"));
        assert!(command(&[]).is_ok());
    }
}
