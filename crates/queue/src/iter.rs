//! Receivers as iterators.

use procession_codec::Postcard;

use crate::receiver::Receiver;
use crate::wire::Wire;

/// The values of a [`Receiver`] as they come: see [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T, W = Postcard> {
    receiver: &'a Receiver<T, W>,
}

/// The values that a [`Receiver`] has: see [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T, W = Postcard> {
    receiver: &'a Receiver<T, W>,
}

/// The values of a receiver as they come: see [`Receiver::iter`].
#[derive(Debug)]
pub struct IntoIter<T, W = Postcard> {
    receiver: Receiver<T, W>,
}

impl<'a, T, W> Iter<'a, T, W> {
    pub(crate) fn new(receiver: &'a Receiver<T, W>) -> Self {
        Self { receiver }
    }
}

impl<'a, T, W> TryIter<'a, T, W> {
    pub(crate) fn new(receiver: &'a Receiver<T, W>) -> Self {
        Self { receiver }
    }
}

impl<T, W: Wire<T>> Iterator for Iter<'_, T, W> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T, W: Wire<T>> Iterator for TryIter<'_, T, W> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T, W: Wire<T>> Iterator for IntoIter<T, W> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T, W: Wire<T>> IntoIterator for Receiver<T, W> {
    type Item = T;
    type IntoIter = IntoIter<T, W>;

    fn into_iter(self) -> IntoIter<T, W> {
        IntoIter { receiver: self }
    }
}

impl<'a, T, W: Wire<T>> IntoIterator for &'a Receiver<T, W> {
    type Item = T;
    type IntoIter = Iter<'a, T, W>;

    fn into_iter(self) -> Iter<'a, T, W> {
        self.iter()
    }
}
