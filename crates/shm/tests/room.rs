//! Where there is no room for a copy as long as the memory says, the answer is an error, and the process lives.
//! One test, as it moves a limit of the whole process.
#![forbid(unsafe_code)]

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use procession_shm::{
    Encoded, EncodedError, ForeignSegment, List, ListError, ReadSegment, Refusal, Segment, ShmError,
};
use procession_sys::memory::{Mapping, Memfd};
use procession_testkit::guarded;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beyond what any allocator keeps for later.
const LARGE: usize = 40 << 20;
/// A tebibyte.
const ENDLESS: u64 = 1 << 40;
/// Bytes before what a type lays out.
const HEADER: usize = 64;

/// Runs `call` where only a mebibyte more of private memory can be had; shared memory does not count.
fn cramped<R>(call: impl FnOnce() -> R) -> R {
    let before = getrlimit(Resource::Data);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let kibibytes: u64 = data.trim().trim_end_matches(" kB").parse().unwrap();
    let most = Some((kibibytes + 1024) << 10);
    setrlimit(Resource::Data, Rlimit { current: most, maximum: before.maximum }).unwrap();
    let answer = call();
    setrlimit(Resource::Data, before).unwrap();
    answer
}

fn descriptor(of: &impl AsFd) -> OwnedFd {
    of.as_fd().try_clone_to_owned().unwrap()
}

fn put(of: &impl AsFd, word: usize, value: u64) {
    let memory = Mapping::shared(&Memfd::adopt(descriptor(of)).unwrap()).unwrap();
    memory.write(HEADER + word * 8, &value.to_ne_bytes());
}

#[test]
fn a_stored_length_for_which_there_is_no_room_is_an_error() {
    let out = |error: &ShmError| assert!(matches!(error, ShmError::OutOfMemory(_)), "{error}");
    guarded(|| {
        // A table of slots: 16 bytes here for each.
        let many = List::with_capacity(LARGE / 16, 8).unwrap();
        out(&cramped(|| List::try_from(descriptor(&many))).unwrap_err());
        // More slots than there is memory for are refused without room for their table.
        put(&many, 1, LARGE as u64 / 16 * 2);
        let refused = cramped(|| List::try_from(descriptor(&many))).unwrap_err();
        assert!(matches!(refused, ShmError::Refused(Refusal::Damaged)), "{refused}");
        drop(many);

        let text = Encoded::<String>::with_capacity(LARGE, &"old".into()).unwrap();
        // Lock, version, length.
        put(&text, 2, LARGE as u64);
        let [got, updated] = cramped(|| [text.get().map(drop), text.update(|_| ())]);
        for error in [got.unwrap_err(), updated.unwrap_err()] {
            let EncodedError::Memory(error) = error else { panic!("{error}") };
            out(&error);
        }
        // More than there can be needs no room at all.
        put(&text, 2, LARGE as u64 + 1);
        assert!(matches!(cramped(|| text.get()), Err(EncodedError::Damaged { .. })));
        put(&text, 2, LARGE as u64);
        text.try_set(&"new".into()).unwrap();
        assert_eq!(cramped(|| text.get()).unwrap(), "new");
        drop(text);

        let list = List::with_capacity(1, LARGE).unwrap();
        // Lock, number, capacity, version, head: bytes.
        for (len, refused) in [(LARGE, true), (LARGE + 8, false)] {
            put(&list, 4, (len as u64) << 8 | 5);
            match cramped(|| list.get(0)).unwrap_err() {
                ListError::Memory(error) if refused => out(&error),
                ListError::Damaged { index: 0 } if !refused => {}
                error => panic!("{error}"),
            }
        }
        drop(list);

        let segment = Segment::new(LARGE).unwrap();
        let readers = segment.read_only().unwrap();
        out(&cramped(|| segment.read_vec(0, LARGE)).unwrap_err());
        out(&cramped(|| readers.read_vec(0, LARGE)).unwrap_err());
        assert_eq!(readers.read_vec(0, LARGE).unwrap().len(), LARGE);
        let frozen = ReadSegment::from_bytes(&vec![1; LARGE]).unwrap();
        out(&cramped(|| frozen.read_vec(0, LARGE)).unwrap_err());
        assert_eq!(cramped(|| frozen.as_slice().map(<[u8]>::len)), Some(LARGE), "no copy");

        // As other programs make it: as long as they like, and nothing in it.
        let name = format!("procession-room-{}", std::process::id());
        let _owner = ForeignSegment::create(&name, 1).unwrap();
        let file = fs::File::options().write(true).open(format!("/dev/shm/{name}")).unwrap();
        file.set_len(ENDLESS).unwrap();
        let foreign = ForeignSegment::open(&name).unwrap();
        assert_eq!(foreign.read_vec(ENDLESS as usize - 5, 5).unwrap(), [0; 5]);
        foreign.write(ENDLESS as usize - 5, b"hello").unwrap();
        assert_eq!(foreign.read_vec(ENDLESS as usize - 5, 5).unwrap(), b"hello");
        out(&foreign.read_vec(0, ENDLESS as usize).unwrap_err());
        out(&cramped(|| foreign.read_vec(0, LARGE)).unwrap_err());
    });
}
