//! What has happened, in a record of fixed size.

use serde::Serialize;

use super::sample::sum;
use crate::events::What;

/// Bytes of one in a file: number, time, kind, detail, sum.
pub(super) const BYTES: usize = 8 * 5;

/// The kinds; new ones go to the end.
const KINDS: [&str; 9] = ["start", "die", "stop", "kill", "pause", "unpause", "oom", "restart", "update"];

/// Something that has happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// What, as `tsubo events` calls it.
    pub event: &'static str,
    /// Exit code, signal or number of the restart.
    pub detail: Option<i64>,
}

impl Mark {
    /// Of an event at a time in microseconds; None of what says nothing about figures.
    pub(super) fn of(time: u64, what: &What) -> Option<Self> {
        let (event, detail) = match what {
            What::Start => ("start", None),
            What::Die { code } => ("die", Some(i64::from(*code))),
            What::Stop => ("stop", None),
            What::Kill { signal } => ("kill", Some(i64::from(*signal))),
            What::Pause => ("pause", None),
            What::Unpause => ("unpause", None),
            What::Oom => ("oom", None),
            What::Restart { times } => ("restart", times.map(i64::from)),
            What::Update => ("update", None),
            _ => return None,
        };
        Some(Self { time_ms: time / 1000, event, detail })
    }

    pub(super) fn encode(&self, number: u64) -> [u8; BYTES] {
        let kind = KINDS.iter().position(|kind| *kind == self.event).unwrap_or(KINDS.len()) as u64;
        let words = [number, self.time_ms, kind, self.detail.unwrap_or(i64::MIN) as u64];
        let mut bytes = [0; BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words.into_iter().chain([sum(words)])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// With its number.
    pub(super) fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at * 8..at * 8 + 8)?.try_into().ok()?));
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let [number, time_ms, kind, detail] = words;
        let event = KINDS.get(usize::try_from(kind).ok()?)?;
        let detail = Some(detail as i64).filter(|detail| *detail != i64::MIN);
        (time_ms > 0 && word(4)? == sum(words)).then_some((number, Self { time_ms, event, detail }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_back() {
        for what in [What::Start, What::Die { code: -3 }, What::Restart { times: Some(2) }, What::Update] {
            let mark = Mark::of(5_000_000, &what).expect("a mark");
            assert_eq!(Mark::decode(&mark.encode(9)), Some((9, mark)));
        }
        assert_eq!(Mark::of(1, &What::Create), None);
        assert_eq!(Mark::decode(&[0; BYTES]), None);
    }
}
