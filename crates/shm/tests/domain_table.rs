//! The participant table: one slot for each living thread, given again after a death and never before.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use procession_raw::{Id, NoSlot, Owners};
use procession_shm::domain::{Domain, JoinError, OBITUARY, Participant, TICK};
use procession_sys::caps;
use procession_sys::identity::ProcessIdentity;
use procession_sys::life::{LifeSlot, Registration, SLOT_SIZE, UNREGISTERED};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::processes::State;
use procession_testkit::roles::{self, Role, RoleProcess};
use procession_testkit::{Signal, guarded};

const LIMIT: Duration = Duration::from_secs(60);

fn descriptor(domain: &Domain) -> OwnedFd {
    std::os::fd::AsFd::as_fd(domain).try_clone_to_owned().unwrap()
}

/// Joins in a thread that ends then, and waits for its death.
fn join_and_end(domain: &Domain) -> Id {
    let id = thread::scope(|scope| scope.spawn(|| domain.join().unwrap()).join().unwrap());
    while !domain.is_dead(id) {}
    id
}

/// A process that joins, says its id, and stays.
fn stay() {
    let domain = Domain::attach(roles::handed("domain")).unwrap();
    roles::say(&domain.join().unwrap().to_bits().to_string());
    drop(roles::hear());
}

fn member(domain: &Domain, role: Role) -> (RoleProcess, Id) {
    let mut process = role.hand("domain", descriptor(domain)).spawn();
    let bits = process.hear(LIMIT).expect("its id");
    (process, Id::from_bits(bits.parse().unwrap()))
}

#[test]
fn each_living_thread_has_one_slot_of_its_own() {
    guarded(|| {
        const N: usize = 24;
        let domain = Domain::create().unwrap();
        let all_in = Barrier::new(N);
        let ids = thread::scope(|scope| {
            let join = || {
                let id = domain.join().unwrap();
                all_in.wait();
                assert_eq!(domain.clone().join(), Ok(id), "again, and by another handle");
                assert_eq!(domain.me(), Ok(id));
                assert!(!domain.is_dead(id));
                assert_eq!(domain.dead_owner(id), None);
                assert_eq!(domain.registration(), Some(Registration::Kernel));
                all_in.wait();
                id
            };
            let threads: Vec<_> = (0..N).map(|_| scope.spawn(join)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let slots: HashSet<_> = ids.iter().map(|id| id.slot()).collect();
        assert_eq!(slots.len(), N, "{ids:?}");
        for id in ids {
            while !domain.is_dead(id) {}
            assert!(domain.watch(id).is_none());
        }
        assert_eq!(domain.occupancy().living, 0);
        assert_eq!(domain.occupancy().free, domain.n_slots());
    });
}

#[test]
fn ids_of_a_slot_do_not_come_back_soon() {
    guarded(|| {
        let domain = Domain::with_slots(1).unwrap();
        let ids: HashSet<_> = (0..300).map(|_| join_and_end(&domain)).collect();
        assert_eq!(ids.len(), 300);
        assert!(ids.iter().all(|id| id.slot() == 0 && domain.is_dead(*id)));
    });
}

#[test]
fn a_round_goes_through_all_slots() {
    guarded(|| {
        let domain = Domain::with_slots(16).unwrap();
        let slots: HashSet<_> = (0..16).map(|_| join_and_end(&domain).slot()).collect();
        assert_eq!(slots.len(), 16);
    });
}

#[test]
fn a_full_table_is_an_error_and_a_death_makes_room() {
    if roles::role().is_some() {
        return stay();
    }
    guarded(|| {
        let domain = Domain::with_slots(2).unwrap();
        let (mut first, a) = member(&domain, Role::new("stays"));
        let (mut second, b) = member(&domain, Role::new("stays"));
        assert_ne!(a.slot(), b.slot());
        assert_eq!(domain.join(), Err(JoinError::Full { n_slots: 2 }));
        assert_eq!(domain.me(), Err(NoSlot));

        second.signal(Signal::STOP);
        while second.identity().state() != Some(State::Stopped) {
            thread::yield_now();
        }
        assert_eq!(domain.join(), Err(JoinError::Full { n_slots: 2 }), "stopped is not dead");
        assert!(!domain.is_dead(b) && domain.dead_owner(b).is_none());

        first.kill();
        while !domain.is_dead(a) {}
        let dead: Participant = domain.dead_owner(a).unwrap();
        assert_eq!(dead.pid, first.pid());
        assert_eq!(dead.namespace, ProcessIdentity::current().unwrap().namespace);
        assert!(dead.tid > dead.pid && dead.started > 0);
        assert_eq!(domain.occupancy().dead, 1);
        let ours = domain.join().unwrap();
        assert_eq!(ours.slot(), a.slot());
        assert!(domain.is_dead(a) && !domain.is_dead(ours));
        assert_eq!(domain.dead_owner(a), None, "its slot is somebody else's");
        second.kill();
    });
}

#[test]
fn a_thread_keeps_its_slot_while_handles_come_and_go() {
    guarded(|| {
        thread::spawn(|| {
            let domain = Domain::create().unwrap();
            let fd = descriptor(&domain);
            let id = domain.join().unwrap();
            drop(domain);
            let domain = Domain::attach(fd).unwrap();
            assert!(!domain.is_dead(id));
            assert_eq!(domain.join(), Ok(id));
            // With a handle, joining another changes nothing; without, it leaves.
            let other = Domain::create().unwrap();
            other.join().unwrap();
            assert!(!domain.is_dead(id));
            let memory = Memfd::adopt(descriptor(&domain)).unwrap();
            drop(domain);
            Domain::create().unwrap().join().unwrap();
            let domain = Domain::attach(memory.into_fd()).unwrap();
            assert!(domain.is_dead(id));
            assert_ne!(domain.join(), Ok(id));
        })
        .join()
        .unwrap();
    });
}

#[test]
fn a_thread_that_ends_stays_until_its_locals_are_dropped() {
    struct Last(Domain, mpsc::Sender<Result<Id, JoinError>>);
    impl Drop for Last {
        fn drop(&mut self) {
            let _ = self.1.send(self.0.join());
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    guarded(|| {
        // Thread locals are dropped in the order in which they came, or against it: both are tried.
        for join_first in [true, false] {
            let (domain, (sender, answer)) = (Domain::create().unwrap(), mpsc::channel());
            let theirs = domain.clone();
            let thread = thread::spawn(move || {
                let join = || theirs.join().unwrap();
                let early = join_first.then(join);
                LAST.with(|last| last.replace(Some(Last(theirs.clone(), sender))));
                early.unwrap_or_else(join)
            });
            let id = thread.join().unwrap();
            assert!(domain.is_dead(id) && domain.occupancy().living == 0, "it has left");
            assert_eq!(answer.recv().unwrap(), Ok(id), "the guards that it drops there are its own");
        }
    });
}

#[test]
fn a_told_death_wakes_and_counts() {
    if let Some(role) = roles::role() {
        if role == "stays" {
            return stay();
        }
        // Without the obituary nothing is told.
        let domain = Domain::create().unwrap();
        domain.note_death(join_and_end(&domain));
        return assert_eq!(domain.obituary().load(SeqCst), 0);
    }
    guarded(|| {
        let domain = Domain::create().unwrap();
        let ours = domain.join().unwrap();
        domain.note_death(ours);
        domain.note_process_death(&ProcessIdentity::current().unwrap());
        domain.note_child_death(std::process::id());
        assert_eq!(domain.obituary().load(SeqCst), 0, "we live");
        domain.note_death(join_and_end(&domain));
        assert_eq!(domain.obituary().load(SeqCst), 1);
        domain.note_death(Id::new(4095, 7));
        assert_eq!(domain.obituary().load(SeqCst), 2, "whoever it was, it is not alive");

        for (off, by_number) in [("", false), ("robust_list", false), ("", true), ("robust_list", true)] {
            let (process, id) = member(&domain, Role::new("stays").env(caps::SWITCH, off));
            let who = ProcessIdentity::of(process.pid()).unwrap();
            let before = domain.obituary().load(SeqCst);
            process.identity().kill(Signal::KILL).unwrap();
            assert!(process.identity().wait_ended(LIMIT));
            if by_number {
                domain.note_child_death(who.pid);
            } else {
                domain.note_process_death(&who);
            }
            assert_eq!(domain.obituary().load(SeqCst), before + 1);
            assert!(domain.is_dead(id));
        }
        Role::new("silent").env(OBITUARY, "off").spawn().wait_with_output(LIMIT).expect_success();
    });
}

/// The slot of `id`, seen past the domain.
fn slot_of(mapping: &Mapping, id: Id) -> (&LifeSlot, usize) {
    let offset = 4096 + id.slot() as usize * SLOT_SIZE;
    (LifeSlot::at(mapping, offset), offset)
}

#[test]
fn a_number_used_again_is_not_the_owner() {
    match roles::role().as_deref() {
        Some("prover") => {
            let domain = Domain::attach(roles::handed("domain")).unwrap();
            let id = Id::from_bits(roles::hear().unwrap().parse().unwrap());
            while !domain.is_dead(id) {}
            assert!(domain.dead_owner(id).is_some());
            return;
        }
        Some(_) => return stay(),
        None => {}
    }
    guarded(|| {
        let domain = Domain::with_slots(1).unwrap();
        let (process, id) = member(&domain, Role::new("stays").env(caps::SWITCH, "robust_list"));
        assert!(!domain.is_dead(id) && domain.watch(id).is_some());
        assert_eq!(domain.join(), Err(JoinError::Full { n_slots: 1 }));

        // As if the owner had died unseen and its numbers had been given to a later process.
        let mapping = Mapping::shared(&Memfd::adopt(descriptor(&domain)).unwrap()).unwrap();
        let (slot, offset) = slot_of(&mapping, id);
        let owner = slot.owner();
        let fields = (0..SLOT_SIZE).step_by(8).map(|at| mapping.atomic_u64(offset + at));
        let started = fields.rev().find(|word| word.load(Acquire) == owner.thread_started).unwrap();
        started.fetch_sub(1, SeqCst);

        let mut prover = Role::new("prover").env(TICK, "5").hand("domain", descriptor(&domain)).spawn();
        prover.say(&id.to_bits().to_string());
        prover.wait_with_output(LIMIT).expect_success();
        assert!(domain.is_dead(id), "it is marked for everybody");
        assert_eq!(domain.dead_owner(id).unwrap().started, owner.thread_started - 1);
        assert_eq!(domain.join().unwrap().slot(), 0);
        drop(process);
    });
}

#[test]
fn an_owner_who_never_said_who_it_was_is_replaced() {
    guarded(|| {
        let domain = Domain::with_slots(1).unwrap();
        let id = join_and_end(&domain);
        let gone = domain.dead_owner(id).unwrap().tid;
        let mapping = Mapping::shared(&Memfd::adopt(descriptor(&domain)).unwrap()).unwrap();
        let (slot, offset) = slot_of(&mapping, id);
        let words = (0..64).step_by(4).map(|at| mapping.atomic_u32(offset + at));
        let layout = procession_sys::life::layout().unwrap();
        let life = words.into_iter().find(|w| std::ptr::eq(*w, slot.word(&layout))).unwrap();
        // As an owner leaves it who was killed between taking the slot and naming itself.
        slot.id().store(0, SeqCst);
        life.store(gone | UNREGISTERED, SeqCst);
        let again = thread::scope(|scope| scope.spawn(|| domain.join()).join().unwrap());
        assert_ne!(again.unwrap(), id);

        // The same, where its number may be of another pid namespace: then nobody can know.
        while domain.occupancy().living > 0 {}
        slot.id().store(0, SeqCst);
        life.store(gone | UNREGISTERED, SeqCst);
        mapping.atomic_u32(128).store(1, SeqCst);
        assert_eq!(domain.join(), Err(JoinError::Full { n_slots: 1 }));
    });
}

#[test]
fn a_word_that_is_the_next_owner_s_revives_nobody() {
    guarded(|| {
        let domain = Domain::with_slots(1).unwrap();
        let before = join_and_end(&domain);
        let mapping = Mapping::shared(&Memfd::adopt(descriptor(&domain)).unwrap()).unwrap();
        let (slot, _) = slot_of(&mapping, before);
        let layout = procession_sys::life::layout().unwrap();
        // A rival took the word and was stopped before it removed the id of the dead.
        slot.word(&layout).store(std::process::id() | 1 << 21, SeqCst);
        assert!(domain.is_dead(before));
        assert!(domain.watch(before).is_none());
    });
}
