//! A service that does not come up is tried less and less often.

use std::time::{Duration, Instant};

/// The first wait, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// Whoever lived that long was well: its end is a new story.
const STABLE: Duration = Duration::from_secs(30);

/// A client waits that long for the next try; before a later one it is told when to come again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The failures of one service's instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// An instance did not become ready. Those that fail while another failure is waited for were
    /// started together with it, and count as one.
    pub fn failed(&mut self, now: Instant) {
        if self.wait(now).is_none() {
            let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
            self.failures = self.failures.saturating_add(1);
            self.until = Some(now + wait);
        }
    }

    /// An instance that was ready has died, though nobody asked it to; it lived for `lived`.
    pub fn died(&mut self, now: Instant, lived: Duration) {
        if lived >= STABLE {
            *self = Self::default();
        } else {
            self.failed(now);
        }
    }

    /// All is forgotten: the service is another one now, or a person said so.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many failures there were, one after the other.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long nobody is to be started yet; None: now.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.until?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// When the next try is, if it is not now.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// The seconds of `Retry-After` for a client that is sent away; None: the next try is near, and it can wait.
    pub fn refusal(&self, now: Instant) -> Option<u64> {
        let wait = self.wait(now).filter(|wait| *wait > PATIENCE)?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_minute() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(now), None);
        let mut waits = Vec::new();
        for _ in 0..40 {
            backoff.failed(now);
            let wait = backoff.wait(now).expect("a wait");
            assert_eq!(backoff.until(now), Some(now + wait));
            waits.push(wait.as_millis());
            now += wait;
            assert_eq!((backoff.wait(now), backoff.until(now)), (None, None));
        }
        assert_eq!(waits[..11], [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000]);
        assert!(waits[11..].iter().all(|wait| *wait == 60_000));
    }

    #[test]
    fn those_that_fail_together_fail_once() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        (0..8).for_each(|_| backoff.failed(now));
        assert_eq!((backoff.failures(), backoff.wait(now)), (1, Some(FIRST)));
    }

    #[test]
    fn a_long_life_ends_the_story() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.died(now, Duration::from_secs(2));
            now += LONGEST;
        }
        assert_eq!(backoff.failures(), 5);
        backoff.died(now, STABLE);
        assert_eq!((backoff.failures(), backoff.wait(now)), (0, None));
    }

    #[test]
    fn clients_are_told_when_to_come_again_once_it_is_worth_it() {
        let mut now = Instant::now();
        let mut backoff = Backoff::default();
        let mut told = Vec::new();
        for _ in 0..7 {
            backoff.failed(now);
            told.push(backoff.refusal(now));
            now += backoff.wait(now).expect("a wait");
        }
        assert_eq!(told, [None, None, None, None, Some(2), Some(4), Some(7)]);
        backoff.reset();
        assert_eq!(backoff, Backoff::default());
    }
}
