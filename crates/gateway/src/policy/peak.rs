//! The most requests at once within the last while.

use std::time::{Duration, Instant};

/// In so many parts the time is looked at: the most of it is forgotten by one part too late, never too early.
const PARTS: usize = 16;

/// Less would be a division by zero.
const LEAST: Duration = Duration::from_micros(100);

/// How many there were at once, at most, within the last `calm` time.
#[derive(Debug, Clone)]
pub struct Peak {
    parts: [u32; PARTS],
    at: usize,
    /// When the part that is written now ends.
    end: Instant,
    width: Duration,
    /// How many there are, until somebody says otherwise.
    level: u32,
}

impl Peak {
    /// Nothing yet; `calm` is how far back it remembers.
    pub fn new(now: Instant, calm: Duration) -> Self {
        let width = (calm / (PARTS as u32 - 1)).max(LEAST);
        Self { parts: [0; PARTS], at: 0, end: now + width, width, level: 0 }
    }

    /// From now on there are `level` at once.
    pub fn note(&mut self, now: Instant, level: u32) {
        self.advance(now);
        self.level = level;
        self.parts[self.at] = self.parts[self.at].max(level);
    }

    /// The most of the last while.
    pub fn most(&mut self, now: Instant) -> u32 {
        self.advance(now);
        self.parts.iter().copied().max().unwrap_or(0)
    }

    /// Whoever said nothing since has not gone: each part that has passed had the level of the one before.
    fn advance(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.end) else { return };
        let passed = late.as_nanos() / self.width.as_nanos() + 1;
        for _ in 0..passed.min(PARTS as u128) {
            self.at = (self.at + 1) % PARTS;
            self.parts[self.at] = self.level;
        }
        self.end =
            if passed < PARTS as u128 { self.end + self.width * passed as u32 } else { now + self.width };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(30);

    #[test]
    fn the_most_is_remembered_for_the_time_and_not_much_longer() {
        let start = Instant::now();
        for offset in 0..40 {
            let mut peak = Peak::new(start, CALM);
            let at = start + Duration::from_millis(offset * 250);
            peak.note(at, 7);
            peak.note(at, 2);
            assert_eq!(peak.most(at + CALM), 7, "{offset}");
            assert_eq!(peak.most(at + CALM + CALM / 14), 2, "{offset}");
        }
    }

    #[test]
    fn who_stays_without_a_word_is_still_there() {
        let start = Instant::now();
        let mut peak = Peak::new(start, CALM);
        peak.note(start, 5);
        let later = start + Duration::from_secs(3600);
        assert_eq!(peak.most(later), 5);
        peak.note(later, 0);
        assert_eq!(peak.most(later + CALM), 5);
        assert_eq!(peak.most(later + CALM * 2), 0);
    }

    #[test]
    fn no_calm_at_all_forgets_at_once() {
        let start = Instant::now();
        let mut peak = Peak::new(start, Duration::ZERO);
        peak.note(start, 5);
        peak.note(start, 1);
        assert_eq!(peak.most(start + Duration::from_millis(2)), 1);
    }

    #[test]
    fn a_moment_of_the_past_is_now() {
        let start = Instant::now() + CALM;
        let mut peak = Peak::new(start, CALM);
        peak.note(start, 1);
        peak.note(start - CALM, 4);
        assert_eq!(peak.most(start - CALM), 4);
        assert_eq!(peak.most(start), 4);
    }
}
