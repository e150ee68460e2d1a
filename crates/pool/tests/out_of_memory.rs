//! A worker that the kernel ends because its control group has no memory left: what is told of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_pool::{Pool, TaskFailed};
use procession_process::Signal;
use procession_testkit::roles::{self, Role, role};
use procession_testkit::{guarded, skip};

const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: &str = "PROCESSION_TEST_GROUP";

/// A control group below our own that may have 96 MiB, removed at the end.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
        let own = |prefix: &str, mount: &str| {
            let path = groups.lines().find_map(|line| line.split_once(prefix))?.1;
            Some(Path::new(mount).join(path.trim_start_matches('/')))
        };
        let (parent, limit) = match own(":memory:", "/sys/fs/cgroup/memory") {
            Some(parent) => (parent, "memory.limit_in_bytes"),
            None => (own("0::", "/sys/fs/cgroup").ok_or("no control group")?, "memory.max"),
        };
        let group = Self(parent.join(format!("procession-test-{}", std::process::id())));
        fs::create_dir(&group.0).map_err(|e| format!("making {}: {e}", group.0.display()))?;
        fs::write(group.0.join(limit), (96 << 20).to_string())
            .map_err(|e| format!("limiting memory: {e}"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn greedy(mebibytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; mebibytes << 20]).len()
}

fn in_the_group() {
    let group = PathBuf::from(std::env::var_os(GROUP).unwrap());
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let pool = Pool::builder().workers(1).name("render").build().unwrap();
    assert_eq!(pool.submit(greedy, 1).unwrap().get().unwrap(), 1 << 20);
    let failed = pool.submit(greedy, 400).unwrap().get().unwrap_err();
    let TaskFailed::WorkerDied { exit, report, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(exit.signal(), Some(Signal::KILL));
    assert_eq!(report.oom_kills(), 1);
    for line in failed.to_string().lines() {
        roles::say(line.trim());
    }
    assert_eq!(pool.submit(greedy, 1).unwrap().get().unwrap(), 1 << 20, "the next worker is not affected");
}

#[test]
fn the_kernel_s_kills_are_told() {
    if role().is_some() {
        return in_the_group();
    }
    guarded(|| {
        let group = match Group::new() {
            Ok(group) => group,
            Err(why) => skip!("memory-cgroup", &why),
        };
        let mut process = Role::new("limited").env(GROUP, group.0.to_str().unwrap()).spawn();
        let mut said = Vec::new();
        while let Some(line) = process.hear(PATIENCE) {
            said.push(line);
        }
        process.wait_with_output(PATIENCE).expect_success();
        assert!(
            said[0].contains("task 2 of pool render is lost") && said[0].contains("killed by SIGKILL"),
            "{said:?}"
        );
        assert!(said[1].starts_with("ran       out_of_memory::greedy, "), "{said:?}");
        let memory = said.iter().find(|line| line.starts_with("memory")).expect("a line about memory");
        assert!(memory.ends_with("the control group counted 1 out-of-memory kill"), "{said:?}");
        assert_eq!(said.last().unwrap(), "help      fewer workers, memory_limit(..), or recycle_above(..)");
    });
}
