//! The same in Python, where there is one.

use std::io;
use std::process::Command;
use std::time::Duration;

const MANAGER: &str = "
import multiprocessing as mp, os, sys, time
def main():
    window = max(float(sys.argv[1]), 0.05)
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[-1:])
    with mp.Manager() as manager:
        os.sched_setaffinity(0, cpus[:1])
        numbers = manager.dict()
        for key in range(64):
            numbers[key] = key
        def rate(call):
            call(0)
            n, began = 0, time.monotonic()
            while time.monotonic() - began < window:
                for key in range(64):
                    call(key)
                n += 64
            return n / (time.monotonic() - began) / 1e3
        def put(key):
            numbers[key] = key
        figures = [rate(numbers.__getitem__), rate(put)]
        n, began = 0, time.monotonic()
        while n < 8 or time.monotonic() - began < window:
            made = manager.dict()
            del made
            n += 1
        figures.append((time.monotonic() - began) / n * 1e6)
        print(*figures, flush=True)
main()
";

/// Thousands of reads and of writes in a second, and the microseconds of an object from its making to its end.
pub(crate) fn figures(window: Duration) -> io::Result<[f64; 3]> {
    let output = Command::new("python3").args(["-c", MANAGER, &window.as_secs_f64().to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    figures
        .try_into()
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
