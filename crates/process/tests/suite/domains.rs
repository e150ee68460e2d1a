//! The domain of the tree: every process has it before it decodes anything, and none has joined it by that.

use std::os::fd::OwnedFd;

use procession_codec::{Bytes, Descriptor};
use procession_process::Process;
use procession_shm::domain::{Domain, DomainId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Start;

fn current() -> [u64; 2] {
    Domain::current().unwrap().id().to_words()
}

/// The domains of as many generations, the caller's first; nobody may have joined one by having it.
fn generations(n: u32) -> Vec<[u64; 2]> {
    let domain = Domain::current().unwrap();
    assert_eq!(domain.registration(), None, "having it is not joining it");
    let mut ids = vec![current()];
    if n > 1 {
        ids.extend(Process::builder().spawn(generations, n - 1).unwrap().join().unwrap());
    }
    ids
}

pub(crate) fn the_domain_is_the_tree_s(start: Start) {
    let ours = current();
    assert_eq!(start().spawn(generations, 3).unwrap().join().unwrap(), [ours; 3]);
    assert_eq!(start().spawn(generations, 1).unwrap().join().unwrap(), [ours], "and a sibling");
}

/// It is told from the descriptors of the argument, and from the one that holds a long argument.
pub(crate) fn the_domain_comes_beside_everything_else(start: Start) {
    fn check((before, bytes, after): (Descriptor, Bytes, Descriptor)) -> ([u64; 2], usize, [bool; 2]) {
        let is_null = |fd: Descriptor| {
            let fd: OwnedFd = fd.into_owned().unwrap();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
            std::fs::read_link(path).unwrap().ends_with("null")
        };
        (current(), bytes.into_vec().len(), [is_null(before), is_null(after)])
    }
    let null = || Descriptor::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    for length in [1, 100_000] {
        let argument = (null(), Bytes::from(vec![7; length]), null());
        let seen = start().spawn(check, argument).unwrap().join().unwrap();
        assert_eq!(seen, (current(), length, [true; 2]));
    }
}

/// Decodes only where the domain that it names is known.
struct Demanding;

impl Serialize for Demanding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        current().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Demanding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = DomainId::from_words(<[u64; 2]>::deserialize(deserializer)?);
        Domain::known(id).map(|_| Self).ok_or_else(|| de::Error::custom("its domain is not known"))
    }
}

pub(crate) fn the_domain_is_known_before_the_argument(start: Start) {
    start().spawn(drop::<Demanding>, Demanding).unwrap().join().unwrap();
}
