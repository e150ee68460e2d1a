//! The same in Python, where there is one.

use std::io;
use std::process::Command;
use std::time::Duration;

const TWO_TO_TWO: &str = "
import multiprocessing as mp, sys, time
mp.set_start_method('fork')
queue, came = mp.Queue(1024), [mp.RawValue('Q', 0) for _ in range(2)]
def send():
    while True:
        queue.put(7)
def recv(came):
    while True:
        assert queue.get() == 7
        came.value += 1
workers = [mp.Process(target=send, daemon=True) for _ in range(2)]
workers += [mp.Process(target=recv, args=(value,), daemon=True) for value in came]
for worker in workers:
    worker.start()
while not all(value.value for value in came):
    time.sleep(0.001)
began, before = time.monotonic(), sum(value.value for value in came)
time.sleep(max(float(sys.argv[1]), 0.2))
print((sum(value.value for value in came) - before) / (time.monotonic() - began) / 1e6, flush=True)
for worker in workers:
    worker.kill()
    worker.join()
";

/// Millions of numbers in a second from two processes to two others, through a `multiprocessing.Queue`.
pub(crate) fn two_to_two(window: Duration) -> io::Result<f64> {
    let output =
        Command::new("python3").args(["-c", TWO_TO_TWO, &window.as_secs_f64().to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
