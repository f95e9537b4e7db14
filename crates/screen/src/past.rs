//! The last minutes of each container, for the lines that show them.

use std::collections::VecDeque;

use lifecycle::figures::Figures;
use lifecycle::history::{Bucket, Figure, History, buckets};
use spec::Id;

/// How many moments are kept: as many as the widest screen shows.
const MOMENTS: usize = 240;

/// A value for each look, the oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    pub(crate) id: Id,
    pub(crate) cpu: VecDeque<f64>,
    pub(crate) memory: VecDeque<f64>,
    pub(crate) io: VecDeque<f64>,
}

impl Past {
    pub(crate) fn new(id: Id) -> Self {
        Self { id, cpu: VecDeque::new(), memory: VecDeque::new(), io: VecDeque::new() }
    }

    /// Adds what was seen now.
    pub(crate) fn add(&mut self, figures: &Figures) {
        let memory = figures.memory.counts.working_set.map(|bytes| bytes as f64);
        let io = figures.io.as_ref();
        let io = io.and_then(|io| Some(io.read_bytes_per_second? + io.written_bytes_per_second?));
        for (values, value) in
            [(&mut self.cpu, figures.cpu.percent), (&mut self.memory, memory), (&mut self.io, io)]
        {
            push(values, value.unwrap_or(0.0));
        }
    }
}

fn push(values: &mut VecDeque<f64>, value: f64) {
    values.push_back(value);
    if values.len() > MOMENTS {
        values.pop_front();
    }
}

/// What a sampler knows of the last minutes, if one runs: so that the lines do not begin empty.
pub(crate) fn minutes(history: &History, now: u64) -> Vec<Bucket> {
    let known = history.samples.iter().any(|sample| sample.get(Figure::Cpu).is_some());
    if known { buckets(&history.samples, now.saturating_sub(600_000), now, 120) } else { Vec::new() }
}
