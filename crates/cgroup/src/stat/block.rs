//! Block devices.

use super::read::Files;
use super::{Blkio, BlkioEntry};

pub(super) fn block(files: &Files) -> Blkio {
    let psi = files.pressure("io.pressure");
    let entries = |names: &[&str]| {
        let texts = names.iter().filter_map(|file| files.text(file)).map(|text| lines_one(&text));
        texts.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default()
    };
    if let Some(text) = files.text("io.stat") {
        let (bytes, transfers) = lines_two(&text);
        return Blkio { io_service_bytes_recursive: bytes, io_serviced_recursive: transfers, psi };
    }
    Blkio {
        io_service_bytes_recursive: entries(&[
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        ]),
        io_serviced_recursive: entries(&[
            "blkio.bfq.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
        ]),
        psi,
    }
}

/// `8:0 Read 4096`; the sum in the last line has no device.
pub(super) fn lines_one(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = device(words.next()?)?;
        let op = words.next()?.to_owned();
        Some(BlkioEntry { major, minor, op, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
pub(super) fn lines_two(text: &str) -> (Vec<BlkioEntry>, Vec<BlkioEntry>) {
    let (mut bytes, mut transfers) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "dbytes" => (&mut bytes, "Discard"),
                "rios" => (&mut transfers, "Read"),
                "wios" => (&mut transfers, "Write"),
                "dios" => (&mut transfers, "Discard"),
                _ => continue,
            };
            let value = value.parse().unwrap_or(0);
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    (bytes, transfers)
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
