//! Workers killed on purpose, for users' own tests: `PROCESSION_CHAOS=kill:0.01,seed:7`.
//!
//! Whether and where a task's worker is killed depends on the seed, the task's number and the attempt, and on nothing else:
//! not on which worker has it, nor on the other tasks of its chunk. The worker kills itself; the pool, which can work out
//! the same, says so in the error. Held by `tests/chaos.rs`.
//!
//! | point | the worker has | what becomes of the task |
//! |---|---|---|
//! | [`BeforeTask`](ChaosPoint::BeforeTask) | taken the job, and not begun this task | it runs in another worker |
//! | [`InTask`](ChaosPoint::InTask) | begun it | lost, or tried again |
//! | [`AfterTask`](ChaosPoint::AfterTask) | done it, and not begun to answer | lost, or tried again |
//! | [`Answering`](ChaosPoint::Answering) | written its answer, and not said that it counts | lost, or tried again |
//! | [`Idle`](ChaosPoint::Idle) | answered, and said that the job is done | its answer counts |

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The variable that is read where a pool is built without [`Builder::chaos`](crate::Builder::chaos).
const VARIABLE: &str = "PROCESSION_CHAOS";

/// Where a worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChaosPoint {
    /// `before`: it was given the task, and has not begun it. Nobody notices.
    BeforeTask,
    /// `in`: it has begun the task, nothing of which is done.
    InTask,
    /// `after`: the task is done, and not answered.
    AfterTask,
    /// `answering`: the answer is written, but not said to count.
    Answering,
    /// `idle`: it has answered and waits for more. Nobody notices.
    Idle,
}

impl ChaosPoint {
    const ALL: [Self; 5] = [Self::BeforeTask, Self::InTask, Self::AfterTask, Self::Answering, Self::Idle];

    /// As the settings name it.
    fn word(self) -> &'static str {
        match self {
            Self::BeforeTask => "before",
            Self::InTask => "in",
            Self::AfterTask => "after",
            Self::Answering => "answering",
            Self::Idle => "idle",
        }
    }

    /// Whether it costs the task.
    pub(crate) fn is_deadly(self) -> bool {
        !matches!(self, Self::BeforeTask | Self::Idle)
    }
}

impl fmt::Display for ChaosPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeTask => "before the task",
            Self::InTask => "in the task",
            Self::AfterTask => "after the task",
            Self::Answering => "while answering",
            Self::Idle => "while idle",
        })
    }
}

/// Which workers of a pool are to be killed on purpose: see [`Builder::chaos`](crate::Builder::chaos).
///
/// Read from a text: parts `name:value` with commas between. `kill:P`, which must be there, is the share of tasks, between
/// 0 and 1, whose worker is killed, at one of five [points](ChaosPoint). `seed:N` (default 0) chooses other tasks. `at:POINT`
/// is one of `before`, `in`, `after`, `answering`, `idle`; it may come more than once; without it, it is all of them.
///
/// ```
/// use procession_pool::Chaos;
///
/// let chaos: Chaos = "kill:0.01,seed:7".parse().unwrap();
/// assert_ne!(chaos, "kill:0.01,seed:8,at:idle".parse().unwrap());
/// let error = "kill:2".parse::<Chaos>().unwrap_err();
/// assert_eq!(error.to_string(), "reading the chaos settings `kill:2`: `2` is no share between 0 and 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chaos {
    /// Of 2^32 tasks so many are hit.
    share: u64,
    seed: u64,
    /// One bit for each point.
    points: u8,
}

/// Settings of chaos that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaosError {
    text: String,
    why: String,
}

impl fmt::Display for ChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading the chaos settings `{}`: {}", self.text, self.why)
    }
}

impl Error for ChaosError {}

impl FromStr for Chaos {
    type Err = ChaosError;

    fn from_str(text: &str) -> Result<Self, ChaosError> {
        let refuse = |why: String| ChaosError { text: text.to_owned(), why };
        let (mut share, mut seed, mut points) = (None, 0, 0);
        for part in text.split(',').map(str::trim) {
            let (name, value) =
                part.split_once(':').ok_or_else(|| refuse(format!("`{part}` is no name:value")))?;
            match name {
                "kill" => {
                    let told = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                    let told: f64 =
                        told.ok_or_else(|| refuse(format!("`{value}` is no share between 0 and 1")))?;
                    share = Some((told * 2_f64.powi(32)) as u64);
                }
                "seed" => seed = value.parse().map_err(|_| refuse(format!("`{value}` is no seed")))?,
                "at" => {
                    let at = ChaosPoint::ALL.iter().position(|point| point.word() == value);
                    points |= 1 << at.ok_or_else(|| refuse(format!("`{value}` is no point")))?;
                }
                other => return Err(refuse(format!("there is no setting `{other}`"))),
            }
        }
        let share = share.ok_or_else(|| refuse("it does not say how many: kill:0.01".into()))?;
        Ok(Self { share, seed, points: if points == 0 { 0b1_1111 } else { points } })
    }
}

impl Chaos {
    /// What the environment asks for.
    pub(crate) fn of_environment() -> Result<Option<Self>, ChaosError> {
        let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        value.to_string_lossy().parse().map(Some)
    }

    /// Where the worker is killed that runs task number `task` for the `attempt`-th time, after `n_killed` others
    /// were killed before they began it; `None` if it is not.
    pub(crate) fn hit(self, task: u64, attempt: u32, n_killed: u32) -> Option<ChaosPoint> {
        let dice = [task, u64::from(attempt), u64::from(n_killed)]
            .into_iter()
            .fold(mixed(self.seed), |dice, word| mixed(dice ^ word));
        if dice >> 32 >= self.share {
            return None;
        }
        let bits = ChaosPoint::ALL.iter().enumerate().filter(|(bit, _)| self.points & 1 << bit != 0);
        let points: Vec<ChaosPoint> = bits.map(|(_, point)| *point).collect();
        points.get((dice & 0xffff_ffff) as usize % points.len().max(1)).copied()
    }
}

/// Any change of a bit changes half of the answer (splitmix64).
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_refused() {
        let cases = [
            ("", "`` is no name:value"),
            ("seed:1", "it does not say how many: kill:0.01"),
            ("kill:-1", "`-1` is no share between 0 and 1"),
            ("kill:NaN", "`NaN` is no share between 0 and 1"),
            ("kill:0.1,seed:x", "`x` is no seed"),
            ("kill:0.1,at:noon", "`noon` is no point"),
            ("kill:0.1,when:now", "there is no setting `when`"),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<Chaos>().unwrap_err().why, why);
        }
        let read: Chaos = " kill:1, at:in ,at:idle,seed:7".parse().unwrap();
        assert_eq!(read, Chaos { share: 1 << 32, seed: 7, points: 0b1_0010 });
    }

    #[test]
    fn the_share_and_the_points_are_as_they_should() {
        let chaos: Chaos = "kill:0.2,seed:7".parse().unwrap();
        let hits: Vec<_> = (0..100_000).filter_map(|task| chaos.hit(task, 1, 0)).collect();
        assert!((19_000..21_000).contains(&hits.len()), "{}", hits.len());
        for point in ChaosPoint::ALL {
            let n = hits.iter().filter(|hit| **hit == point).count();
            assert!((3600..4400).contains(&n), "{point}: {n}");
        }
        let none: Chaos = "kill:0".parse().unwrap();
        let all: Chaos = "kill:1,at:after".parse().unwrap();
        assert!((0..1000).all(|task| none.hit(task, 1, 0).is_none()));
        assert!((0..1000).all(|task| all.hit(task, 1, 0) == Some(ChaosPoint::AfterTask)));
        let other: Chaos = "kill:0.2,seed:8".parse().unwrap();
        assert!((0..100).any(|task| chaos.hit(task, 1, 0) != other.hit(task, 1, 0)));
        assert!((0..100).any(|task| chaos.hit(task, 1, 0) != chaos.hit(task, 2, 0)));
        assert!((0..100).any(|task| chaos.hit(task, 1, 0) != chaos.hit(task, 1, 1)));
    }
}
