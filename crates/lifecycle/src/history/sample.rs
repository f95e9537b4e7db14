//! One sample: numbers in a fixed order, in a record of fixed size with a sum.

/// What is sampled. Counts since the start unless said otherwise; the order is that of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// When the container was started, in milliseconds since 1970: what was counted before is another
    /// count.
    Started,
    /// Processor time in nanoseconds.
    Cpu,
    /// For how long a quota has held tasks, in nanoseconds.
    Throttled,
    /// The working set in bytes, now. Of the host, what is not available.
    Memory,
    /// Page cache in bytes, now.
    Cache,
    /// Swap in bytes, now.
    Swap,
    /// Processes killed for lack of memory.
    OomKills,
    /// Tasks, now.
    Pids,
    /// Bytes read from block devices.
    Read,
    /// Bytes written to block devices.
    Written,
    /// Bytes that came over the network.
    Received,
    /// Bytes that went over the network.
    Sent,
    /// Load average of a minute, in thousandths.
    Load1,
    /// Of 5 minutes.
    Load5,
    /// Of 15 minutes.
    Load15,
    /// For how long somebody waited for a processor, in microseconds.
    WaitsCpu,
    /// For memory.
    WaitsMemory,
    /// For devices.
    WaitsIo,
    /// How often its policy has started it again.
    Restarts,
}

/// How many there are.
const FIGURES: usize = Figure::Restarts as usize + 1;

/// Bytes of one in a file: time, figures, sum.
pub(super) const BYTES: usize = 8 * (FIGURES + 2);

/// Of what is not known.
const UNKNOWN: u64 = u64::MAX;

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub time: u64,
    values: [u64; FIGURES],
}

impl Sample {
    /// Of which nothing is known yet.
    pub fn new(time: u64) -> Self {
        Self { time, values: [UNKNOWN; FIGURES] }
    }

    /// A figure; None where it is not known.
    pub fn get(&self, figure: Figure) -> Option<u64> {
        let value = self.values[figure as usize];
        (value != UNKNOWN).then_some(value)
    }

    /// The same with a figure.
    #[must_use]
    pub fn with(mut self, figure: Figure, value: Option<u64>) -> Self {
        self.values[figure as usize] = value.unwrap_or(UNKNOWN);
        self
    }

    /// The same at another time.
    #[must_use]
    pub fn at(self, time: u64) -> Self {
        Self { time, ..self }
    }

    /// Whether it says nothing else than another, but for the time.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        self.values == other.values
    }

    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let words = [self.time].into_iter().chain(self.values).chain([self.sum()]);
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// None of a place that was never written, or only half.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let mut sample = Self::new(word(0)?);
        for (at, value) in sample.values.iter_mut().enumerate() {
            *value = word(at + 1)?;
        }
        (sample.time > 0 && word(FIGURES + 1)? == sample.sum()).then_some(sample)
    }

    fn sum(&self) -> u64 {
        sum([self.time].into_iter().chain(self.values))
    }
}

/// FNV-1a over words: against halves of records, not against people.
pub(super) fn sum(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let sample = Sample::new(7).with(Figure::Cpu, Some(3)).with(Figure::Restarts, Some(0));
        let bytes = sample.encode();
        assert_eq!(Sample::decode(&bytes), Some(sample));
        assert_eq!((sample.get(Figure::Cpu), sample.get(Figure::Memory)), (Some(3), None));
        assert!(sample.says_the_same_as(&sample.at(9)));
        for at in 0..bytes.len() {
            let mut torn = bytes;
            torn[at] ^= 1;
            assert_eq!(Sample::decode(&torn), None, "{at}");
        }
        assert_eq!(Sample::decode(&[0; BYTES]), None);
        assert_eq!(Sample::decode(&bytes[..50]), None);
    }
}
