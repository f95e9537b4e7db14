//! The writing side, in the keeper.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    /// What each stream has said of a line that has not ended.
    unfinished: [Vec<u8>; 2],
    lines: Vec<u8>,
}

impl Writer {
    /// Logs into `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let opened = open(dir).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (written, file) = opened.doing(|| format!("beginning a log in {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), file, written, unfinished: Default::default(), lines: Vec::new() })
    }

    /// Goes on with what another program has written until now, and what waits for the end of a line.
    pub fn adopt(dir: &Path, file: OwnedFd, written: u64, unfinished: [Vec<u8>; 2]) -> Self {
        Self { dir: dir.to_owned(), file: file.into(), written, unfinished, lines: Vec::new() }
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
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
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

    fn flush(&mut self) {
        if self.written + self.lines.len() as u64 > FILE_BYTES {
            if let Ok(file) = begin(&self.dir) {
                self.file = file;
                self.written = 0;
            }
        }
        if self.file.write_all(&self.lines).is_ok() {
            self.written += self.lines.len() as u64;
        }
        self.lines.clear();
    }
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
