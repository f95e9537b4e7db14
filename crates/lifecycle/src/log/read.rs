//! The reading side: from the oldest line on, following as the files are renamed.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::protocol::Stream;
use spec::{Result, ResultExt};

use super::{FILES, LINE_BYTES, file_name, format};

/// One line, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in UTC.
    pub time: String,
    /// From where.
    pub stream: Stream,
    /// What was said; ends with a line feed unless it goes on.
    pub text: Vec<u8>,
}

/// Reads a container's log.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    file: Option<BufReader<File>>,
    partial: Vec<u8>,
}

impl Reader {
    /// Of the logs in `dir`, from the oldest line on.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: None, partial: Vec::new() }
    }

    /// Of what comes from now on.
    ///
    /// # Errors
    /// When the log that there is cannot be opened.
    pub fn from_now(dir: &Path) -> Result<Self> {
        let doing = || format!("opening the log in {}", dir.display());
        let file = match File::open(dir.join(file_name(0))) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            file => {
                let mut file = BufReader::new(file.doing(doing)?);
                file.seek(SeekFrom::End(0)).doing(doing)?;
                Some(file)
            }
        };
        Ok(Self { file, ..Self::new(dir) })
    }

    /// The next line; None at the end, where later calls find what came meanwhile.
    pub fn next_line(&mut self) -> Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(Some(line));
            }
            let Some(next) = self.newer()? else { return Ok(None) };
            // What was still written before this file became an older one must not be missed.
            if let Some(line) = self.take_line()? {
                return Ok(Some(line));
            }
            self.partial.clear();
            self.file = Some(BufReader::new(next));
        }
    }

    fn take_line(&mut self) -> Result<Option<Line>> {
        while let Some(line) = self.take_raw()? {
            if let Some((time, stream, whole, text)) = format::parse(&line) {
                let end: &[u8] = if whole { b"\n" } else { b"" };
                return Ok(Some(Line { time: time.to_owned(), stream, text: [text, end].concat() }));
            }
        }
        Ok(None)
    }

    fn take_raw(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let read = file.read_until(b'\n', &mut self.partial);
        read.doing(|| format!("reading the log in {}", self.dir.display()))?;
        if self.partial.last() != Some(&b'\n') || self.partial.len() > 2 * LINE_BYTES {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.partial);
        line.pop();
        Ok(Some(line))
    }

    /// The file that is next newer than the one being read; the oldest if none is.
    fn newer(&self) -> Result<Option<File>> {
        let doing = || format!("opening the log in {}", self.dir.display());
        let inode = |file: &File| file.metadata().map(|meta| meta.ino());
        let current = self.file.as_ref().map(|file| inode(file.get_ref())).transpose().doing(doing)?;
        let mut found = None;
        for age in 0..FILES {
            match File::open(self.dir.join(file_name(age))) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                file => {
                    let file = file.doing(doing)?;
                    if Some(inode(&file).doing(doing)?) == current {
                        break;
                    }
                    found = Some(file);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FILE_BYTES, Writer};
    use super::*;

    fn all(reader: &mut Reader) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some(line) = reader.next_line().expect("readable") {
            text.extend(line.text);
        }
        text
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tsubo-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("dir");
        dir
    }

    #[test]
    fn bytes_come_back_as_they_came() {
        let dir = scratch("bytes");
        let mut writer = Writer::new(&dir, None).expect("writer");
        let mut reader = Reader::new(&dir);
        let long = vec![b'x'; 100_000];
        let said: Vec<u8> = [b"one\ntwo\n\n\0\xff\n".as_slice(), &long, b"\nend"].concat();
        for chunk in said.chunks(777) {
            writer.add(Stream::Out, chunk);
        }
        let mut got = all(&mut reader);
        writer.finish();
        got.extend(all(&mut reader));
        assert_eq!(got, [said.as_slice(), b"\n"].concat());
        std::fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn a_flood_stays_within_bounds_and_a_follower_keeps_up() {
        let dir = scratch("flood");
        let mut writer = Writer::new(&dir, None).expect("writer");
        let mut follower = Reader::new(&dir);
        let chunk = vec![b'y'; 1 << 16];
        let mut followed = 0;
        for _ in 0..1000 {
            writer.add(Stream::Error, &chunk);
            followed += all(&mut follower).len();
        }
        writer.finish();
        followed += all(&mut follower).len();
        assert_eq!(followed, (1000 << 16) + 1);
        let kept: u64 =
            std::fs::read_dir(&dir).expect("dir").flatten().map(|e| e.metadata().expect("file").len()).sum();
        assert!(kept <= 3 * FILE_BYTES && kept > 2 * FILE_BYTES, "{kept}");
        std::fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn another_bound_keeps_the_newest() {
        let dir = scratch("bound");
        let mut writer = Writer::new(&dir, Some(3 << 20)).expect("writer");
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..5000 {
            writer.add(Stream::Out, &line);
        }
        let kept = || -> u64 {
            (0..FILES)
                .filter_map(|age| std::fs::metadata(dir.join(file_name(age))).ok())
                .map(|meta| meta.len())
                .sum()
        };
        assert!((2 << 20..=3 << 20).contains(&kept()), "{}", kept());
        writer.bound(Some(300 << 10));
        writer.add(Stream::Out, b"the last\n");
        assert!(kept() <= 300 << 10, "{}", kept());
        let text = std::fs::read_to_string(dir.join(file_name(0))).expect("newest");
        assert!(text.ends_with("the last\n"));
        assert!(text.lines().count() > 60, "of what there was the newest is kept");
        std::fs::remove_dir_all(dir).expect("clean");
    }
}
