//! How long it is worth waiting for the next request, learnt from how long the last ones kept us waiting.
//!
//! The idle times of a service are counted in classes, each a little longer than the one before; what was long
//! ago counts less and less (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020).

use std::time::Duration;

use spec::activation::{Activation, After};

/// An instance is never stopped earlier, nor kept for longer, without anybody asking.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

/// Classes each time that the idle time doubles; eight and a half doublings lead from the shortest to the longest.
const PER_DOUBLING: f64 = 4.0;
const CLASSES: usize = 34;

/// Of those who come back, this share finds the service warm.
const WARM: f64 = 0.95;

/// Fewer say nothing.
const ENOUGH: u32 = 8;

/// At so many all count half: about so many of the last ones have a say.
const REMEMBERED: u32 = 200;

/// When a service was asked again after nobody had asked for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrivals {
    /// How many came back within the time of this class.
    classes: [u8; CLASSES],
    /// Who came later than we ever wait.
    late: u8,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { classes: [0; CLASSES], late: 0 }
    }
}

impl Arrivals {
    /// Somebody asked after the service had had nothing to do for `idle`. Whoever comes before anything is ever
    /// stopped has no say.
    pub fn returned(&mut self, idle: Duration) {
        if idle < SHORTEST {
            return;
        }
        match self.classes.get_mut(class(idle)) {
            Some(count) if idle <= LONGEST => *count += 1,
            _ => self.late += 1,
        }
        if self.total() >= REMEMBERED {
            self.classes.iter_mut().for_each(|count| *count /= 2);
            self.late /= 2;
        }
    }

    /// After what idle time to stop, so that nearly all who come back find it warm; None: too few came to tell.
    pub fn idle(&self) -> Option<Duration> {
        let total = self.total();
        if total < ENOUGH {
            return None;
        }
        let within = total - u32::from(self.late);
        // Whoever mostly comes too late is not waited for.
        if u32::from(self.late) > within {
            return Some(SHORTEST);
        }
        // Where nearly all cannot be had, nearly all of those who come in time.
        let of_all = (f64::from(total) * WARM).ceil() as u32;
        let goal = if of_all <= within { of_all } else { (f64::from(within) * WARM).ceil() as u32 };
        let mut sum = 0;
        let place = self.classes.iter().position(|count| {
            sum += u32::from(*count);
            sum >= goal
        });
        Some(end(place.unwrap_or(CLASSES)))
    }

    fn total(&self) -> u32 {
        self.classes.iter().map(|count| u32::from(*count)).sum::<u32>() + u32::from(self.late)
    }
}

fn class(idle: Duration) -> usize {
    ((idle.as_secs_f64() / SHORTEST.as_secs_f64()).log2() * PER_DOUBLING).max(0.0) as usize
}

/// The longest time of a class.
fn end(class: usize) -> Duration {
    let doublings = (class as f64 + 1.0) / PER_DOUBLING;
    SHORTEST.mul_f64(doublings.exp2()).min(LONGEST)
}

/// After what idle time an instance comes to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// It is frozen; None: it is not.
    pub freeze: Option<Duration>,
    /// It is stopped; None: it is not.
    pub stop: Option<Duration>,
}

impl Rest {
    /// What is said, or learnt where that is said.
    pub fn of(activation: &Activation, arrivals: &Arrivals) -> Self {
        let stop = match activation.idle {
            After::Time(time) => Some(time),
            After::Never => None,
            After::Learnt => arrivals.idle().or_else(|| usual(Activation::default().idle)),
        };
        let freeze = usual(activation.freeze).filter(|freeze| stop.is_none_or(|stop| *freeze < stop));
        Self { freeze, stop }
    }
}

fn usual(after: After) -> Option<Duration> {
    if let After::Time(time) = after { Some(time) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(gaps: impl IntoIterator<Item = f64>) -> Option<Duration> {
        let mut arrivals = Arrivals::default();
        gaps.into_iter().for_each(|gap| arrivals.returned(Duration::from_secs_f64(gap)));
        arrivals.idle()
    }

    /// Numbers that only look like chance.
    fn chance() -> impl Iterator<Item = f64> {
        let mut seed = 42_u64;
        std::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as f64 / (1u64 << 31) as f64
        })
    }

    #[test]
    fn the_classes_lead_from_the_shortest_to_the_longest() {
        assert_eq!(class(SHORTEST), 0);
        assert!(class(LONGEST) < CLASSES && end(CLASSES - 1) == LONGEST && end(CLASSES - 2) < LONGEST);
        for seconds in 10..3600 {
            let idle = Duration::from_secs(seconds);
            assert!(end(class(idle)) >= idle && end(class(idle)) < idle.mul_f64(1.2), "{seconds}");
        }
    }

    #[test]
    fn a_regular_visitor_finds_it_warm() {
        let idle = learnt([300.0; 50]).expect("learnt");
        assert!(idle >= Duration::from_secs(300) && idle < Duration::from_secs(360), "{idle:?}");
    }

    #[test]
    fn nearly_all_of_those_who_come_back_find_it_warm() {
        // Exponential gaps with a mean of 100 to 600 seconds.
        for mean in [100.0, 200.0, 600.0] {
            let gaps: Vec<f64> = chance().take(5000).map(|some| -mean * (1.0 - some).ln()).collect();
            let mut arrivals = Arrivals::default();
            let (mut warm, mut visits) = (0, 0);
            for gap in gaps {
                let idle = arrivals.idle().unwrap_or(LONGEST).as_secs_f64();
                (warm, visits) = (warm + u32::from(gap <= idle), visits + 1);
                arrivals.returned(Duration::from_secs_f64(gap));
            }
            let share = f64::from(warm) / f64::from(visits);
            assert!((0.93..0.995).contains(&share), "mean {mean}: {share}");
        }
    }

    #[test]
    fn what_hardly_comes_back_in_time_is_not_waited_for() {
        assert_eq!(learnt([7200.0; 20]), Some(SHORTEST));
        assert_eq!(learnt([f64::from(u32::MAX); 300]), Some(SHORTEST));
        // One in five comes late: those in time are still waited for, and no longer than they need.
        let some = learnt((0..100).map(|number| if number % 5 == 0 { 9000.0 } else { 60.0 }));
        assert!(some.expect("learnt") < Duration::from_secs(80), "{some:?}");
    }

    #[test]
    fn too_few_and_too_quick_ones_tell_nothing() {
        assert_eq!(learnt([300.0; 7]), None);
        assert_eq!(learnt([0.5; 1000]), None);
    }

    #[test]
    fn what_was_is_forgotten() {
        let idle = learnt([3000.0; 400].into_iter().chain([20.0; 800])).expect("learnt");
        assert!(idle < Duration::from_secs(30), "{idle:?}");
    }

    #[test]
    fn it_takes_little_memory() {
        assert!(size_of::<Arrivals>() < 200);
    }

    #[test]
    fn rest_is_what_is_said() {
        let arrivals = Arrivals::default();
        let seconds = |number| Some(Duration::from_secs(number));
        let mut activation = Activation::default();
        assert_eq!(Rest::of(&activation, &arrivals), Rest { freeze: seconds(60), stop: seconds(300) });
        activation.idle = After::Time(Duration::from_secs(30));
        assert_eq!(Rest::of(&activation, &arrivals), Rest { freeze: None, stop: seconds(30) });
        activation.idle = After::Never;
        assert_eq!(Rest::of(&activation, &arrivals), Rest { freeze: seconds(60), stop: None });
        (activation.idle, activation.freeze) = (After::Learnt, After::Never);
        assert_eq!(Rest::of(&activation, &arrivals), Rest { freeze: None, stop: seconds(300) });
    }
}
