//! Orders that wait for a worker: a line for each priority.
//!
//! Invariant: an order leaves by [`Waiting::pop_front`] only when no line of a higher priority has one, and in the order of
//! its own line, where one that comes back is the first. Held by the contract (`priorities`).

use std::collections::VecDeque;

use crate::job::Order;
use crate::rules::Priority;

const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// As in [`ALL`].
    lines: [VecDeque<Order>; ALL.len()],
}

impl Waiting {
    pub(crate) fn push_back(&mut self, order: Order) {
        self.line(&order).push_back(order);
    }

    /// Puts back what was given out before all that waits.
    pub(crate) fn push_front(&mut self, order: Order) {
        self.line(&order).push_front(order);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Order> {
        self.lines.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Takes the first that `is_it` out of its line.
    pub(crate) fn take_first(&mut self, is_it: impl Fn(&Order) -> bool) -> Option<Order> {
        self.lines.iter_mut().find_map(|line| line.iter().position(&is_it).and_then(|at| line.remove(at)))
    }

    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&Order) -> bool) {
        self.lines.iter_mut().for_each(|line| line.retain(&is_wanted));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.iter().all(VecDeque::is_empty)
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    /// In the order they would leave.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Order> {
        self.lines.iter().flatten()
    }

    fn line(&mut self, order: &Order) -> &mut VecDeque<Order> {
        let at = ALL.iter().position(|priority| *priority == order.rules.priority);
        &mut self.lines[at.unwrap_or(1)]
    }
}

impl IntoIterator for Waiting {
    type Item = Order;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<VecDeque<Order>, 3>>;

    fn into_iter(self) -> Self::IntoIter {
        self.lines.into_iter().flatten()
    }
}
