//! How many instances a service should have.
//!
//! More come at once, from what is known this very moment: what waits and what is in flight. Fewer come
//! only when what was asked at most within the calm time would fit into fewer with something to spare, so
//! that a load which stays the same, or sways a little, never makes them come and go.

use std::cmp::Reverse;
use std::time::Instant;

use spec::activation::Activation;

/// What is asked of a service, and who is there for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that wait for an instance.
    pub queued: u32,
    /// Requests that instances have.
    pub in_flight: u32,
    /// Instances that are being started or thawed.
    pub coming: u32,
    /// Instances that take requests.
    pub ready: u32,
}

impl Load {
    /// Everything that is asked: what [`Peak`](super::peak::Peak) is told.
    pub fn asked(self) -> u32 {
        self.queued.saturating_add(self.in_flight)
    }

    /// How many instances there are, or will be in a moment: whoever waits for one that is coming needs no other.
    pub fn have(self) -> u32 {
        self.coming.saturating_add(self.ready)
    }
}

/// How many instances there should be, where `peak` is the most that was asked at once within the calm time.
///
/// The last one is not sent away here: it goes when it has been idle for long enough.
pub fn wanted(activation: &Activation, load: Load, peak: u32, capacity: &Capacity) -> u32 {
    let each = capacity.of(activation);
    let now = load.asked().div_ceil(each);
    // A quarter to spare: what sways less than that does not bring a stopped one back.
    let calm = (peak.saturating_add(peak / 4)).div_ceil(each);
    let keep = load.have().min(calm.max(1));
    now.max(keep).clamp(activation.min, activation.max)
}

/// How many requests at once an instance of a service bears: what is said, or less where more processor and
/// memory were wanted for it and not to be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity(Option<u32>);

impl Capacity {
    /// How many that are.
    pub fn of(&self, activation: &Activation) -> u32 {
        self.0.unwrap_or(u32::MAX).min(activation.concurrency).max(1)
    }

    /// The instances have too much to do, and nothing more can be given to them (`Share::is_exhausted`):
    /// each bears less than it has, so one more is wanted.
    pub fn exhausted(&mut self, load: Load) {
        // One that comes will help; and where each has one request, another instance would have none.
        if load.coming == 0 && load.ready > 0 && load.in_flight > load.ready {
            let each = (load.in_flight - 1) / load.ready;
            self.0 = Some(self.0.map_or(each, |known| known.min(each)));
        }
    }

    /// The most that was asked within the calm time: when that is little, what was found may have changed.
    pub fn calm(&mut self, peak: u32) {
        if self.0.is_some_and(|known| peak <= known / 2) {
            self.0 = None;
        }
    }
}

/// One instance, when it is asked who goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Requests that it has.
    pub in_flight: u32,
    /// Whether it is still being started or thawed.
    pub coming: bool,
    /// Since when it exists.
    pub since: Instant,
}

/// How one that is too much goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The instance at this place of the list has nothing to do: it is stopped.
    Stop(usize),
    /// Nobody is idle: this one takes no new requests, finishes what it has, and is stopped then. Nothing
    /// hurries, so no time limit holds for it; and it is taken back before another one is started.
    Drain(usize),
}

/// Who goes, where there are more than `wanted`: the youngest of those that are idle, else the one with the
/// fewest requests. One that comes is let come: whoever waits for it counts on it.
pub fn leaving(instances: &[Instance], wanted: u32) -> Option<Leave> {
    if instances.len() <= wanted as usize {
        return None;
    }
    let ready = instances.iter().enumerate().filter(|(_, one)| !one.coming);
    let (place, one) = ready.min_by_key(|(_, one)| (one.in_flight, Reverse(one.since)))?;
    Some(if one.in_flight == 0 { Leave::Stop(place) } else { Leave::Drain(place) })
}

#[cfg(test)]
mod tests;
