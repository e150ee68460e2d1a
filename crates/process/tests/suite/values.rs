//! What a task takes and returns.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use procession_codec::Bytes;
use procession_process::{Exit, spawn};

use super::Start;

pub(crate) fn a_value_comes_back(start: Start) {
    assert_eq!(start().spawn(|n: u64| n * n, 12).unwrap().join().unwrap(), 144);
}

pub(crate) fn a_unit_comes_back(start: Start) {
    let child = start().spawn(|()| {}, ()).unwrap();
    assert_ne!(child.pid(), std::process::id());
    child.join().unwrap();
}

fn twice<T: Clone + std::ops::Add<Output = T>>(value: T) -> T {
    value.clone() + value
}

fn process_of(_: ()) -> u32 {
    std::process::id()
}

pub(crate) fn every_kind_of_function(start: Start) {
    let child = start().spawn(process_of, ()).unwrap();
    let pid = child.pid();
    assert_eq!(child.join().unwrap(), pid, "the task runs in the process that we are told of");
    assert_eq!(start().spawn(twice::<u8>, 4).unwrap().join().unwrap(), 8);
    assert_eq!(start().spawn(twice::<f32>, 0.25).unwrap().join().unwrap(), 0.5);
    assert_eq!(start().spawn(f64::sqrt, 2.25).unwrap().join().unwrap(), 1.5);
    let word = start().spawn(|text: String| text + "!", "closure".into()).unwrap();
    assert_eq!(word.join().unwrap(), "closure!");
    let pointer: fn(char) -> u32 = |c| c.into();
    assert_eq!(start().spawn(pointer, 'a').unwrap().join().unwrap(), 97);
}

fn joined(a: String, b: char, c: u8) -> String {
    format!("{a}{b}{c}")
}

fn nothing() -> u8 {
    9
}

/// The macro, and the function without settings.
pub(crate) fn a_call_written_as_a_call(_: Start) {
    let text = String::from("x");
    assert_eq!(procession_process::spawn!(joined(text, '-', 3 + 4)).unwrap().join().unwrap(), "x-7");
    assert_eq!(procession_process::spawn!(nothing()).unwrap().join().unwrap(), 9);
    assert_eq!(procession_process::spawn!(u64::pow(2, 10)).unwrap().join().unwrap(), 1024);
    assert_eq!(spawn(twice::<u32>, 21).unwrap().join().unwrap(), 42);
}

const LARGE: usize = 5 << 20;

fn pattern(seed: u8) -> Vec<u8> {
    (0..LARGE).map(|i| (i % 251) as u8 ^ seed).collect()
}

pub(crate) fn five_mebibytes_both_ways(start: Start) {
    fn answer(bytes: Bytes) -> Bytes {
        assert_eq!(bytes.len(), LARGE);
        bytes.into_vec().into_iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into()
    }
    let child = start().spawn(answer, pattern(0).into()).unwrap();
    assert!(child.join().unwrap().into_vec() == pattern(1), "the bytes differ");
}

pub(crate) fn a_large_result_waits_for_nobody(start: Start) {
    let child = start().spawn(|seed: u8| Bytes::from(pattern(seed)), 3).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Code(0), "it ends though nobody has read its result");
    assert!(child.join().unwrap().into_vec() == pattern(3), "the bytes differ");
}

pub(crate) fn nested_data(start: Start) {
    type Data = BTreeMap<String, Vec<Option<(i64, char)>>>;
    let data: Data =
        [("none".into(), vec![]), ("some".into(), vec![Some((i64::MIN, 'ß')), None])].into_iter().collect();
    let child = start().spawn(|data: Data| data, data.clone()).unwrap();
    assert_eq!(child.join().unwrap(), data);
}

pub(crate) fn sixteen_at_once(start: Start) {
    let children: Vec<_> = (0..16_u32).map(|n| start().spawn(|n: u32| n * 2, n).unwrap()).collect();
    for (n, child) in (0..16).zip(children).rev() {
        assert_eq!(child.join().unwrap(), n * 2);
    }
}

static TOUCHED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn statics_are_the_child_s_own(start: Start) {
    let child = start().spawn(|n: u32| TOUCHED.fetch_add(n, Ordering::Relaxed), 5).unwrap();
    assert_eq!(child.join().unwrap(), 0);
    assert_eq!(TOUCHED.load(Ordering::Relaxed), 0);
}

fn generations(left: u32) -> Vec<u32> {
    let mut all = if left == 0 { Vec::new() } else { spawn(generations, left - 1).unwrap().join().unwrap() };
    all.push(std::process::id());
    all
}

pub(crate) fn children_of_children(start: Start) {
    let mut all = start().spawn(generations, 3).unwrap().join().unwrap();
    all.push(std::process::id());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5, "each generation is a process of its own");
}
