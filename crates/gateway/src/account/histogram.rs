//! How long things took, in classes: each time that the time doubles, eight classes of the same width. So what
//! is told of it is right within some per cent at any size, and to count costs a few instructions.

use std::time::Duration;

/// Everything up to this is one class; no class is finer than an eighth of it.
const FIRST: Duration = Duration::from_micros(100);
const UNIT: u64 = FIRST.as_nanos() as u64 / PER_DOUBLING;

const PER_DOUBLING: u64 = 1 << SHIFT;
const SHIFT: u32 = 3;

/// From 0.1 ms to 210 s; one more class has all that took longer.
const DOUBLINGS: u32 = 21;
const CLASSES: usize = 1 + (DOUBLINGS as u64 * PER_DOUBLING) as usize;

/// Times, counted. One that never counted anything has no memory of its own.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    classes: Option<Box<[u64; CLASSES + 1]>>,
    count: u64,
    microseconds: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let classes = self.classes.get_or_insert_with(|| Box::new([0; CLASSES + 1]));
        classes[class(time)] += 1;
        self.count += 1;
        self.microseconds =
            self.microseconds.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.microseconds)
    }

    /// What this share (0 to 1) of all did not exceed; None where there were none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let classes = self.classes.as_deref()?;
        let goal = (share.clamp(0.0, 1.0) * self.count as f64).max(1.0);
        let mut before = 0;
        for (place, count) in classes.iter().enumerate().filter(|(_, count)| **count > 0) {
            if (before + count) as f64 >= goal {
                let (from, to) = (if place == 0 { Duration::ZERO } else { end(place - 1) }, end(place));
                // Within a class they are taken to lie as far from each other.
                return Some(from + (to - from).mul_f64((goal - before as f64) / *count as f64));
            }
            before += count;
        }
        Some(end(CLASSES))
    }

    /// For each doubling its end, and how many took no longer than that.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let classes: &[u64] = self.classes.as_deref().map_or(&[], |classes| &classes[..CLASSES]);
        let (first, others) = classes.split_at(classes.len().min(1));
        let doublings = std::iter::once(first).chain(others.chunks(PER_DOUBLING as usize));
        let mut sum = 0;
        (0..).zip(doublings).map(move |(doubling, counts)| {
            sum += counts.iter().sum::<u64>();
            (FIRST * (1 << doubling), sum)
        })
    }
}

/// Where a time is counted: its class ends at it or later.
fn class(time: Duration) -> usize {
    let units = u64::try_from(time.as_nanos().div_ceil(u128::from(UNIT))).unwrap_or(u64::MAX);
    if units <= PER_DOUBLING {
        return 0;
    }
    let last = units - 1;
    let doubling = last.ilog2() - SHIFT;
    let part = (last >> doubling) & (PER_DOUBLING - 1);
    (1 + (u64::from(doubling) * PER_DOUBLING + part) as usize).min(CLASSES)
}

/// The longest time of a class; of the last one, which has none, where it begins.
fn end(class: usize) -> Duration {
    let Some(class) = class.min(CLASSES - 1).checked_sub(1) else { return FIRST };
    let (doubling, part) = (class as u64 / PER_DOUBLING, class as u64 % PER_DOUBLING);
    Duration::from_nanos(UNIT * ((PER_DOUBLING + part + 1) << doubling))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        for place in 0..CLASSES {
            assert_eq!(class(end(place)), place);
            assert_eq!(class(end(place) + Duration::from_nanos(1)), place + 1);
        }
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES);
        assert!(end(CLASSES - 1) > Duration::from_secs(120));
        assert_eq!(end(CLASSES), end(CLASSES - 1));
    }

    #[test]
    fn quantiles_are_right_within_some_per_cent() {
        // From 0.2 ms to 20 s, as many in each decade.
        let times: Vec<f64> = (0..10_000).map(|n| 0.0002 * 10f64.powf(f64::from(n) / 2000.0)).collect();
        let mut histogram = Histogram::default();
        times.iter().for_each(|time| histogram.record(Duration::from_secs_f64(*time)));
        for share in [0.01, 0.1, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999] {
            let exact = times[(share * 10_000.0) as usize - 1];
            let told = histogram.quantile(share).expect("some").as_secs_f64();
            assert!((told / exact - 1.0).abs() < 0.05, "{share}: {told} {exact}");
        }
    }

    #[test]
    fn one_that_is_alone_is_every_quantile() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(Duration::from_millis(50));
        for share in [0.0, 0.5, 1.0, 7.0] {
            let told = histogram.quantile(share).expect("some").as_secs_f64();
            assert!((0.05..0.057).contains(&told), "{told}");
        }
    }

    #[test]
    fn ends_count_what_took_exactly_as_long() {
        let mut histogram = Histogram::default();
        for micros in [1, 100, 101, 200, 201, 102_400, 1_000_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let told: Vec<_> = histogram.cumulative().collect();
        assert_eq!(told.len(), 22);
        assert_eq!(told[..3], [(FIRST, 2), (FIRST * 2, 4), (FIRST * 4, 5)]);
        assert_eq!(told[10], (Duration::from_micros(102_400), 6));
        assert_eq!(told[21].1, 6, "what took longer than any end is only in the count");
        assert_eq!((histogram.count(), histogram.sum()), (7, Duration::from_micros(1_000_103_003)));
    }

    #[test]
    fn nothing_counted_takes_no_memory() {
        assert!(Histogram::default().classes.is_none() && size_of::<Histogram>() <= 24);
        assert_eq!(Histogram::default().cumulative().map(|(_, sum)| sum).max(), Some(0));
    }
}
