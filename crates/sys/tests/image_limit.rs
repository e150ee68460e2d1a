//! A process that had no descriptor left when it first asked for its image can start others once it has one again.
//! One test, in a process of its own, as it must be the first to ask, and moves a limit of the whole process.

use std::time::Duration;

use procession_sys::image::ImageId;
use procession_testkit::guarded;
use procession_testkit::roles::{self, Role, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_failure_to_look_at_the_image_does_not_last() {
    if role().is_some() {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: before.maximum }).unwrap();
        let refused = [ImageId::current(), ImageId::current()].map(Result::unwrap_err);
        setrlimit(Resource::Nofile, before).unwrap();
        let found = ImageId::current().unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: before.maximum }).unwrap();
        assert_eq!(ImageId::current().unwrap(), found, "a success lasts");
        setrlimit(Resource::Nofile, before).unwrap();
        for error in refused {
            assert_eq!(error.errno(), Some(libc::EMFILE), "{error}");
            assert_eq!(error.doing(), "looking at /proc/self/exe");
        }
        return roles::say(&format!("{found:?}"));
    }
    guarded(|| {
        let mut child = Role::new("starved").spawn();
        let theirs = child.hear(LIMIT);
        child.wait_with_output(LIMIT).expect_success();
        assert_eq!(theirs, Some(format!("{:?}", ImageId::current().unwrap())), "one program");
    });
}
