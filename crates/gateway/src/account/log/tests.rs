//! Files that are full, renamed and rotated; a pipe stands for a disk that has room again later.

use std::io::Read;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::*;

/// A line that tells its number.
fn note(log: &mut AccessLog, number: usize) {
    let target = format!("/{number}");
    log.note(&Entry {
        time: SystemTime::UNIX_EPOCH,
        client: IpAddr::from([192, 0, 2, 7]),
        method: "GET",
        target: &target,
        version: None,
        host: None,
        referer: None,
        agent: None,
        status: 200,
        sent: 0,
        whole: true,
        service: None,
        instance: None,
        cold: false,
        waited: Duration::ZERO,
        upstream: None,
        took: Duration::ZERO,
        retries: 0,
    });
}

/// The numbers of the lines, each of which must be a whole one.
fn numbers(text: &str) -> Vec<usize> {
    let number = |line: &str| {
        assert!(line.starts_with("192.0.2.7 - - [") && line.ends_with("retries=0"), "{line:?}");
        line.split("\"GET /").nth(1)?.split(' ').next()?.parse().ok()
    };
    text.lines().map(|line| number(line).expect("a number")).collect()
}

fn read(path: &Path) -> Vec<usize> {
    numbers(&std::fs::read_to_string(path).expect("a log"))
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    (dir, path)
}

#[test]
fn lines_are_written_together() {
    let (_dir, path) = place();
    let mut log = AccessLog::open(&path, Format::Combined, None).expect("a log");
    (0..3).for_each(|number| note(&mut log, number));
    assert_eq!(read(&path), [] as [usize; 0]);
    log.flush();
    assert_eq!(read(&path), [0, 1, 2]);
    (3..1000).for_each(|number| note(&mut log, number));
    assert!(read(&path).len() > 300, "enough of them are not kept");
    drop(log);
    assert_eq!(read(&path), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let mut log = AccessLog::open(Path::new("/dev/full"), Format::Combined, None).expect("a log");
    (0..50_000).for_each(|number| note(&mut log, number));
    log.flush();
    assert!(log.lines.len() < MOST + LONGEST_OF_THESE, "{}", log.lines.len());
    let kept = numbers(std::str::from_utf8(&log.lines).expect("ASCII")).len();
    assert_eq!(log.lost() + kept as u64, 50_000);
}

const LONGEST_OF_THESE: usize = 256;

#[test]
fn what_was_begun_is_finished_when_there_is_room_again() {
    let (_dir, path) = place();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(&path)
        .expect("a reader");
    let mut log = AccessLog::open(&path, Format::Combined, None).expect("a log");
    let mut text = Vec::new();
    let mut drain = |part: usize| {
        let mut bytes = vec![0; part];
        if let Ok(count) = reader.read(&mut bytes) {
            text.extend_from_slice(&bytes[..count]);
        }
    };
    let mut noted = 0;
    for round in 0..200 {
        (0..100).for_each(|_| {
            note(&mut log, noted);
            noted += 1;
        });
        log.flush();
        drain(1 + round * 37);
    }
    assert!(log.lost() > 0);
    while !log.lines.is_empty() {
        drain(4096);
        log.flush();
    }
    let lost = log.lost();
    drop(log);
    reader.read_to_end(&mut text).expect("the rest");
    let told = numbers(std::str::from_utf8(&text).expect("ASCII"));
    assert!(told.is_sorted());
    assert_eq!(told.len() as u64 + lost, noted as u64);
}

#[test]
fn a_renamed_file_is_left_on_request() {
    let (dir, path) = place();
    let mut log = AccessLog::open(&path, Format::Combined, None).expect("a log");
    note(&mut log, 1);
    log.flush();
    let old = dir.path().join("old");
    rename(&path, &old).expect("renamed");
    note(&mut log, 2);
    log.reopen().expect("a new one");
    note(&mut log, 3);
    log.flush();
    assert_eq!((read(&old), read(&path)), (vec![1, 2], vec![3]));
    // Where there can be none, the one that was is written on.
    let away = dir.path().join("away");
    log.path = away.join("access.log");
    log.reopen().expect_err("no such directory");
    note(&mut log, 4);
    log.flush();
    assert_eq!(read(&path), [3, 4]);
}

#[test]
fn a_line_that_was_begun_does_not_go_on_in_another_file() {
    let (_dir, path) = place();
    let mut log = AccessLog::open(&path, Format::Combined, None).expect("a log");
    (1..4).for_each(|number| note(&mut log, number));
    log.lines.drain(..10);
    log.torn = true;
    log.file = OpenOptions::new().write(true).open("/dev/full").expect("a full one");
    log.reopen().expect("the file");
    log.flush();
    assert_eq!((read(&path), log.lost()), (vec![2, 3], 1));
}

#[test]
fn it_does_not_grow_beyond_its_bound() {
    let (dir, path) = place();
    let mut log = AccessLog::open(&path, Format::Combined, Some(10_000)).expect("a log");
    for number in 0..1000 {
        note(&mut log, number);
        log.flush();
    }
    let old = dir.path().join("access.log.1");
    let size = |path: &Path| std::fs::metadata(path).expect("a log").len();
    assert!(size(&old) <= 10_000 && size(&path) <= 10_000);
    let told = [read(&old), read(&path)].concat();
    assert_eq!(told, (1000 - told.len()..1000).collect::<Vec<_>>());
    assert!(told.len() > 60);
    // One that exists counts with what it has.
    drop(log);
    let log = AccessLog::open(&path, Format::Combined, Some(10_000)).expect("a log");
    assert_eq!(log.size, size(&path));
}
