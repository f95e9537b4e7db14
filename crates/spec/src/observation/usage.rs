//! What a service used, over the time of a run and in sum.

use serde::{Deserialize, Serialize};

use super::Peak;

/// Points of a curve, at most: as wide as a terminal shows.
pub const MOST_POINTS: usize = 64;

/// One moment of a run; in files, a list of four numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub struct Point {
    /// Milliseconds since the run began.
    pub millis: u64,
    /// Bytes of memory: the most since the point before.
    pub memory: u64,
    /// Processes and threads, likewise.
    pub tasks: u64,
    /// Milliseconds of processor time since the run began.
    pub cpu: u64,
}

impl From<[u64; 4]> for Point {
    fn from([millis, memory, tasks, cpu]: [u64; 4]) -> Self {
        Self { millis, memory, tasks, cpu }
    }
}

impl From<Point> for [u64; 4] {
    fn from(point: Point) -> Self {
        [point.millis, point.memory, point.tasks, point.cpu]
    }
}

impl Point {
    /// Itself and the one before, as one.
    fn after(self, before: Self) -> Self {
        Self { memory: self.memory.max(before.memory), tasks: self.tasks.max(before.tasks), ..self }
    }
}

/// How much was used when. It never has more than [`MOST_POINTS`]: whenever it is full, two
/// neighbours become one, so that a run of a second and one of a day take the same room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Curve {
    points: Vec<Point>,
}

impl Curve {
    /// Adds a moment; they come in order. One that is closer to the last than the curve's pace is
    /// made part of it.
    pub fn add(&mut self, point: Point) {
        let pace = self.pace();
        if let [.., before, last] = self.points.as_mut_slice()
            && point.millis.saturating_sub(before.millis) <= pace
        {
            *last = point.after(*last);
            return;
        }
        self.points.push(point);
        if self.points.len() > MOST_POINTS {
            self.points = self.points.chunks(2).map(pair).collect();
        }
    }

    /// Half of the time that two points of a full curve would be apart.
    fn pace(&self) -> u64 {
        self.points.last().map_or(0, |last| last.millis / MOST_POINTS as u64)
    }

    /// All of them, in order.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The memory of its last quarter, in the middle: what it needs when nothing begins any more.
    pub fn steady(&self) -> u64 {
        let from = self.points.last().map_or(0, |last| last.millis / 4 * 3);
        let mut last: Vec<u64> =
            self.points.iter().filter(|at| at.millis >= from).map(|at| at.memory).collect();
        last.sort_unstable();
        last.get(last.len() / 2).copied().unwrap_or(0)
    }
}

fn pair(points: &[Point]) -> Point {
    points.iter().copied().reduce(|before, after| after.after(before)).unwrap_or_default()
}

/// What a service used in a run, or at most in several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// The most at one moment.
    pub peak: Peak,
    /// Memory at rest, in bytes; 0 if unknown.
    pub steady: u64,
    /// Processor time in milliseconds.
    pub cpu: u64,
    /// The most of it in one second; 0 if unknown.
    pub busiest: u64,
    /// Bytes written to files.
    pub written: u64,
    /// For how long it was watched, in milliseconds.
    pub millis: u64,
}

impl Used {
    /// Thousandths of a processor, on average.
    pub fn cpu_average(&self) -> u64 {
        self.cpu.saturating_mul(1000) / self.millis.max(1)
    }

    /// The most of each; of processor time that of the run with the highest average.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        let busier = if other.cpu_average() > self.cpu_average() || self.millis == 0 { other } else { self };
        Self {
            peak: self.peak.or_more(other.peak),
            steady: self.steady.max(other.steady),
            cpu: busier.cpu,
            millis: busier.millis,
            busiest: self.busiest.max(other.busiest),
            written: self.written.max(other.written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, memory: u64) -> Point {
        Point { millis, memory, tasks: 1, cpu: millis / 2 }
    }

    #[test]
    fn a_curve_stays_small_and_keeps_its_peak_and_its_ends() {
        for (count, pace) in [(10, 20), (64, 1000), (100_000, 20), (3_000, 100)] {
            let mut curve = Curve::default();
            for number in 0..count {
                curve.add(at(number * pace, if number == count / 3 { 999 } else { 100 }));
            }
            let points = curve.points();
            assert!(points.len() <= MOST_POINTS, "{}", points.len());
            assert!(points.len() >= (count as usize).min(MOST_POINTS / 4), "{count}: {}", points.len());
            assert!(points.iter().any(|point| point.memory == 999), "{count}");
            assert_eq!(points.last().map(|last| last.millis), Some((count - 1) * pace));
            assert!(points.is_sorted_by_key(|point| point.millis));
            assert!(points.is_sorted_by_key(|point| point.cpu));
            assert_eq!(curve.steady(), 100);
        }
        assert_eq!(Curve::default().steady(), 0);
    }

    #[test]
    fn a_point_is_four_numbers() {
        let mut curve = Curve::default();
        curve.add(at(20, 7));
        let text = serde_json::to_string(&curve).expect("json");
        assert_eq!(text, "[[20,7,1,10]]");
        assert_eq!(serde_json::from_str::<Curve>(&text).expect("own json"), curve);
    }

    #[test]
    fn the_busier_run_tells_of_the_processor() {
        let calm = Used { cpu: 100, millis: 10_000, steady: 9, written: 1, ..Used::default() };
        let busy = Used { cpu: 900, millis: 1000, steady: 3, written: 8, ..Used::default() };
        let both = calm.or_more(busy);
        assert_eq!((both.cpu_average(), both.steady, both.written), (900, 9, 8));
        assert_eq!(Used::default().or_more(calm), calm);
        assert_eq!(Used::default().cpu_average(), 0);
    }
}
