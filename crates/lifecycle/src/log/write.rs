//! The writing side, in the keeper.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use spec::protocol::Stream;
use spec::{Result, ResultExt};

use super::format::Head;
use super::{FILE_BYTES, FILES, LINE_BYTES, file_name};

/// Writes what a container says.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    file: File,
    written: u64,
    /// What one file holds.
    most: u64,
    /// What each stream has said of a line that has not ended.
    unfinished: [Vec<u8>; 2],
    lines: Vec<u8>,
}

impl Writer {
    /// Logs into `dir`, at most so many bytes; None for the usual.
    pub fn new(dir: &Path, bound: Option<u64>) -> Result<Self> {
        let opened = open(dir).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (written, file) = opened.doing(|| format!("beginning a log in {}", dir.display()))?;
        let (unfinished, lines) = (Default::default(), Vec::new());
        Ok(Self { dir: dir.to_owned(), file, written, most: most(bound), unfinished, lines })
    }

    /// Goes on with what another program has written until now, and what waits for the end of a line.
    pub fn adopt(
        dir: &Path,
        bound: Option<u64>,
        file: OwnedFd,
        written: u64,
        unfinished: [Vec<u8>; 2],
    ) -> Self {
        let (dir, file) = (dir.to_owned(), file.into());
        Self { dir, file, written, most: most(bound), unfinished, lines: Vec::new() }
    }

    /// Keeps so many bytes from now on, and of what there is the newest.
    pub fn bound(&mut self, bound: Option<u64>) {
        self.most = most(bound);
        let newest = self.dir.join(file_name(0));
        if self.written > self.most {
            // Cut to what fits, in the place of the older ones; if the disk is full it is begun anew.
            let kept = last_lines(&newest, self.most).unwrap_or_default();
            self.begin();
            if self.file.write_all(&kept).is_ok() {
                self.written += kept.len() as u64;
            }
        }
        for age in 1..FILES {
            let path = self.dir.join(file_name(age));
            if fs::metadata(&path).is_ok_and(|meta| meta.len() > self.most) {
                // Who reads it meanwhile has it open; the next new file takes its place in any case.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The file, how much is in it, and what waits for the end of a line.
    pub fn at_rest(&self) -> (BorrowedFd<'_>, u64, [Vec<u8>; 2]) {
        (self.file.as_fd(), self.written, self.unfinished.clone())
    }

    /// Whether its file is in a directory still: it goes with the container.
    pub fn is_in_place(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    /// Adds output as it came. A disk that is full loses lines; it never stops the container.
    pub fn add(&mut self, stream: Stream, bytes: &[u8]) {
        let head = Head::new(SystemTime::now(), stream);
        let unfinished = &mut self.unfinished[stream as usize];
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let (mut text, ends) = (&rest[..end.unwrap_or(rest.len())], end.is_some());
            rest = end.map_or(&[], |end| &rest[end + 1..]);
            while unfinished.len() + text.len() > LINE_BYTES {
                let (part, rest) = text.split_at(LINE_BYTES - unfinished.len());
                head.append(&mut self.lines, [unfinished, part], false);
                unfinished.clear();
                text = rest;
            }
            if ends {
                head.append(&mut self.lines, [unfinished, text], true);
                unfinished.clear();
            } else {
                unfinished.extend_from_slice(text);
            }
        }
        self.flush();
    }

    /// The directory has another name from now on.
    pub fn follow(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
    }

    /// Ends lines that were not ended.
    pub fn finish(&mut self) {
        for stream in [Stream::Out, Stream::Error] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                Head::new(SystemTime::now(), stream).append(&mut self.lines, [&rest, b""], true);
            }
        }
        self.flush();
    }

    /// Short lines become long ones with what is said of them: a file takes those that fit.
    fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            let room = self.most.saturating_sub(self.written);
            let fits = fitting(rest, room);
            if fits == 0 && self.written > 0 {
                self.begin();
                if self.written > 0 {
                    // The disk is full: lines are lost, and files stay as long as they may be.
                    break;
                }
                continue;
            }
            // No line is longer than a file.
            let (now, later) = rest.split_at(if fits == 0 { rest.len() } else { fits });
            if self.file.write_all(now).is_ok() {
                self.written += now.len() as u64;
            }
            rest = later;
        }
        self.lines = lines;
        self.lines.clear();
    }

    fn begin(&mut self) {
        if let Ok(file) = begin(&self.dir) {
            self.file = file;
            self.written = 0;
        }
    }
}

/// How many bytes of whole lines there are within `room`.
fn fitting(lines: &[u8], room: u64) -> usize {
    match usize::try_from(room) {
        Ok(room) if room < lines.len() => {
            lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
        }
        _ => lines.len(),
    }
}

/// The whole lines in the last `most` bytes of a file.
fn last_lines(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(most);
    let mut bytes = vec![0; most.min(file.metadata()?.len()) as usize];
    file.read_exact_at(&mut bytes, start)?;
    let from = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    Ok(bytes.split_off(if start == 0 { 0 } else { from }))
}

/// What one file holds.
fn most(bound: Option<u64>) -> u64 {
    bound.map_or(FILE_BYTES, |bytes| bytes / FILES as u64)
}

/// Begins a new file; those that are there become older by one.
fn begin(dir: &Path) -> std::io::Result<File> {
    for age in (0..FILES - 1).rev() {
        match fs::rename(dir.join(file_name(age)), dir.join(file_name(age + 1))) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    open(dir)
}

/// That of a container that has run before goes on.
fn open(dir: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(file_name(0)))
}
