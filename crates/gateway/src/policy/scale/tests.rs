//! Single decisions, and whole loads played through in their own time.

use std::time::Duration;

use super::*;
use crate::policy::peak::Peak;

fn activation(min: u32, max: u32, concurrency: u32) -> Activation {
    Activation { min, max, concurrency, ..Activation::default() }
}

fn load(queued: u32, in_flight: u32, coming: u32, ready: u32) -> Load {
    Load { queued, in_flight, coming, ready }
}

fn first(activation: &Activation, load: Load) -> u32 {
    wanted(activation, load, load.asked(), &Capacity::default())
}

#[test]
fn one_start_for_many_first_requests() {
    let usual = activation(0, 8, 64);
    assert_eq!(first(&usual, load(1, 0, 0, 0)), 1);
    assert_eq!(first(&usual, load(64, 0, 1, 0)), 1);
    assert_eq!(first(&usual, load(65, 0, 1, 0)), 2);
    assert_eq!(first(&usual, load(3, 64, 1, 1)), 2);
    assert_eq!(first(&usual, load(10_000, 0, 0, 0)), 8);
    assert_eq!(first(&usual, load(u32::MAX, 9, 0, 0)), 8);
}

#[test]
fn never_fewer_than_min_nor_more_than_max() {
    for (queued, ready, peak) in [(0, 0, 0), (0, 9, 0), (900, 1, 900), (0, 3, 5000)] {
        let number = wanted(&activation(2, 4, 1), load(queued, 0, 0, ready), peak, &Capacity::default());
        assert!((2..=4).contains(&number), "{number}");
    }
}

#[test]
fn the_last_one_does_not_go_for_calm_alone() {
    let usual = activation(0, 8, 64);
    assert_eq!(first(&usual, load(0, 0, 0, 1)), 1);
    assert_eq!(first(&usual, load(0, 0, 1, 0)), 1);
    assert_eq!(first(&usual, load(0, 0, 0, 5)), 1);
    assert_eq!(first(&usual, load(0, 0, 0, 0)), 0);
}

#[test]
fn one_that_died_is_not_started_again_for_what_is_over() {
    assert_eq!(wanted(&activation(0, 8, 10), load(0, 5, 0, 1), 80, &Capacity::default()), 1);
}

#[test]
fn the_youngest_idle_one_goes_and_busy_ones_only_finish() {
    let start = Instant::now();
    let one = |in_flight, coming, age: u64| Instance {
        in_flight,
        coming,
        since: start - Duration::from_millis(age),
    };
    let some = [one(0, false, 9), one(0, false, 5), one(3, false, 1), one(0, true, 0)];
    assert_eq!(leaving(&some, 4), None);
    assert_eq!(leaving(&some, 3), Some(Leave::Stop(1)));
    assert_eq!(leaving(&[one(4, false, 9), one(2, false, 5), one(2, false, 7)], 2), Some(Leave::Drain(1)));
    assert_eq!(leaving(&[one(0, true, 9), one(0, true, 5)], 1), None);
}

#[test]
fn less_is_borne_where_nothing_more_can_be_given() {
    let usual = activation(0, 8, 64);
    let mut capacity = Capacity::default();
    let count = |capacity: &Capacity, ready| wanted(&usual, load(0, 10, 0, ready), 10, capacity);
    assert_eq!(count(&capacity, 1), 1);
    capacity.exhausted(load(0, 10, 0, 1));
    assert_eq!(count(&capacity, 1), 2);
    // While it comes, and after that, nobody else is wanted.
    capacity.exhausted(load(0, 10, 1, 1));
    assert_eq!(count(&capacity, 2), 2);
    capacity.exhausted(load(0, 10, 0, 2));
    assert_eq!(count(&capacity, 2), 3);
    // Nor does the same load let it go again.
    capacity.calm(10);
    assert_eq!(count(&capacity, 3), 3);
    capacity.calm(2);
    assert_eq!(capacity, Capacity::default());
}

#[test]
fn one_request_each_is_the_least() {
    let mut capacity = Capacity::default();
    capacity.exhausted(load(0, 3, 0, 3));
    capacity.exhausted(load(9, 0, 0, 0));
    assert_eq!(capacity, Capacity::default());
}

/// A service whose instances take a while to come and go when they are too many.
struct Play {
    activation: Activation,
    peak: Peak,
    now: Instant,
    ready: u32,
    coming: Vec<Instant>,
    starts: u32,
    stops: u32,
}

impl Play {
    const TICK: Duration = Duration::from_millis(10);

    fn new(activation: Activation) -> Self {
        let now = Instant::now();
        let peak = Peak::new(now, activation.calm);
        Self { activation, peak, now, ready: 0, coming: Vec::new(), starts: 0, stops: 0 }
    }

    fn step(&mut self, asked: u32) {
        self.now += Self::TICK;
        let before = self.coming.len();
        self.coming.retain(|at| *at > self.now);
        self.ready += (before - self.coming.len()) as u32;
        let in_flight = asked.min(self.ready * self.activation.concurrency);
        let load = load(asked - in_flight, in_flight, self.coming.len() as u32, self.ready);
        self.peak.note(self.now, asked);
        let number = wanted(&self.activation, load, self.peak.most(self.now), &Capacity::default());
        assert!(number <= self.activation.max && number >= self.activation.min);
        for _ in load.have()..number {
            self.coming.push(self.now + Duration::from_millis(50));
            self.starts += 1;
        }
        if number < load.have() && self.ready > 0 {
            self.ready -= 1;
            self.stops += 1;
        }
    }
}

/// Numbers that only look like chance: every run is the same.
fn chance(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as f64 / (1u64 << 31) as f64
}

#[test]
fn a_load_that_sways_by_a_tenth_never_makes_instances_come_and_go() {
    for concurrency in [1, 2, 7, 64] {
        for level in [1_u32, 3, 10, 63, 64, 65, 128, 500] {
            let mut play = Play::new(activation(0, 1000, concurrency));
            let mut seed = u64::from(level);
            // Ten minutes to find out, an hour to prove it.
            let mut sway = |play: &mut Play, seconds: u32| {
                for _ in 0..seconds * 100 {
                    let by = 0.9 + 0.2 * chance(&mut seed);
                    play.step((f64::from(level) * by).round() as u32);
                }
            };
            sway(&mut play, 120);
            let known = (play.starts, play.stops);
            sway(&mut play, 600);
            assert_eq!(play.stops, known.1, "concurrency {concurrency}, level {level}");
            assert!(play.starts - known.0 <= 1, "concurrency {concurrency}, level {level}");
        }
    }
}

#[test]
fn a_step_of_the_load_is_followed_at_once_and_left_after_the_calm() {
    let mut play = Play::new(activation(1, 50, 10));
    play.step(5);
    (0..10).for_each(|_| play.step(5));
    assert_eq!((play.starts, play.ready), (1, 1));
    play.step(300);
    assert_eq!(play.starts, 30, "all in the same moment");
    (0..100).for_each(|_| play.step(300));
    assert_eq!((play.ready, play.stops), (30, 0));
    // Less for less than the calm time changes nothing.
    for _ in 0..20 {
        (0..2000).for_each(|_| play.step(5));
        (0..100).for_each(|_| play.step(300));
    }
    assert_eq!((play.starts, play.stops), (30, 0));
    (0..3300).for_each(|_| play.step(5));
    assert_eq!((play.ready, play.stops), (1, 29));
}
