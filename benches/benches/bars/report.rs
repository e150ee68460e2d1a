//! What is asked for on the command line, and the table that comes of it.

use procession_floor::cpu;
use procession_floor::fork::watchdog;
use procession_floor::judge::{Bar, Contender, Judged, Verdict, judge};
use procession_floor::scenario::Effort;

/// A bar that takes longer hangs.
const SECONDS: u32 = 120;

/// The table, line by line as it grows.
#[derive(Debug)]
pub(crate) struct Report {
    effort: Effort,
    only: Option<String>,
    verdicts: Vec<Verdict>,
}

impl Report {
    /// Reads the arguments; says what machine this is.
    pub(crate) fn from_args() -> Self {
        let mut report = Self { effort: Effort::FULL, only: None, verdicts: Vec::new() };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--bench" => {}
                "--quick" => report.effort = Effort::QUICK,
                "--test" => report.effort = Effort::ONCE,
                other => report.only = Some(other.to_owned()),
            }
        }
        report.heads();
        report
    }

    fn heads(&self) {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let load: String = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
        let kernel = read("/proc/sys/kernel/osrelease");
        println!("{} processors, Linux {}, load {load}", cpu::available().len(), kernel.trim());
        if !cpu::has_two() {
            println!("one processor: both sides share it, so what is said of two processors is not measured");
        }
        println!("{} pairs; times and rates are medians\n{}", self.effort.pairs, Judged::heads());
    }

    /// How much is measured for each bar.
    pub(crate) fn effort(&self) -> Effort {
        self.effort
    }

    /// Measures both and adds a line.
    pub(crate) fn judge(
        &mut self,
        name: &str,
        unit: &'static str,
        bar: Bar,
        ours: Contender<'_>,
        floor: Contender<'_>,
    ) {
        if self.wants(name) {
            let judged = judge(name, unit, bar, self.effort.pairs, ours, floor);
            println!("{judged}");
            self.verdicts.push(judged.verdict());
        }
    }

    /// Whether this bar was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        watchdog(SECONDS);
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Sums up.
    pub(crate) fn end(self) {
        let count = |verdict| self.verdicts.iter().filter(|other| **other == verdict).count();
        let [met, inconclusive, missed] = [Verdict::Met, Verdict::Inconclusive, Verdict::Missed].map(count);
        println!("{met} met, {inconclusive} inconclusive, {missed} missed");
    }
}
