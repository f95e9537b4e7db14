//! More processor or memory for an instance that is short of it, before there are more instances.
//!
//! One [`Share`] is one resource of one instance. It doubles as soon as it is short, while the host has room,
//! and halves when for the whole calm time half of it would have been plenty.

use std::time::{Duration, Instant};

use spec::activation::Range;

/// Short of processor: in this share of the periods of the last look it had to wait.
const THROTTLED: f64 = 0.1;

/// Short of memory: this much of the limit is used, in hundredths.
const TIGHT: u64 = 90;

/// Less than this much of it used, in hundredths: half of it would be enough, and not tight.
const LOOSE: u64 = 40;

/// After the host had no more, it is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What one look at an instance tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// It is short of it.
    pub short: bool,
    /// How much it uses.
    pub used: u64,
}

impl Look {
    /// At the processor: in which share (0 to 1) of the periods since the last look it was throttled, and how
    /// many thousandths of a processor it used.
    pub fn at_cpu(throttled: f64, used: u64) -> Self {
        Self { short: throttled >= THROTTLED, used }
    }

    /// At memory: what it uses that cannot be taken back (the working set: caches fill any limit), and its limit.
    pub fn at_memory(used: u64, limit: u64) -> Self {
        Self { short: u128::from(used) * 100 >= u128::from(limit) * u128::from(TIGHT), used }
    }
}

/// What one instance has of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    range: Range,
    amount: u64,
    /// What it had before that.
    before: u64,
    /// Looks at which it was short, one after the other.
    short: u32,
    refused: Option<Instant>,
    /// What it used when the amount became too small: half of that must be too much for it to shrink.
    strain: Option<u64>,
    /// Since when half would be enough.
    loose: Option<Instant>,
}

impl Share {
    /// It starts with the least. Where nothing is said, nothing is ever changed.
    pub fn new(range: Option<Range>) -> Self {
        let range = range.unwrap_or(Range { least: u64::MAX, most: u64::MAX });
        Self {
            range,
            amount: range.least,
            before: range.least,
            short: 0,
            refused: None,
            strain: None,
            loose: None,
        }
    }

    /// What it has now; `u64::MAX` where nobody said.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// What it should have instead, after this look. The caller sees to it; where the host has no more, it
    /// says so with [`refused`](Self::refused).
    pub fn look(&mut self, now: Instant, look: Look, calm: Duration) -> Option<u64> {
        if look.short {
            return self.raise(now, look.used);
        }
        self.short = 0;
        self.lower(now, look.used, calm)
    }

    /// What [`look`](Self::look) wanted could not be had: it has what it had before.
    pub fn refused(&mut self, now: Instant) {
        if self.amount > self.before {
            self.refused = Some(now);
        }
        self.amount = self.before;
    }

    /// It is short of it, not only for a moment, and no more is to be had: another instance may help.
    pub fn is_exhausted(&self) -> bool {
        self.short > 1 && (self.amount >= self.range.most || self.refused.is_some())
    }

    fn raise(&mut self, now: Instant, used: u64) -> Option<u64> {
        (self.short, self.loose) = (self.short.saturating_add(1), None);
        let waits = self.refused.is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN);
        if self.amount >= self.range.most || waits {
            return None;
        }
        (self.refused, self.strain, self.before) = (None, Some(used), self.amount);
        self.amount = self.amount.saturating_mul(2).min(self.range.most);
        Some(self.amount)
    }

    fn lower(&mut self, now: Instant, used: u64, calm: Duration) -> Option<u64> {
        let fits = used <= self.amount / 100 * LOOSE && self.strain.is_none_or(|strain| used <= strain / 2);
        if self.amount <= self.range.least || !fits {
            self.loose = None;
            return None;
        }
        let since = *self.loose.get_or_insert(now);
        if now.saturating_duration_since(since) < calm {
            return None;
        }
        (self.loose, self.strain, self.refused, self.before) = (None, None, None, self.amount);
        self.amount = (self.amount / 2).max(self.range.least);
        Some(self.amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn cpu() -> Share {
        Share::new(Some(Range { least: 500, most: 3000 }))
    }

    #[test]
    fn it_doubles_at_once_up_to_the_most() {
        let mut share = cpu();
        let now = Instant::now();
        let mut steps = Vec::new();
        for _ in 0..5 {
            assert!(!share.is_exhausted());
            steps.push(share.look(now, Look::at_cpu(0.5, 500), CALM));
            if share.amount() == 3000 {
                break;
            }
        }
        assert_eq!(steps, [Some(1000), Some(2000), Some(3000)]);
        assert_eq!(share.look(now, Look::at_cpu(0.5, 2900), CALM), None);
        assert!(share.is_exhausted());
        share.look(now, Look::at_cpu(0.0, 2900), CALM);
        assert!(!share.is_exhausted());
    }

    #[test]
    fn a_host_without_room_is_asked_again_later() {
        let mut share = cpu();
        let now = Instant::now();
        assert_eq!(share.look(now, Look::at_cpu(0.2, 500), CALM), Some(1000));
        share.refused(now);
        assert_eq!(share.amount(), 500);
        assert_eq!(share.look(now + SECOND, Look::at_cpu(0.2, 500), CALM), None);
        assert!(share.is_exhausted());
        assert_eq!(share.look(now + ASK_AGAIN, Look::at_cpu(0.2, 500), CALM), Some(1000));
        assert!(!share.is_exhausted());
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut share = cpu();
        let mut now = Instant::now();
        (0..3).for_each(|_| assert!(share.look(now, Look::at_cpu(0.5, 500), CALM).is_some()));
        share.refused(now);
        assert_eq!(share.amount(), 2000, "not half of the most");
        let mut steps = Vec::new();
        while steps.is_empty() {
            now += SECOND;
            steps.extend(share.look(now, Look::at_cpu(0.0, 10), CALM));
        }
        // Nor is it full because less could not be given.
        share.refused(now);
        assert_eq!((steps, share.amount()), (vec![1000], 2000));
        assert_eq!(share.look(now, Look::at_cpu(0.5, 500), CALM), Some(3000));
    }

    #[test]
    fn it_halves_after_calm_and_never_below_the_least() {
        let mut share = cpu();
        let mut now = Instant::now();
        while share.look(now, Look::at_cpu(1.0, 900), CALM).is_some() {}
        let mut steps = Vec::new();
        for _ in 0..200 {
            now += SECOND;
            steps.extend(share.look(now, Look::at_cpu(0.0, 10), CALM));
        }
        assert_eq!(steps, [1500, 750, 500]);
    }

    #[test]
    fn one_busy_look_begins_the_calm_anew() {
        let mut share = cpu();
        let mut now = Instant::now();
        share.look(now, Look::at_cpu(1.0, 900), CALM);
        for number in 0..300 {
            now += SECOND;
            let used = if number % 29 == 0 { 900 } else { 10 };
            assert_eq!(share.look(now, Look::at_cpu(0.0, used), CALM), None);
        }
    }

    #[test]
    fn memory_is_short_before_it_ends() {
        assert!(Look::at_memory(90, 100).short && !Look::at_memory(89, 100).short);
        assert!(!Look::at_memory(u64::MAX / 2, u64::MAX).short);
    }

    #[test]
    fn where_nothing_is_said_nothing_is_changed() {
        let mut share = Share::new(None);
        let now = Instant::now();
        (0..3).for_each(|_| assert_eq!(share.look(now, Look::at_cpu(1.0, 900), CALM), None));
        assert!(share.is_exhausted());
        assert_eq!(share.look(now + CALM * 9, Look::at_cpu(0.0, 0), CALM), None);
    }

    /// In bursts a service wants `burst` at once, and has little to do otherwise: it is throttled wherever it
    /// has less than that, though it uses little of it in the mean.
    #[test]
    fn the_same_bursts_day_in_day_out_change_nothing_after_the_first() {
        for (burst, mean) in [(800, 300), (1500, 200), (2500, 1900), (600, 450)] {
            let mut share = cpu();
            let mut now = Instant::now();
            let mut steps = Vec::new();
            for second in 0..7200_u64 {
                now += SECOND;
                let short = share.amount() < burst;
                let used = mean - mean / 10 + second % (mean / 5);
                let look = Look { short, used };
                steps.extend(share.look(now, look, CALM).map(|_| second));
            }
            assert!(steps.iter().all(|second| *second < 5), "{burst} {mean}: {steps:?}");
            assert!(share.amount() >= burst);
        }
    }
}
