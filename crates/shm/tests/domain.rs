//! A domain as a thing: made, found again, sent, refused when damaged, and described.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use procession_codec::{Codec, Postcard, handles};
use procession_raw::{Id, Owners};
use procession_shm::domain::{Domain, DomainError, OBITUARY, TICK};
use procession_sys::caps;
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::roles::{self, Role};
use procession_testkit::{Storm, counted, guarded};

const LIMIT: Duration = Duration::from_secs(60);

fn descriptor(domain: &Domain) -> OwnedFd {
    domain.as_fd().try_clone_to_owned().unwrap()
}

/// How many mappings of domains this process has.
fn n_mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:procession-domain")).count()
}

#[test]
fn nothing_stays_of_a_domain_that_was_dropped() {
    counted(|| {
        let domain = Domain::create().unwrap();
        assert_eq!(n_mapped(), 1);
        let id = std::thread::scope(|scope| scope.spawn(|| domain.join().unwrap()).join().unwrap());
        while !domain.is_dead(id) {}
        let again = Domain::attach(descriptor(&domain)).unwrap();
        assert_eq!((&again, n_mapped()), (&domain, 1));
        assert_eq!(Domain::known(domain.id()).as_ref(), Some(&domain));
        let other = Domain::create().unwrap();
        assert_ne!(other.id(), domain.id());
        let name = domain.id();
        drop((domain, again));
        assert_eq!(Domain::known(name), None);
    });
}

#[test]
fn there_is_one_of_the_tree() {
    match roles::role().as_deref() {
        Some("given") => {
            let given = Domain::adopt(roles::handed("domain")).unwrap();
            assert_eq!(Domain::current().unwrap(), given);
            assert_eq!(Domain::adopt(descriptor(&given)).unwrap(), given);
            let other = Domain::create().unwrap();
            let refused = Domain::adopt(descriptor(&other)).unwrap_err();
            assert!(matches!(refused, DomainError::AnotherIsCurrent), "{refused}");
            return roles::say(&format!("{:?}", given.id()));
        }
        Some(_) => {
            let made = Domain::current().unwrap();
            assert_eq!(Domain::current().unwrap(), made);
            assert_eq!(made.occupancy().living, 0, "having it is not joining it");
            let refused = Domain::adopt(roles::handed("domain")).unwrap_err();
            assert!(matches!(refused, DomainError::AnotherIsCurrent), "{refused}");
            return;
        }
        None => {}
    }
    guarded(|| {
        let domain = Domain::create().unwrap();
        let given = Role::new("given").hand("domain", descriptor(&domain)).spawn();
        assert_eq!(given.wait_with_output(LIMIT).expect_success().said, [format!("{:?}", domain.id())]);
        let made = Role::new("has one").hand("domain", descriptor(&domain)).spawn();
        made.wait_with_output(LIMIT).expect_success();
    });
}

#[test]
fn a_domain_travels_in_a_message() {
    guarded(|| {
        let domain = Domain::create().unwrap();
        let mut bytes = Vec::new();
        let value = (7_u32, domain.clone());
        let ((), outgoing) = handles::collect(|| Postcard::encode_into(&value, &mut bytes)).unwrap();
        let arrived = outgoing.descriptors().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        outgoing.commit();
        let back: (u32, Domain) = handles::supply(arrived, || Postcard::decode(&bytes)).unwrap();
        assert_eq!(back, value);
        assert!(Postcard::encode_into(&domain, &mut Vec::new()).is_err(), "nothing carries it here");
        // A descriptor of something else is refused.
        let page = Memfd::sealed("page", 4096).unwrap().into_fd();
        let wrong: Result<(u32, Domain), _> = handles::supply(vec![page], || Postcard::decode(&bytes));
        assert!(wrong.unwrap_err().to_string().contains("not a domain"));
    });
}

/// Memory that begins like a domain with 4 slots, changed.
fn damaged(change: impl FnOnce(&Mapping)) -> Result<Domain, DomainError> {
    let model = Domain::with_slots(4).unwrap();
    let memory = Memfd::adopt(descriptor(&model)).unwrap();
    let bytes = memory.read_all().unwrap();
    let copy = Memfd::sealed("copy", memory.len()).unwrap();
    let mapping = Mapping::shared(&copy).unwrap();
    mapping.write(0, &bytes);
    // Another id, else it would be found and not looked at.
    mapping.atomic_u64(32).fetch_xor(1, Relaxed);
    change(&mapping);
    Domain::attach(copy.into_fd())
}

#[test]
fn a_damaged_header_is_refused() {
    guarded(|| {
        damaged(|_| ()).expect("the copy is as good as the model");
        let with = |offset: usize, value: u32| damaged(|m| m.atomic_u32(offset).store(value, Relaxed));
        for (offset, value) in [(0, 0), (4, 0)] {
            assert!(matches!(with(offset, value), Err(DomainError::NotADomain)), "magic at {offset}");
        }
        assert!(matches!(with(8, 9), Err(DomainError::OtherVersion { found: 9, .. })));
        for (offset, value) in [(12, 64), (16, 0), (16, 3), (16, 5), (16, 4097), (16, u32::MAX), (20, 0)] {
            assert!(matches!(with(offset, value), Err(DomainError::Damaged { .. })), "{value} at {offset}");
        }
        let no_id = damaged(|m| m.write(32, &[0; 16]));
        assert!(matches!(no_id, Err(DomainError::Damaged { .. })));
        for (offset, value) in [(24, 12), (24, u32::MAX), (64, 1), (124, 1)] {
            assert!(matches!(with(offset, value), Err(DomainError::OtherLibc)), "{value} at {offset}");
        }
        for len in [0, 1, 4095, 4096] {
            let short = Memfd::sealed("short", len).unwrap();
            assert!(matches!(Domain::attach(short.into_fd()), Err(DomainError::NotADomain)), "{len}");
        }
        let frozen = Memfd::from_bytes("frozen", &[0; 8192]).unwrap();
        assert!(matches!(Domain::attach(frozen.into_fd()), Err(DomainError::Os(_))));
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert!(matches!(Domain::attach(pipe.into()), Err(DomainError::Os(_))));
    });
}

#[test]
fn whatever_stands_in_the_slots_every_call_returns() {
    guarded(|| {
        let mut storm = Storm::seeded();
        for _ in 0..50 {
            let noise = |m: &Mapping, storm: &mut Storm| {
                for at in (128..m.len()).step_by(4).filter(|at| *at >= 4096 || at % 128 == 0) {
                    // Small numbers too: they look like threads.
                    let shift = *storm.pick(&[0, 10, 20, 31]);
                    m.atomic_u32(at).store(storm.bits() as u32 >> shift, Relaxed);
                }
            };
            let domain = damaged(|m| noise(m, &mut storm)).unwrap();
            for _ in 0..200 {
                let id = Id::from_bits(storm.bits() as u32);
                domain.is_dead(id);
                domain.watch(id);
                domain.pass_on(id);
                domain.note_death(id);
                domain.dead_owner(id);
            }
            domain.occupancy();
            let joined = std::thread::scope(|scope| scope.spawn(|| domain.join()).join().unwrap());
            if let Ok(id) = joined {
                assert!(id.slot() < 4);
            }
        }
    });
}

#[test]
fn diagnostics_say_what_is_used() {
    if let Some(role) = roles::role() {
        let found = Domain::current().unwrap().diagnostics();
        let text = found.to_string();
        let expected: &[&str] = match role.as_str() {
            "robust_list" => &["by: their identity, at ticks\n", "by a death: at ticks\n", "obituary: on\n"],
            "waitv" => {
                &["deaths are told by: the kernel\n", "by a death: at ticks\n", "waitv: switched off\n"]
            }
            _ => &["by: the kernel\n", "by a death: yes\n", "tick: 10s\n", "obituary: switched off\n"],
        };
        for line in expected {
            assert!(text.contains(line), "{role}: {text}");
        }
        return;
    }
    guarded(|| {
        let without = ["robust_list", "waitv"].map(|off| Role::new(off).env(caps::SWITCH, off));
        let options = Role::new("options").env(TICK, "10000").env(OBITUARY, "off");
        for role in without.into_iter().chain([options]) {
            role.spawn().wait_with_output(LIMIT).expect_success();
        }
    });
}
