//! Files of control groups: numbers, lines of keys, pressure, devices.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::{Io, Pressure, Stall};
use crate::layout::Version;

/// The directory of a group in one hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Place {
    version: Version,
    directory: PathBuf,
}

/// What was in a file.
#[derive(Debug)]
pub(super) struct Text(String);

impl Place {
    pub(super) fn new(version: Version, directory: &Path) -> Self {
        Self { version, directory: directory.to_owned() }
    }

    pub(super) fn is_two(&self) -> bool {
        self.version == Version::Two
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.directory.join(file).exists()
    }

    pub(super) fn text(&self, file: &str) -> Option<Text> {
        read(&self.directory.join(file)).map(Text)
    }

    /// None also where it says `max`, or less than nothing.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    pub(super) fn open(&self, file: &str) -> Option<fs::File> {
        fs::File::open(self.directory.join(file)).ok()
    }

    /// Whether a group above has a line of some device in a file.
    pub(super) fn counts_above(&self, file: &str) -> bool {
        let above = self.directory.ancestors().skip(1).map(|directory| read(&directory.join(file)));
        // Beyond the hierarchy there is no such file.
        above.map_while(|text| text).any(|text| text.contains(':'))
    }
}

/// The beginning of an open file, once more.
pub(super) fn again(file: &fs::File) -> Option<Text> {
    let mut bytes = [0; 1024];
    let length = rustix::io::pread(file, &mut bytes, 0).ok()?;
    String::from_utf8(bytes.get(..length)?.to_vec()).ok().map(Text)
}

/// These files have no size to tell beforehand, and most are short.
fn read(path: &Path) -> Option<String> {
    let file = fs::File::open(path).ok()?;
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    loop {
        match rustix::io::read(&file, &mut bytes[length..]).ok()? {
            0 => break,
            count => length += count,
        }
        if length < bytes.len() {
            // The kernel gives these whole.
            break;
        }
        bytes.resize(length * 2, 0);
    }
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Text {
    /// The number after a key in lines of keys and numbers.
    pub(super) fn key(&self, key: &str) -> Option<u64> {
        let line = self.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line?.trim().parse().ok()
    }

    /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
    pub(super) fn pressure(&self) -> Option<Pressure> {
        let line = |start: &str| self.lines().find_map(|line| stall(line.strip_prefix(start)?));
        Some(Pressure { some: line("some ")?, full: line("full ") })
    }
}

fn stall(line: &str) -> Option<Stall> {
    let value = |key: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let average = |key: &str| value(key)?.parse().ok();
    Some(Stall {
        avg10: average("avg10")?,
        avg60: average("avg60")?,
        avg300: average("avg300")?,
        total: value("total")?.trim().parse().ok()?,
    })
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
pub(super) fn io_two(text: &str) -> Vec<Io> {
    let device = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let mut io = of(words.next()?)?;
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let place = match key {
                "rbytes" => &mut io.read_bytes,
                "wbytes" => &mut io.written_bytes,
                "rios" => &mut io.reads,
                "wios" => &mut io.writes,
                _ => continue,
            };
            *place = value.parse().ok()?;
        }
        Some(io)
    };
    text.lines().filter_map(device).collect()
}

/// `8:0 Read 4096`, in a file for bytes and one for transfers.
pub(super) fn io_one(bytes: &str, transfers: &str) -> Vec<Io> {
    let mut devices: Vec<Io> = Vec::new();
    for (text, counts_bytes) in [(bytes, true), (transfers, false)] {
        for (device, op, value) in text.lines().filter_map(line_one) {
            let at = devices.iter().position(|io| (io.major, io.minor) == (device.major, device.minor));
            let at = at.unwrap_or_else(|| {
                devices.push(device);
                devices.len() - 1
            });
            let io = &mut devices[at];
            match (op, counts_bytes) {
                ("Read", true) => io.read_bytes = value,
                ("Write", true) => io.written_bytes = value,
                ("Read", false) => io.reads = value,
                ("Write", false) => io.writes = value,
                _ => {}
            }
        }
    }
    devices
}

fn line_one(line: &str) -> Option<(Io, &str, u64)> {
    let mut words = line.split_ascii_whitespace();
    Some((of(words.next()?)?, words.next()?, words.next()?.parse().ok()?))
}

/// A device of which nothing is known yet.
fn of(word: &str) -> Option<Io> {
    let (major, minor) = word.split_once(':')?;
    Some(Io { major: major.parse().ok()?, minor: minor.parse().ok()?, ..Io::default() })
}
