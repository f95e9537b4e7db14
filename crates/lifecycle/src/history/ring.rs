//! A file of fixed size: a sample for each 5 seconds of the last 10 minutes, one for each minute of the
//! last day, and what has happened.
//!
//! Where a sample lies follows from its time, and each has a sum: whatever is interrupted, what is
//! older than a day and what is half written is told from the rest, and nothing needs to be mended.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use spec::{Result, ResultExt};

use super::mark::{self, Mark};
use super::sample::{self, Sample};
use super::{DAY, STEP};
use crate::record::now;

/// How far back the close samples go.
const CLOSE: u64 = 10 * 60 * 1000;
const MINUTE: u64 = 60 * 1000;

/// What the file begins with: the last character is the version of the form.
const MAGIC: [u8; 16] = *b"tsubo history  1";

const CLOSE_SLOTS: u64 = CLOSE / STEP;
const FAR_SLOTS: u64 = DAY / MINUTE;
const MARK_SLOTS: u64 = 240;

const CLOSE_AT: u64 = MAGIC.len() as u64;
const FAR_AT: u64 = CLOSE_AT + CLOSE_SLOTS * sample::BYTES as u64;
const MARKS_AT: u64 = FAR_AT + FAR_SLOTS * sample::BYTES as u64;
/// All of it, where every place has been written; what was never written takes no room.
pub(super) const SIZE: u64 = MARKS_AT + MARK_SLOTS * mark::BYTES as u64;

/// The file of one container, or of the host, open for writing.
#[derive(Debug)]
pub(super) struct Ring(File);

impl Ring {
    /// Opens it, makes it in a directory that is there. One of another form is begun anew.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut magic = [0; MAGIC.len()];
        if file.read_exact_at(&mut magic, 0).is_err() || magic != MAGIC {
            file.set_len(0)?;
            file.set_len(SIZE)?;
            file.write_all_at(&MAGIC, 0)?;
        }
        Ok(Self(file))
    }

    /// Writes the sample of these 5 seconds.
    pub(super) fn put_close(&self, sample: &Sample) -> std::io::Result<()> {
        let slot = sample.time / STEP % CLOSE_SLOTS;
        self.0.write_all_at(&sample.encode(), CLOSE_AT + slot * sample::BYTES as u64)
    }

    /// Writes the sample of this minute.
    pub(super) fn put_far(&self, sample: &Sample) -> std::io::Result<()> {
        let slot = sample.time / MINUTE % FAR_SLOTS;
        self.0.write_all_at(&sample.encode(), FAR_AT + slot * sample::BYTES as u64)
    }

    /// Adds what is newer than all that is there.
    pub(super) fn add(&self, marks: &[Mark]) -> std::io::Result<()> {
        let mut bytes = vec![0; (SIZE - MARKS_AT) as usize];
        self.0.read_exact_at(&mut bytes, MARKS_AT)?;
        let last = bytes.chunks_exact(mark::BYTES).filter_map(Mark::decode).max_by_key(|(number, _)| *number);
        let (mut number, newest) = last.map_or((0, 0), |(number, mark)| (number + 1, mark.time_ms));
        // Of one millisecond those that were there were all written together.
        for mark in marks.iter().filter(|mark| mark.time_ms > newest) {
            let at = MARKS_AT + number % MARK_SLOTS * mark::BYTES as u64;
            self.0.write_all_at(&mark.encode(number), at)?;
            number += 1;
        }
        Ok(())
    }
}

/// All that is known of the last day, the oldest first; nothing where there is no file.
pub(super) fn read(path: &Path) -> Result<(Vec<Sample>, Vec<Mark>)> {
    let Some(bytes) = bytes(path, SIZE)? else { return Ok((Vec::new(), Vec::new())) };
    let now = now();
    let part = |from: u64, to: u64| bytes.get(from as usize..to as usize).unwrap_or_default();
    let samples = |from, to, back: u64| {
        let all = part(from, to).chunks_exact(sample::BYTES).filter_map(Sample::decode);
        all.filter(move |sample| sample.time + back >= now && sample.time <= now + STEP)
    };
    let mut all: Vec<Sample> = samples(CLOSE_AT, FAR_AT, DAY).chain(samples(FAR_AT, MARKS_AT, DAY)).collect();
    all.sort_by_key(|sample| sample.time);
    all.dedup_by_key(|sample| sample.time);
    let marks = part(MARKS_AT, SIZE).chunks_exact(mark::BYTES).filter_map(Mark::decode);
    let mut marks: Vec<(u64, Mark)> = marks.filter(|(_, mark)| mark.time_ms + DAY >= now).collect();
    marks.sort_by_key(|(number, _)| *number);
    Ok((all, marks.into_iter().map(|(_, mark)| mark).collect()))
}

/// The newest sample.
pub(super) fn last(path: &Path) -> Result<Option<Sample>> {
    let Some(bytes) = bytes(path, FAR_AT)? else { return Ok(None) };
    let close = bytes.get(CLOSE_AT as usize..).unwrap_or_default();
    let now = now();
    let samples = close.chunks_exact(sample::BYTES).filter_map(Sample::decode);
    // Of the future are those from before the clock was set back.
    Ok(samples.filter(|sample| sample.time <= now + STEP).max_by_key(|sample| sample.time))
}

/// The first so many bytes, if it is a file of this form.
fn bytes(path: &Path, count: u64) -> Result<Option<Vec<u8>>> {
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = vec![0; count as usize];
        match file.read_exact_at(&mut bytes, 0) {
            // It is just being made.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| bytes.starts_with(&MAGIC).then_some(bytes)),
        }
    };
    read().doing(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::sample::Figure;
    use super::*;

    fn at(time: u64, cpu: u64) -> Sample {
        Sample::new(time).with(Figure::Cpu, Some(cpu))
    }

    #[test]
    fn a_week_takes_no_more_room_than_a_day() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("history");
        let ring = Ring::open(&path).expect("ring");
        let end = now();
        let steps = 7 * DAY / MINUTE;
        for step in 0..steps {
            let sample = at(end - (steps - 1 - step) * MINUTE, step);
            ring.put_far(&sample).and_then(|()| ring.put_close(&sample)).expect("written");
        }
        assert_eq!(std::fs::metadata(&path).expect("file").len(), SIZE);
        let (samples, _) = read(&path).expect("read");
        assert!(
            samples.len() as u64 <= FAR_SLOTS + 1 && samples.len() as u64 >= FAR_SLOTS - 1,
            "{}",
            samples.len()
        );
        assert!(samples.windows(2).all(|pair| pair[0].time < pair[1].time));
        assert_eq!(samples.last(), Some(&at(end, steps - 1)));
        assert_eq!(last(&path).expect("read"), Some(at(end, steps - 1)));
    }

    #[test]
    fn what_is_older_or_half_written_is_not_there() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("history");
        assert!(read(&path).expect("none").0.is_empty() && last(&path).expect("none").is_none());
        let ring = Ring::open(&path).expect("ring");
        ring.put_far(&at(now() - DAY - MINUTE, 1)).expect("old");
        ring.put_close(&at(now(), 2)).expect("new");
        assert_eq!(read(&path).expect("read").0.len(), 1);
        let slot = now() / STEP % CLOSE_SLOTS;
        ring.0.write_all_at(&[7; 20], CLOSE_AT + slot * sample::BYTES as u64).expect("torn");
        assert_eq!(read(&path).expect("read").0.len(), 0);
        std::fs::write(&path, b"something else").expect("other");
        assert!(read(&path).expect("other").0.is_empty());
        Ring::open(&path).expect("anew").put_close(&at(now(), 2)).expect("new");
        assert_eq!(read(&path).expect("read").0.len(), 1);
    }

    #[test]
    fn marks_are_added_once_and_the_oldest_go() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("history");
        let ring = Ring::open(&path).expect("ring");
        let begin = now() - 1000;
        let mark = |number: u64| Mark { time_ms: begin + number, event: "start", detail: None };
        let marks: Vec<Mark> = (0..300).map(mark).collect();
        ring.add(&marks[..10]).expect("some");
        ring.add(&marks).expect("all, with those again");
        let (_, kept) = read(&path).expect("read");
        assert_eq!(kept, marks[60..]);
    }
}
