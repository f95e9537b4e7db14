//! Who gives way and whose turn it is, when the host is full.
//!
//! What is shared is counted by groups of services (a service without one is a group of its own), each with a
//! weight. Amounts are of whatever is short: bytes of memory, usually.

use std::collections::BTreeMap;
use std::time::Instant;

/// One group's part of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Its weight among all: at least 1.
    pub weight: u64,
    /// What its instances have.
    pub held: u64,
}

/// An instance that has nothing to do, and may be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// The place of its group in the list.
    pub group: usize,
    /// Since when nobody asked it.
    pub since: Instant,
}

/// Which of the idle instances gives way, by its place in the list, when `asking` (a place in the list of
/// groups) wants room for `amount`: those of groups that have more than their fair share go first, then those that were
/// used least recently.
///
/// None where nobody is idle, and where `asking` would itself have more than its share and those who are idle
/// have no more than theirs: it waits for its own.
pub fn victim(groups: &[Group], idle: &[Idle], asking: usize, amount: u64) -> Option<usize> {
    let all = Shares::of(groups, asking, amount);
    let greedy = all.is_above(asking, amount);
    let candidates = idle.iter().enumerate().map(|(place, one)| {
        // The own group counts with what it is about to have.
        let own = if one.group == asking { amount } else { 0 };
        (all.is_above(one.group, own), one.since, place)
    });
    let (_, _, place) = candidates
        .filter(|(above, _, _)| *above || !greedy)
        .min_by_key(|(above, since, place)| (!above, *since, *place))?;
    Some(place)
}

/// What is held together, and by what weight.
struct Shares<'a> {
    groups: &'a [Group],
    held: u128,
    weight: u128,
}

impl<'a> Shares<'a> {
    /// Who holds nothing and asks for nothing has no share.
    fn of(groups: &'a [Group], asking: usize, amount: u64) -> Self {
        let takes_part = |(place, group): &(usize, &Group)| group.held > 0 || *place == asking;
        let part = groups.iter().enumerate().filter(takes_part);
        let (held, weight) = part.fold((u128::from(amount), 0), |(held, weight), (_, group)| {
            (held + u128::from(group.held), weight + u128::from(group.weight.max(1)))
        });
        Self { groups, held, weight }
    }

    /// Whether a group has more than its share, with so much in addition.
    fn is_above(&self, place: usize, more: u64) -> bool {
        self.groups.get(place).is_some_and(|group| {
            let has = u128::from(group.held) + u128::from(more);
            has * self.weight > self.held * u128::from(group.weight.max(1))
        })
    }
}

/// One service that waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<K> {
    /// Its group.
    pub group: K,
    /// Since when it waits.
    pub since: Instant,
}

/// Whose turn it is when room comes: stride scheduling among groups, first come first served in each.
///
/// Whoever is next keeps its turn until it has been served: room that is too little for it is left to become more, or
/// a large one would wait for ever while small ones slip past.
#[derive(Debug, Clone, Default)]
pub struct Turns<K> {
    /// How far each group has come: the further, the later it is its turn.
    passed: BTreeMap<K, u128>,
    /// How far those have come who are being served: whoever comes back begins here, since nobody saves turns.
    now: u128,
}

impl<K: Ord + Copy> Turns<K> {
    /// Nobody was ever served.
    pub fn new() -> Self {
        Self { passed: BTreeMap::new(), now: 0 }
    }

    /// Who is next, by its place in the list.
    pub fn next(&self, waiting: &[Waiting<K>]) -> Option<usize> {
        let places = waiting.iter().enumerate();
        places.min_by_key(|(place, one)| (self.of(one.group), one.since, *place)).map(|(place, _)| place)
    }

    /// Whoever was next has got `amount`.
    pub fn served(&mut self, group: K, weight: u64, amount: u64) {
        self.now = self.of(group);
        let stride = (u128::from(amount.max(1)) << 16) / u128::from(weight.max(1));
        self.passed.insert(group, self.now + stride.max(1));
        // Whoever is not ahead begins at this place anyway.
        let now = self.now;
        self.passed.retain(|_, passed| *passed > now);
    }

    fn of(&self, group: K) -> u128 {
        self.passed.get(&group).copied().unwrap_or(0).max(self.now)
    }
}

#[cfg(test)]
mod tests;
