//! Samples put into spans of equal length, for people to look at.

use serde::Serialize;

use super::sample::{Figure, Sample};

/// What is known of a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// Where it begins, in milliseconds since 1970.
    pub time_ms: u64,
    /// Of one processor, on average.
    pub cpu_percent: Option<f64>,
    /// Of the time, for which a quota has held tasks.
    pub throttled_percent: Option<f64>,
    /// At most.
    pub memory_bytes: Option<u64>,
    /// At most.
    pub cache_bytes: Option<u64>,
    /// At most.
    pub swap_bytes: Option<u64>,
    /// At most.
    pub pids: Option<u64>,
    /// Of a minute, at most.
    pub load_1m: Option<f64>,
    /// On average.
    pub read_bytes_per_second: Option<f64>,
    /// On average.
    pub written_bytes_per_second: Option<f64>,
    /// On average.
    pub received_bytes_per_second: Option<f64>,
    /// On average.
    pub sent_bytes_per_second: Option<f64>,
    /// Of the time, in which somebody waited for a processor.
    pub waits_cpu_percent: Option<f64>,
    /// For memory.
    pub waits_memory_percent: Option<f64>,
    /// For devices.
    pub waits_io_percent: Option<f64>,
    /// Processes killed for lack of memory.
    pub oom_kills: Option<u64>,
}

/// Puts the samples between two moments into `count` spans.
pub fn buckets(samples: &[Sample], from: u64, to: u64, count: usize) -> Vec<Bucket> {
    let spans = Spans { from, to, count: count.max(1) };
    let rate = |figure, unit: f64| spans.rates(samples, figure, unit);
    let most = |figure| spans.most(samples, figure);
    // Nanoseconds and microseconds of a second, in per cent.
    let (nano, micro) = (1e-7, 1e-4);
    let [cpu, throttled] = [Figure::Cpu, Figure::Throttled].map(|figure| rate(figure, nano));
    let [waits_cpu, waits_memory, waits_io] =
        [Figure::WaitsCpu, Figure::WaitsMemory, Figure::WaitsIo].map(|figure| rate(figure, micro));
    let [read, written, received, sent] =
        [Figure::Read, Figure::Written, Figure::Received, Figure::Sent].map(|figure| rate(figure, 1.0));
    let [memory, cache, swap, pids, load] =
        [Figure::Memory, Figure::Cache, Figure::Swap, Figure::Pids, Figure::Load1].map(most);
    let kills = spans.sums(samples, Figure::OomKills);
    let bucket = |at: usize| Bucket {
        time_ms: spans.begin(at) as u64,
        cpu_percent: cpu[at],
        throttled_percent: throttled[at],
        memory_bytes: memory[at],
        cache_bytes: cache[at],
        swap_bytes: swap[at],
        pids: pids[at],
        load_1m: load[at].map(|load| load as f64 / 1000.0),
        read_bytes_per_second: read[at],
        written_bytes_per_second: written[at],
        received_bytes_per_second: received[at],
        sent_bytes_per_second: sent[at],
        waits_cpu_percent: waits_cpu[at],
        waits_memory_percent: waits_memory[at],
        waits_io_percent: waits_io[at],
        oom_kills: kills[at].map(|(more, _)| more.round() as u64),
    };
    (0..spans.count).map(bucket).collect()
}

/// So many spans of equal length.
struct Spans {
    from: u64,
    to: u64,
    count: usize,
}

/// Two samples of one count, the second not before the first.
type Pair<'a> = (&'a Sample, &'a Sample);

impl Spans {
    fn begin(&self, at: usize) -> f64 {
        self.from as f64 + self.to.saturating_sub(self.from) as f64 * at as f64 / self.count as f64
    }

    /// For how many milliseconds a pair lies in a span.
    fn common(&self, (one, other): Pair<'_>, at: usize) -> f64 {
        let from = self.begin(at).max(one.time as f64);
        (self.begin(at + 1).min(other.time as f64) - from).max(0.0)
    }

    /// How much more there was of a count, and of how many milliseconds that is known: what was counted
    /// between two samples is spread over the time between them.
    fn sums(&self, samples: &[Sample], figure: Figure) -> Vec<Option<(f64, f64)>> {
        let mut sums = vec![None; self.count];
        for pair in pairs(samples) {
            let (Some(before), Some(after)) = (pair.0.get(figure), pair.1.get(figure)) else { continue };
            let Some(more) = after.checked_sub(before) else { continue };
            let each = more as f64 / pair.1.time.saturating_sub(pair.0.time).max(1) as f64;
            for (at, sum) in sums.iter_mut().enumerate() {
                let common = self.common(pair, at);
                if common > 0.0 {
                    let (more, time) = sum.unwrap_or((0.0, 0.0));
                    *sum = Some((more + each * common, time + common));
                }
            }
        }
        sums
    }

    /// In units of a second.
    fn rates(&self, samples: &[Sample], figure: Figure, unit: f64) -> Vec<Option<f64>> {
        let rate = |(more, millis): (f64, f64)| more / millis * 1000.0 * unit;
        self.sums(samples, figure).into_iter().map(|sum| sum.map(rate)).collect()
    }

    /// Between two samples it was what it was at the first, or else it would have been written.
    fn most(&self, samples: &[Sample], figure: Figure) -> Vec<Option<u64>> {
        let mut most: Vec<Option<u64>> = vec![None; self.count];
        for pair in pairs(samples) {
            for (at, most) in most.iter_mut().enumerate() {
                if self.common(pair, at) > 0.0 {
                    *most = (*most).max(pair.0.get(figure));
                }
                let ends = (self.begin(at)..self.begin(at + 1)).contains(&(pair.1.time as f64));
                if ends {
                    *most = (*most).max(pair.1.get(figure));
                }
            }
        }
        most
    }
}

/// Neighbours that have the same beginning.
fn pairs(samples: &[Sample]) -> impl Iterator<Item = Pair<'_>> {
    let pairs = samples.windows(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
    pairs.filter(|(one, other)| one.get(Figure::Started) == other.get(Figure::Started))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, cpu_seconds: u64, memory: u64) -> Sample {
        Sample::new(seconds * 1000)
            .with(Figure::Cpu, Some(cpu_seconds * 1_000_000_000))
            .with(Figure::Memory, Some(memory))
    }

    #[test]
    fn counts_become_rates_and_levels_the_most() {
        let samples = [at(100, 0, 5), at(110, 10, 9), at(120, 15, 3), at(160, 15, 4)];
        let rows = buckets(&samples, 100_000, 160_000, 6);
        let cpu: Vec<_> = rows.iter().map(|row| row.cpu_percent.map(f64::round)).collect();
        assert_eq!(cpu, [Some(100.0), Some(50.0), Some(0.0), Some(0.0), Some(0.0), Some(0.0)]);
        let memory: Vec<_> = rows.iter().map(|row| row.memory_bytes).collect();
        assert_eq!(memory, [Some(5), Some(9), Some(3), Some(3), Some(3), Some(3)]);
        assert_eq!(rows[1].time_ms, 110_000);
    }

    #[test]
    fn what_nobody_saw_is_not_known() {
        let rows = buckets(&[at(100, 0, 5), at(110, 10, 9)], 80_000, 120_000, 4);
        let known: Vec<_> = rows.iter().map(|row| row.cpu_percent.is_some()).collect();
        assert_eq!(known, [false, false, true, false]);
        assert_eq!(buckets(&[], 0, 1000, 1)[0], Bucket::default());
    }

    #[test]
    fn another_start_is_another_count() {
        let begun = |sample: Sample, started| sample.with(Figure::Started, Some(started));
        let samples = [begun(at(100, 3, 1), 1), begun(at(110, 9, 1), 2), begun(at(120, 10, 1), 2)];
        let rows = buckets(&samples, 100_000, 120_000, 2);
        assert_eq!((rows[0].cpu_percent, rows[1].cpu_percent.map(f64::round)), (None, Some(10.0)));
    }
}
