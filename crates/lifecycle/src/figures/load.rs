//! Load averages, as the kernel computes its own: the number of tasks that run or wait for a device,
//! averaged with weights that fade.

/// The times over which is averaged, in seconds.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];

/// Averages over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    averages: [f64; 3],
    /// For how many seconds it was watched; endless where the averages are whole.
    seen: f64,
}

impl Load {
    /// Of what has just begun: before, there was no load.
    pub fn of_new() -> Self {
        Self::known([0.0; 3])
    }

    /// Of what was there before anybody watched. The averages are of what has been seen until they are
    /// whole, not of a past that is unknown.
    pub fn unknown() -> Self {
        Self { averages: [0.0; 3], seen: 0.0 }
    }

    /// Goes on from averages that somebody else has computed.
    pub fn known(averages: [f64; 3]) -> Self {
        Self { averages, seen: f64::INFINITY }
    }

    /// So many tasks were active at the end of the last `seconds`.
    pub fn add(&mut self, active: u32, seconds: f64) {
        for (average, span) in self.averages.iter_mut().zip(SPANS) {
            let fades = (-seconds / span).exp();
            *average = *average * fades + f64::from(active) * (1.0 - fades);
        }
        self.seen += seconds;
    }

    /// The averages; None before anything was seen.
    pub fn averages(&self) -> Option<[f64; 3]> {
        if self.seen <= 0.0 {
            return None;
        }
        let mut averages = self.averages;
        for (average, span) in averages.iter_mut().zip(SPANS) {
            *average /= 1.0 - (-self.seen / span).exp();
        }
        Some(averages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own arithmetic (kernel/sched/loadavg.c): 11 bits behind the point, every 5 s.
    fn kernel(load: u64, exponent: u64, active: u64) -> u64 {
        let fixed = 1 << 11;
        let sum = load * exponent + active * fixed * (fixed - exponent);
        (if active * fixed >= load { sum + fixed - 1 } else { sum }) / fixed
    }

    #[test]
    fn as_the_kernel_computes_them() {
        let counts =
            (0..400).map(|step: u32| [0, 3, 1, 7, 0, 0, 2][step as usize % 7] + u32::from(step > 200) * 4);
        let (mut ours, mut theirs) = (Load::of_new(), [0_u64; 3]);
        for count in counts {
            ours.add(count, 5.0);
            for (load, exponent) in theirs.iter_mut().zip([1884, 2014, 2037]) {
                *load = kernel(*load, exponent, u64::from(count));
            }
            for (own, kernel) in ours.averages().expect("seen").iter().zip(theirs) {
                let kernel = kernel as f64 / 2048.0;
                assert!((own - kernel).abs() < 0.02 + kernel * 0.02, "{own} {kernel}");
            }
        }
    }

    #[test]
    fn what_was_not_seen_is_not_taken_for_idle() {
        let mut load = Load::unknown();
        assert_eq!(load.averages(), None);
        load.add(2, 5.0);
        load.add(2, 5.0);
        for average in load.averages().expect("seen") {
            assert!((average - 2.0).abs() < 1e-9, "{average}");
        }
        let mut new = Load::of_new();
        new.add(2, 5.0);
        assert!(new.averages().expect("seen")[0] < 0.2);
    }

    #[test]
    fn it_goes_on_where_another_stopped() {
        let mut load = Load::known([1.0, 2.0, 3.0]);
        load.add(0, 60.0);
        let [one, five, fifteen] = load.averages().expect("seen");
        assert!(
            (one - 0.3679).abs() < 1e-3 && (five - 1.6375).abs() < 1e-3 && (fifteen - 2.8065).abs() < 1e-3
        );
    }
}
