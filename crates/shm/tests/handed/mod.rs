//! Something shared, handed to a role together with the domain of its users.

use std::os::fd::{AsFd, OwnedFd};

use procession_shm::ShmError;
use procession_shm::domain::Domain;
use procession_testkit::roles::{self, Role};

/// A role that gets this.
pub(crate) fn role_with(role: &str, what: &impl AsFd) -> Role {
    let domain = Domain::current().unwrap();
    let duplicate = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned().unwrap();
    Role::new(role).hand("domain", duplicate(&domain)).hand("what", duplicate(what))
}

/// What this role got.
pub(crate) fn got<T: TryFrom<OwnedFd, Error = ShmError>>() -> T {
    Domain::adopt(roles::handed("domain")).unwrap();
    T::try_from(roles::handed("what")).unwrap()
}
