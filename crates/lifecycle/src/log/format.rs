//! One line of a log.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spec::protocol::Stream;

/// What the lines of one moment begin with: short lines come in great numbers, and making a
/// timestamp for each would cost far more than the lines.
#[derive(Debug)]
pub(super) struct Head {
    whole: Vec<u8>,
    part: Vec<u8>,
}

impl Head {
    pub(super) fn new(time: SystemTime, stream: Stream) -> Self {
        let mut head = Vec::with_capacity(40);
        timestamp(&mut head, time);
        head.extend_from_slice(match stream {
            Stream::Out => b" stdout ",
            Stream::Error => b" stderr ",
        });
        Self { whole: [head.as_slice(), b"F "].concat(), part: [head.as_slice(), b"P "].concat() }
    }

    /// Appends a line to `out`; its text may come in two pieces.
    pub(super) fn append(&self, out: &mut Vec<u8>, text: [&[u8]; 2], whole: bool) {
        out.extend_from_slice(if whole { &self.whole } else { &self.part });
        text.into_iter().for_each(|piece| out.extend_from_slice(piece));
        out.push(b'\n');
    }
}

/// Takes a line apart; None if it is none of ours. The text is without the line's end.
pub(super) fn parse(line: &[u8]) -> Option<(&str, Stream, bool, &[u8])> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Out,
        b"stderr" => Stream::Error,
        _ => return None,
    };
    let whole = match fields.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some((time, stream, whole, fields.next()?))
}

fn timestamp(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second, micros) = (rest / 3600, rest / 60 % 60, rest % 60, since.subsec_micros());
    // Writing to memory does not fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
}

/// The date of a day since 1970-01-01 (Howard Hinnant's algorithm, for years that begin in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, date) in [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_778, (2026, 11, 21))] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn a_line_comes_apart_as_it_was_put_together() {
        let mut line = Vec::new();
        let time = UNIX_EPOCH + Duration::from_micros(1_500_000_000_000_042);
        Head::new(time, Stream::Error).append(&mut line, [b"a ", b"\xff b"], true);
        assert_eq!(line, b"2017-07-14T02:40:00.000042Z stderr F a \xff b\n");
        let (time, stream, whole, text) = parse(&line[..line.len() - 1]).expect("a line");
        assert_eq!(
            (time, stream, whole, text),
            ("2017-07-14T02:40:00.000042Z", Stream::Error, true, &b"a \xff b"[..])
        );
        assert!(parse(b"nonsense").is_none());
    }
}
