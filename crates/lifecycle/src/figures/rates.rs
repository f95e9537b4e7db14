//! What two readings tell together.

/// How much more per second; None where one is not known, or the count has begun anew.
pub fn per_second(before: Option<u64>, now: Option<u64>, seconds: f64) -> Option<f64> {
    let more = now?.checked_sub(before?)?;
    (seconds > 0.0).then(|| more as f64 / seconds)
}

/// Processor time in per cent of one processor, from counts of nanoseconds.
pub fn cpu_percent(before: Option<u64>, now: Option<u64>, seconds: f64) -> Option<f64> {
    per_second(before, now, seconds).map(|nanoseconds| nanoseconds / 1e7)
}

/// A part in per cent of a whole that is not nothing.
pub fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0.0)?;
    Some(part? / whole * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_counters() {
        assert_eq!(per_second(Some(10), Some(30), 2.0), Some(10.0));
        assert_eq!(per_second(Some(30), Some(10), 2.0), None, "it has begun anew");
        assert_eq!(per_second(None, Some(10), 2.0), None);
        assert_eq!(per_second(Some(10), Some(10), 0.0), None);
        assert_eq!(cpu_percent(Some(0), Some(3_000_000_000), 2.0), Some(150.0));
    }

    #[test]
    fn shares_of_what_is_there() {
        assert_eq!(share(Some(1.0), Some(4.0)), Some(25.0));
        assert_eq!(share(Some(1.0), None), None);
        assert_eq!(share(Some(1.0), Some(0.0)), None);
    }
}
