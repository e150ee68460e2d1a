//! The judge: ours against a floor, in interleaved pairs of one run, and the verdict on a bar.
//!
//! Absolute figures of a shared machine are worth little; the ratio of two figures taken one right after the other is
//! worth more, and the spread of many such ratios says how much. Invariants: each pair is one figure of ours and one of
//! the floor, and who is first alternates; the first pair is a warm-up and does not count.
//!
//! # The verdict
//! Ratios are ours divided by the floor. *Good* is low for a bar that says "at most" (times) and high for one that says
//! "at least" (rates). Of the ratios of all pairs, sorted, the judge takes the best one and the quartile on the good
//! side: the lower one for "at most", the upper one for "at least".
//!
//! | the quartile on the good side | the best ratio | verdict |
//! |---|---|---|
//! | meets the bar | meets it too | met |
//! | misses it, and with it the median and the other quartile | meets it | inconclusive |
//! | misses it | misses it: no pair of the run met the bar | missed |
//!
//! Fewer than [`ENOUGH`] pairs are inconclusive whatever they say.
//!
//! A rule for noisy machines, and a lenient one: a quarter of the pairs within the bar is enough, one lucky pair is not.
//! Met at the quartile but not at the median is therefore said in the line. Quartiles lie between two ratios in
//! proportion. Held by the tests here.

use std::fmt;

/// The fewest pairs that a verdict may rest on.
pub const ENOUGH: usize = 9;

/// What the ratio of ours to the floor should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// For figures that are times.
    AtMost(f64),
    /// For figures that are rates.
    AtLeast(f64),
}

/// What came of it; the table on this module's page defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bar is kept.
    Met,
    /// This run cannot tell.
    Inconclusive,
    /// The bar is not kept.
    Missed,
}

/// Who is measured: a figure each time it is called.
pub type Contender<'a> = &'a mut dyn FnMut() -> f64;

/// Both contenders, measured.
#[derive(Clone, Debug)]
pub struct Judged {
    name: String,
    unit: &'static str,
    bar: Bar,
    ours: Sorted,
    floor: Sorted,
    ratios: Sorted,
}

/// Takes `pairs` pairs of figures in `unit`, after one to warm up.
///
/// # Panics
/// If there are no pairs, or a figure is not above zero.
pub fn judge(
    name: impl Into<String>,
    unit: &'static str,
    bar: Bar,
    pairs: usize,
    ours: Contender<'_>,
    floor: Contender<'_>,
) -> Judged {
    let mut figures = Vec::new();
    for number in 0..=pairs {
        // The one who is second may find the machine as the first one left it.
        let pair = if number % 2 == 0 {
            let first = ours();
            (first, floor())
        } else {
            let first = floor();
            (ours(), first)
        };
        figures.push(pair);
    }
    Judged::from_pairs(name.into(), unit, bar, &figures[1..])
}

impl Judged {
    fn from_pairs(name: String, unit: &'static str, bar: Bar, pairs: &[(f64, f64)]) -> Self {
        assert!(pairs.iter().all(|(ours, floor)| *ours > 0.0 && *floor > 0.0), "no figures: {pairs:?}");
        let sorted = |figure: fn(&(f64, f64)) -> f64| Sorted::new(pairs.iter().map(figure).collect());
        let (ours, floor) = (sorted(|pair| pair.0), sorted(|pair| pair.1));
        Self { name, unit, bar, ours, floor, ratios: sorted(|(ours, floor)| ours / floor) }
    }

    /// What the ratios say about the bar.
    pub fn verdict(&self) -> Verdict {
        if self.ratios.0.len() < ENOUGH {
            return Verdict::Inconclusive;
        }
        let (good, best) = match self.bar {
            Bar::AtMost(_) => (0.25, 0.0),
            Bar::AtLeast(_) => (0.75, 1.0),
        };
        match (self.meets(good), self.meets(best)) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Inconclusive,
            (false, false) => Verdict::Missed,
        }
    }

    fn meets(&self, share: f64) -> bool {
        let ratio = self.ratios.quantile(share);
        match self.bar {
            Bar::AtMost(bar) => ratio <= bar,
            Bar::AtLeast(bar) => ratio >= bar,
        }
    }

    /// The heads of the columns that a `Judged` is written in.
    pub fn heads() -> String {
        line(&["", "ours", "floor", "ratio", "quartiles", "bar", "verdict"].map(str::to_owned))
    }
}

/// One line of a table: name, figures (medians), ratio (median and quartiles), bar, verdict.
impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |figures: &Sorted| format!("{} {}", Short(figures.median()), self.unit);
        let [lower, upper] = [0.25, 0.75].map(|share| self.ratios.quantile(share));
        let verdict = self.verdict();
        let but = if verdict == Verdict::Met && !self.meets(0.5) { ", not at the median" } else { "" };
        f.write_str(&line(&[
            self.name.clone(),
            figure(&self.ours),
            figure(&self.floor),
            format!("{:.3}", self.ratios.median()),
            format!("{lower:.3} to {upper:.3}"),
            self.bar.to_string(),
            format!("{verdict}{but}"),
        ]))
    }
}

fn line([name, ours, floor, ratio, quartiles, bar, verdict]: &[String; 7]) -> String {
    let line = format!("{name:<44} {ours:>14} {floor:>14} {ratio:>7}  {quartiles:<15} {bar:<8} {verdict}");
    line.trim_end().to_owned()
}

/// A figure with three digits that mean something.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.0 < 10.0 {
            2
        } else if self.0 < 100.0 {
            1
        } else {
            0
        };
        write!(f, "{:.digits$}", self.0)
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bar) => write!(f, "<= {bar}"),
            Self::AtLeast(bar) => write!(f, ">= {bar}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Inconclusive => "inconclusive",
            Self::Missed => "MISSED",
        })
    }
}

/// Numbers in order; at least one.
#[derive(Clone, Debug)]
pub struct Sorted(Vec<f64>);

impl Sorted {
    /// Sorts them.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(mut numbers: Vec<f64>) -> Self {
        assert!(!numbers.is_empty(), "no figures");
        numbers.sort_by(f64::total_cmp);
        Self(numbers)
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// What `share` (0 to 1) of them are below: between two of them in proportion.
    pub fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.0.len() - 1) as f64;
        let (below, part) = (place as usize, place.fract());
        let above = self.0[(below + 1).min(self.0.len() - 1)];
        self.0[below] + (above - self.0[below]) * part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(bar: Bar, ratios: &[f64]) -> Judged {
        let pairs: Vec<_> = ratios.iter().map(|ratio| (ratio * 20.0, 20.0)).collect();
        Judged::from_pairs("a bar".to_owned(), "ns", bar, &pairs)
    }

    #[test]
    fn quantiles_lie_between_two_numbers_in_proportion() {
        let numbers = Sorted::new(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| numbers.quantile(share)),
            [1.0, 2.0, 3.0, 4.0, 5.0]
        );
        let numbers = Sorted::new(vec![10.0, 0.0]);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| numbers.quantile(share)), [0.0, 2.5, 5.0, 10.0]);
        assert_eq!(Sorted::new(vec![7.0]).quantile(0.75), 7.0);
    }

    // Of nine in order, the lower quartile is the third and the upper one the seventh.
    #[test]
    fn at_most_is_judged_by_the_lower_quartile_and_the_lowest() {
        let verdict = |low: [f64; 4]| {
            let [a, b, c, d] = low;
            judged(Bar::AtMost(1.15), &[1.4, d, 1.3, b, 1.5, c, 1.3, a, 1.9]).verdict()
        };
        assert_eq!(verdict([1.0, 1.1, 1.1, 1.1]), Verdict::Met);
        assert_eq!(verdict([1.0, 1.1, 1.15, 1.2]), Verdict::Met, "at the bar is within it");
        assert_eq!(verdict([1.0, 1.1, 1.16, 1.2]), Verdict::Inconclusive);
        assert_eq!(verdict([1.15, 1.16, 1.16, 1.2]), Verdict::Inconclusive);
        assert_eq!(verdict([1.16, 1.16, 1.16, 1.2]), Verdict::Missed);
    }

    #[test]
    fn at_least_is_judged_by_the_upper_quartile_and_the_highest() {
        let verdict = |high: [f64; 4]| {
            let [a, b, c, d] = high;
            judged(Bar::AtLeast(0.8), &[0.4, d, 0.3, b, 0.5, c, 0.3, a, 0.1]).verdict()
        };
        assert_eq!(verdict([0.9, 0.9, 0.9, 0.9]), Verdict::Met);
        assert_eq!(verdict([0.9, 0.9, 0.8, 0.7]), Verdict::Met, "at the bar is within it");
        assert_eq!(verdict([0.9, 0.9, 0.79, 0.7]), Verdict::Inconclusive);
        assert_eq!(verdict([0.8, 0.79, 0.79, 0.7]), Verdict::Inconclusive);
        assert_eq!(verdict([0.79, 0.79, 0.79, 0.7]), Verdict::Missed);
    }

    #[test]
    fn few_pairs_are_inconclusive() {
        for (ratio, verdict) in [(1.0, Verdict::Met), (2.0, Verdict::Missed)] {
            assert_eq!(judged(Bar::AtMost(1.1), &[ratio; ENOUGH - 1]).verdict(), Verdict::Inconclusive);
            assert_eq!(judged(Bar::AtMost(1.1), &[ratio; ENOUGH]).verdict(), verdict);
        }
    }

    #[test]
    fn who_is_first_alternates_and_the_warm_up_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let contender = |name: char| {
            let order = &order;
            let mut figure = 1000.0;
            move || {
                order.borrow_mut().push(name);
                std::mem::replace(&mut figure, 2.0)
            }
        };
        let judged = judge("x", "ns", Bar::AtMost(1.0), 3, &mut contender('o'), &mut contender('f'));
        assert_eq!(*order.borrow(), "offooffo");
        assert_eq!((judged.ours.0.len(), judged.ours.quantile(1.0)), (3, 2.0));
    }

    #[test]
    fn a_line_says_all_of_it() {
        let line = judged(Bar::AtMost(1.15), &[1.0, 1.1, 1.1, 1.2, 1.25, 1.3, 1.3, 1.4, 1.4]).to_string();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[..9], ["a", "bar", "25.0", "ns", "20.0", "ns", "1.250", "1.100", "to"]);
        assert_eq!(words[9..].join(" "), "1.300 <= 1.15 met, not at the median");
        assert!(judged(Bar::AtLeast(2.0), &[1.0; 9]).to_string().ends_with(">= 2     MISSED"));
        assert_eq!(Judged::heads().split_whitespace().count(), 6);
    }

    #[test]
    #[should_panic(expected = "no figures")]
    fn a_figure_of_nothing_is_no_figure() {
        judged(Bar::AtMost(1.0), &[0.0]);
    }
}
