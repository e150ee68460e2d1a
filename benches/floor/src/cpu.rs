//! On which processors the two sides of a scenario run.

use rustix::thread::CpuSet;

/// Where both sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Each on a processor of its own; on the same, where there is only one.
    Cross,
    /// Both on the same.
    Same,
    /// Wherever the scheduler puts them: on one or on two, by chance.
    Anywhere,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The parent, or the first child.
    Near,
    /// The child, or the second one.
    Far,
}

/// The processors that this process may use, as it was when first asked.
pub fn available() -> &'static [usize] {
    static AVAILABLE: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    AVAILABLE.get_or_init(|| {
        let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
    })
}

/// Whether two sides can have a processor each.
pub fn has_two() -> bool {
    available().len() >= 2
}

/// Binds the calling thread, and what it forks from now on, to the processor of this side.
pub fn pin(placement: Placement, side: Side) {
    let at = usize::from(placement == Placement::Cross && side == Side::Far);
    match available() {
        all if placement == Placement::Anywhere => bind(all),
        all => bind(all.get(at).or(all.first()).map(std::slice::from_ref).unwrap_or_default()),
    }
}

fn bind(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    if set.count() > 0 {
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}
