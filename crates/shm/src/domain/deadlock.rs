//! Reports of waits that take too long: who waits for whom, and whether they wait in a circle.
//!
//! Invariant: a report is made of what threads said before they slept, and claims nothing more. Held by `tests/waits.rs`.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use procession_raw::Id;
use procession_sys::life::SlotOwner;
use procession_sys::stderr;

use super::waits::Waiter;
use super::{Domain, Participant};

/// The environment variable that has waits reported that take longer than it says: `PROCESSION_DEADLOCK=1` is five
/// seconds, `PROCESSION_DEADLOCK=250ms` and `PROCESSION_DEADLOCK=30s` are what they say.
pub const DEADLOCK: &str = "PROCESSION_DEADLOCK";

/// After `1` and nothing more.
const USUAL: Duration = Duration::from_secs(5);
/// In milliseconds, and one more; 0: not asked yet.
static LIMIT: AtomicU64 = AtomicU64::new(0);
const NEVER: u64 = u64::MAX;

/// Has this process write a [`DeadlockReport`] to its standard error when one of its threads has waited so long for a
/// lock; `None`: never, which is the default. Each wait is reported once, before it sleeps or at a tick; what nobody takes
/// from standard error at once is left out. Goes before [`DEADLOCK`].
///
/// # Examples
/// ```
/// use procession_shm::domain::report_deadlocks;
/// report_deadlocks(Some(std::time::Duration::from_secs(10)));
/// ```
pub fn report_deadlocks(after: Option<Duration>) {
    LIMIT.store(word(after), Relaxed);
}

/// After how long a wait is reported.
pub(crate) fn limit() -> Option<Duration> {
    let limit = match LIMIT.load(Relaxed) {
        0 => {
            let _ = LIMIT.compare_exchange(0, from_environment(), Relaxed, Relaxed);
            LIMIT.load(Relaxed)
        }
        limit => limit,
    };
    (limit != NEVER).then(|| Duration::from_millis(limit - 1))
}

fn from_environment() -> u64 {
    static SAID: OnceLock<u64> = OnceLock::new();
    *SAID.get_or_init(|| word(std::env::var(DEADLOCK).ok().and_then(|text| parse(&text))))
}

fn word(limit: Option<Duration>) -> u64 {
    limit.map_or(NEVER, |limit| {
        u64::try_from(limit.as_millis()).map_or(NEVER, |millis| millis.saturating_add(1))
    })
}

fn parse(text: &str) -> Option<Duration> {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    if let Some(seconds) = text.strip_suffix('s') {
        return seconds.parse().ok().map(Duration::from_secs);
    }
    matches!(text, "1" | "on" | "true" | "yes").then_some(USUAL)
}

/// Who waits for whom in a domain at one moment. Displays in a line for each waiter and one for each circle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadlockReport {
    /// Everybody who waits.
    pub waiters: Vec<Waiter>,
    /// Those who wait for each other, so that none of them can go on: each waits for the next, the last for the first.
    pub cycles: Vec<Vec<Participant>>,
}

impl Domain {
    /// Who waits for whom, and in which circles. Does not wait.
    ///
    /// # Examples
    /// ```
    /// let domain = procession_shm::domain::Domain::current()?;
    /// println!("{}", domain.deadlock_report());
    /// # Ok::<(), procession_shm::domain::DomainError>(())
    /// ```
    pub fn deadlock_report(&self) -> DeadlockReport {
        let waiters = self.waiters();
        let cycles = cycles(&waiters);
        DeadlockReport { waiters, cycles }
    }
}

/// Each waiter waits for one other at most, so each is in one circle at most.
fn cycles(waiters: &[Waiter]) -> Vec<Vec<Participant>> {
    let find = |id: Id| waiters.iter().find(|waiter| waiter.id == id);
    let mut cycles = Vec::new();
    for first in waiters {
        let mut path = vec![first];
        while let Some(next) = path.last().and_then(|last| find(last.holder_id?)) {
            if next.id == first.id {
                // The same circle is found from each of its members: keep it for the first of them.
                if path.iter().all(|member| first.id.to_bits() <= member.id.to_bits()) {
                    cycles.push(path.iter().map(|member| member.who).collect());
                }
                break;
            }
            if path.iter().any(|member| member.id == next.id) {
                break;
            }
            path.push(next);
        }
    }
    cycles
}

/// Writes the report of a wait that takes too long; as much of it as is taken at once, since others wait for this thread.
pub(crate) fn tell(domain: &Domain, after: Duration) {
    stderr::tell(&format!("procession: waiting for {after:.1?}\n{}\n", domain.deadlock_report()));
}

/// A thread as a report names it.
struct Who<'a>(&'a Participant);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.pid)?;
        if self.0.tid != self.0.pid {
            write!(f, "/{}", self.0.tid)?;
        }
        // Under these numbers another namespace has others.
        if self.0.namespace == 0 || self.0.namespace != SlotOwner::current().namespace {
            return Ok(());
        }
        match std::fs::read_to_string(format!("/proc/{}/task/{}/comm", self.0.pid, self.0.tid)) {
            Ok(name) => write!(f, " ({})", name.trim_end().escape_debug()),
            Err(_) => Ok(()),
        }
    }
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.waiters.is_empty() {
            return f.write_str("nobody waits for a lock");
        }
        for (at, waiter) in self.waiters.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            let (inode, offset) = waiter.place;
            write!(
                f,
                "{line}{} waits for {} {inode}+{offset}",
                Who(&waiter.who),
                waiter.what.escape_debug()
            )?;
            match &waiter.holder {
                Some(holder) if waiter.holder_id.is_none() => {
                    write!(f, ", held by {} and others", Who(holder))?;
                }
                Some(holder) => write!(f, ", held by {}", Who(holder))?,
                None => f.write_str(", held by nobody who is known")?,
            }
            write!(f, ", since {:.1?}", waiter.since)?;
        }
        for cycle in &self.cycles {
            f.write_str("\ndeadlock: ")?;
            for who in cycle {
                write!(f, "{} -> ", Who(who))?;
            }
            write!(f, "{}", Who(&cycle[0]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(id: u32, holder: u32) -> Waiter {
        let who = |pid| Participant { pid, tid: pid, namespace: 0, started: 0 };
        Waiter {
            who: who(id),
            holder: Some(who(holder)),
            what: "Mutex".into(),
            place: (1, 64),
            since: Duration::from_secs(2),
            id: Id::from_bits(id),
            holder_id: Some(Id::from_bits(holder)),
        }
    }

    #[test]
    fn circles_are_found_once_and_queues_are_none() {
        let of = |pairs: &[(u32, u32)]| {
            let waiters: Vec<_> = pairs.iter().map(|&(a, b)| waiter(a, b)).collect();
            let pids = |cycle: Vec<Participant>| cycle.iter().map(|who| who.pid).collect::<Vec<_>>();
            cycles(&waiters).into_iter().map(pids).collect::<Vec<_>>()
        };
        assert!(of(&[]).is_empty());
        assert!(of(&[(1, 2), (2, 3), (4, 3)]).is_empty());
        assert_eq!(of(&[(2, 1), (1, 2)]), [vec![1, 2]]);
        // A tail that leads into a circle is no part of it.
        assert_eq!(
            of(&[(9, 5), (5, 7), (7, 6), (6, 5), (1, 9), (3, 4), (4, 3)]),
            [vec![5, 7, 6], vec![3, 4]]
        );
        assert_eq!(of(&[(8, 8)]), [vec![8]]);
    }

    #[test]
    fn a_report_says_who_what_and_whom() {
        // Numbers of no process.
        let [a, b] = [0x0fff_0001, 0x0fff_0002];
        let waiters = vec![waiter(a, b), waiter(b, a)];
        let report = DeadlockReport { cycles: cycles(&waiters), waiters };
        assert_eq!(
            report.to_string(),
            format!(
                "{a} waits for Mutex 1+64, held by {b}, since 2.0s\n\
                 {b} waits for Mutex 1+64, held by {a}, since 2.0s\n\
                 deadlock: {a} -> {b} -> {a}"
            )
        );
    }

    #[test]
    fn threads_of_other_namespaces_have_no_name_here() {
        let me = Participant::from(SlotOwner::current());
        let named = Who(&me).to_string();
        assert!(named.contains(" ("), "{named}");
        let other = Participant { namespace: me.namespace + 1, ..me };
        assert_eq!(Who(&other).to_string(), named[..named.find(" (").unwrap()]);
    }

    #[test]
    fn limits() {
        assert_eq!(parse("1"), Some(USUAL));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        for text in ["", "0", "off", "soon", "s", "ms"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
