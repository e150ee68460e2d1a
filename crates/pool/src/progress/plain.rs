//! Progress as plain lines, for files and logs.

use std::time::Duration;

use super::Progress;

/// Between two lines, unless the second is the last.
const PAUSE: Duration = Duration::from_secs(1);

/// Decides what is worth a line.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// When the last line was written.
    at: Duration,
    /// The tenth of the whole that it told of.
    tenth: usize,
    is_over: bool,
}

impl Plain {
    /// The line to write, if there is one.
    pub(super) fn line(&mut self, pool: &str, progress: &Progress) -> Option<String> {
        let Progress { done, failed, total, elapsed } = *progress;
        let tenth = total.map_or(0, |total| done.saturating_mul(10) / total.max(1));
        let is_news = done > 0 && (total.is_none() || tenth > self.tenth);
        let is_last = progress.is_over() && done > 0 && !self.is_over;
        if !(is_last || is_news && elapsed >= self.at + PAUSE) {
            return None;
        }
        (self.at, self.tenth, self.is_over) = (elapsed, tenth, is_last);
        let of = total.map_or(String::new(), |total| format!(" of {total}"));
        let percent =
            total.map_or(String::new(), |total| format!(" ({} %)", done.saturating_mul(100) / total.max(1)));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        Some(format!("{pool}: {done}{of} tasks done{percent}{failed}, {:.1} s\n", elapsed.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(told: &[(usize, Option<usize>, u64)]) -> Vec<String> {
        let mut plain = Plain::default();
        let progress = |(done, total, millis): &(usize, Option<usize>, u64)| Progress {
            done: *done,
            failed: done / 100,
            total: *total,
            elapsed: Duration::from_millis(*millis),
        };
        told.iter().filter_map(|told| plain.line("render", &progress(told))).collect()
    }

    #[test]
    fn one_for_each_tenth_but_none_within_a_second() {
        let of = |total| move |(done, millis)| (done, Some(total), millis);
        let told =
            [(0, 0), (10, 100), (11, 1000), (12, 1500), (20, 1999), (25, 2000), (29, 9000), (40, 9000)];
        let told = told.into_iter().chain([(99, 9001), (100, 9002), (100, 9003)]).map(of(100));
        let expected = [
            "render: 11 of 100 tasks done (11 %), 1.0 s\n",
            "render: 25 of 100 tasks done (25 %), 2.0 s\n",
            "render: 40 of 100 tasks done (40 %), 9.0 s\n",
            "render: 100 of 100 tasks done (100 %), 1 failed, 9.0 s\n",
        ];
        assert_eq!(lines(&told.collect::<Vec<_>>()), expected);
        // Fast ones have the last line and no other; nothing to do, none.
        assert_eq!(lines(&[(50, Some(60), 10), (60, Some(60), 11)]).len(), 1);
        assert_eq!(lines(&[(0, Some(0), 10), (0, Some(0), 5000)]).len(), 0);
    }

    #[test]
    fn one_a_second_where_nobody_knows_how_many_there_are() {
        let told = [(0, 0), (1, 999), (2, 1000), (3, 1999), (400, 2500), (401, 3499), (402, 3500)];
        let told: Vec<_> = told.into_iter().map(|(done, millis)| (done, None, millis)).collect();
        let expected = [
            "render: 2 tasks done, 1.0 s\n",
            "render: 400 tasks done, 4 failed, 2.5 s\n",
            "render: 402 tasks done, 4 failed, 3.5 s\n",
        ];
        assert_eq!(lines(&told), expected);
        assert_eq!(
            lines(&[(402, None, 100), (402, Some(402), 101)]).len(),
            1,
            "its end tells how many there were"
        );
    }
}
