//! A dictionary in a process of its own, behind a ring each way: the floor of objects that are served.

use std::collections::HashMap;

use crate::cpu::Placement;
use crate::hybrid_ring::Hybrid;
use crate::ring::{Peer, Receiver, Sender, peer};

/// The near end. One client, one request at a time.
#[derive(Debug)]
pub struct ServedDict {
    server: Peer<Hybrid>,
}

const GET: u64 = 0;
const SET: u64 = 1;

impl ServedDict {
    /// Forks the server of an empty dictionary.
    ///
    /// # Panics
    /// If there is no memory or no process to be had.
    pub fn new(placement: Placement) -> Self {
        Self { server: peer(1 << 16, placement, serve) }
    }

    /// The value of a key.
    #[inline]
    pub fn get(&mut self, key: u64) -> Option<u64> {
        self.request([GET, key, 0])
    }

    /// Sets the value of a key; the one that it had.
    #[inline]
    pub fn set(&mut self, key: u64, value: u64) -> Option<u64> {
        self.request([SET, key, value])
    }

    #[inline]
    fn request(&mut self, request: [u64; 3]) -> Option<u64> {
        self.server.to.send(words_to_bytes(request).as_flattened());
        let [found, value] = self.server.from.recv(bytes_to_words);
        (found != 0).then_some(value)
    }
}

fn serve(mut to: Sender<Hybrid>, mut from: Receiver<Hybrid>) {
    let mut dict = HashMap::new();
    loop {
        let [operation, key, value] = from.recv(bytes_to_words);
        let answer: Option<u64> =
            if operation == GET { dict.get(&key).copied() } else { dict.insert(key, value) };
        let answer = [u64::from(answer.is_some()), answer.unwrap_or_default()];
        to.send(words_to_bytes(answer).as_flattened());
    }
}

#[inline]
fn words_to_bytes<const N: usize>(words: [u64; N]) -> [[u8; 8]; N] {
    words.map(u64::to_ne_bytes)
}

#[inline]
fn bytes_to_words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let words = bytes.as_chunks().0;
    std::array::from_fn(|n| u64::from_ne_bytes(words[n]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use procession_testkit::counted;

    #[test]
    fn it_remembers_what_was_set() {
        counted(|| {
            let mut dict = ServedDict::new(Placement::Anywhere);
            assert_eq!((dict.get(7), dict.set(7, 1), dict.set(7, 2)), (None, None, Some(1)));
            assert_eq!((dict.get(7), dict.get(8)), (Some(2), None));
        });
    }
}
