//! Two processes and one memory: what one writes the other reads, and what a killed one wrote stays.

use std::os::fd::AsFd;
use std::time::Duration;

use procession_shm::{Atomic, ReadSegment, Segment};
use procession_testkit::roles::{self, Role};
use procession_testkit::{counted, role};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn both_add_and_nothing_is_lost() {
    const EACH: u64 = 20_000;
    if role().is_some() {
        let total = Atomic::<u64>::try_from(roles::handed("total")).unwrap();
        let sum = Atomic::<f64>::try_from(roles::handed("sum")).unwrap();
        for _ in 0..EACH {
            total.fetch_add(1);
            sum.fetch_add(0.5);
        }
        return;
    }
    counted(|| {
        let (total, sum) = (Atomic::new(0_u64).unwrap(), Atomic::new(0.0).unwrap());
        let children = [(); 2].map(|()| {
            let duplicate = |fd: &dyn AsFd| fd.as_fd().try_clone_to_owned().unwrap();
            Role::new("adder").hand("total", duplicate(&total)).hand("sum", duplicate(&sum)).spawn()
        });
        for _ in 0..EACH {
            total.fetch_add(1);
        }
        for child in children {
            child.wait_with_output(LIMIT).expect_success();
        }
        assert_eq!((total.load(), sum.load()), (3 * EACH, EACH as f64));
    });
}

#[test]
fn what_a_killed_writer_wrote_stays() {
    if role().is_some() {
        let segment = Segment::try_from(roles::handed("segment")).unwrap();
        segment.put(0, &[1.5_f64, 2.5]).unwrap();
        roles::say("written");
        let _ = roles::hear();
        return;
    }
    counted(|| {
        let segment = Segment::new(4096).unwrap();
        let fd = segment.as_fd().try_clone_to_owned().unwrap();
        let mut child = Role::new("writer").hand("segment", fd).spawn();
        assert_eq!(child.hear(LIMIT).as_deref(), Some("written"));
        child.kill();
        assert!(child.identity().wait_ended(LIMIT));
        assert_eq!(segment.get::<[f64; 2]>(0).unwrap(), [1.5, 2.5]);
    });
}

#[test]
fn a_reader_in_another_process_can_only_read() {
    if role().is_some() {
        let fd = roles::handed("news");
        assert!(rustix::io::pwrite(&fd, b"N", 64).is_err());
        assert!(Segment::try_from(fd.try_clone().unwrap()).is_err());
        let news = ReadSegment::try_from(fd).unwrap();
        while roles::hear().is_some() {
            roles::say(&news.get::<u64>(0).unwrap().to_string());
        }
        return;
    }
    counted(|| {
        let news = Segment::new(8).unwrap();
        let fd = news.read_only().unwrap().as_fd().try_clone_to_owned().unwrap();
        let mut reader = Role::new("reader").hand("news", fd).spawn();
        for n in 0..3_u64 {
            news.put(0, &n).unwrap();
            reader.say("now");
            assert_eq!(reader.hear(LIMIT), Some(n.to_string()));
        }
        reader.wait_with_output(LIMIT).expect_success();
    });
}
