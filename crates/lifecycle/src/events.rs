//! What happens to containers, as a stream: one line of JSON for each event, in a bounded file of the
//! run directory, written by whoever does the thing.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use serde::{Deserialize, Serialize};
use spec::{Id, Name, Result, ResultExt};

/// A file that has grown beyond this becomes the older one, and the older one goes.
const FILE_BYTES: u64 = 1 << 20;

/// What happened. New variants go to the end; what is not known is skipped by readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// It was made.
    Create,
    /// Its first process runs.
    Start,
    /// Its first process has ended.
    Die {
        /// With this exit code.
        code: i32,
    },
    /// It was asked to stop, and has.
    Stop,
    /// It was sent a signal.
    Kill {
        /// This one.
        signal: i32,
    },
    /// Its processes are held.
    Pause,
    /// They go on.
    Unpause,
    /// It has another name.
    Rename {
        /// What it was called before.
        from: Name,
    },
    /// One more process was executed in it.
    Exec {
        /// Its program and arguments.
        command: Vec<String>,
    },
    /// The kernel killed for lack of memory.
    Oom,
    /// What its health checks tell has changed.
    HealthStatus {
        /// In one word.
        status: spec::life::Wellness,
    },
    /// It is started again; the start itself follows.
    Restart {
        /// How often its policy has done so; None by hand.
        times: Option<u32>,
    },
    /// Its choices were changed.
    Update,
    /// It is gone.
    Destroy,
    /// A hook of it was done, or tried.
    Hook {
        /// Its name.
        hook: String,
        /// `done`, `veto`, `failed`, `overdue` or `skipped`.
        outcome: String,
        /// Why, where it did not go well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// What it changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
        /// How long it took.
        milliseconds: u64,
    },
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds since 1970.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// To which container.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// What it was made from.
    pub image: String,
}

/// Whom events are about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The container's run directory, or where it would be.
    pub run: &'a Path,
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: &'a Name,
    /// What it was made from.
    pub image: &'a str,
}

impl Subject<'_> {
    /// Writes one event. Nothing depends on its being read: what fails here fails silently.
    pub fn tell(self, what: What) {
        self.tell_all([what]);
    }

    /// Writes several at once.
    pub fn tell_all(self, all: impl IntoIterator<Item = What>) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64);
        let mut lines = Vec::new();
        for what in all {
            let (name, image) = (self.name.clone(), self.image.to_owned());
            let event = Event { time, what, id: self.id, name, image };
            if serde_json::to_writer(&mut lines, &event).is_ok() {
                lines.push(b'\n');
            }
        }
        let Some(home) = self.run.parent().and_then(Path::parent) else { return };
        let _ = append(&file_in(home), &lines);
    }
}

fn file_in(run: &Path) -> PathBuf {
    run.join("events")
}

/// One write: the kernel keeps those of several processes apart.
fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(lines)?;
    let meta = file.metadata()?;
    if meta.len() > FILE_BYTES && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        // Somebody else may have begun a new one since we opened ours.
        if fs::metadata(path)?.ino() == meta.ino() {
            fs::rename(path, path.with_extension("1"))?;
        }
    }
    Ok(())
}

/// Reads events, the oldest first.
#[derive(Debug)]
pub struct Events {
    dir: PathBuf,
    file: Option<BufReader<File>>,
    partial: Vec<u8>,
}

impl Events {
    pub(crate) fn of(run: &Path) -> Self {
        let older = File::open(file_in(run).with_extension("1")).ok().map(BufReader::new);
        Self { dir: run.to_owned(), file: older, partial: Vec::new() }
    }

    /// The next one that is there.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            let Some(newer) = self.newer().doing(|| "opening the events")? else { return Ok(None) };
            // What was still written before this file became the older one must not be missed.
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            self.partial.clear();
            self.file = Some(BufReader::new(newer));
        }
    }

    fn take(&mut self) -> Result<Option<Event>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        loop {
            file.read_until(b'\n', &mut self.partial).doing(|| "reading the events")?;
            if self.partial.last() != Some(&b'\n') {
                return Ok(None);
            }
            // One that a newer program has written may be unknown to us.
            if let Ok(event) = serde_json::from_slice(&std::mem::take(&mut self.partial)) {
                return Ok(Some(event));
            }
        }
    }

    /// The newest file, if that is not the one being read.
    fn newer(&self) -> std::io::Result<Option<File>> {
        let newest = match File::open(file_in(&self.dir)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let current = self.file.as_ref().map(|file| file.get_ref().metadata()).transpose()?;
        let same = current.is_some_and(|meta| newest.metadata().is_ok_and(|own| own.ino() == meta.ino()));
        Ok((!same).then_some(newest))
    }
}

/// Tells when there may be more to read.
#[derive(Debug)]
pub struct Watch {
    inotify: rustix::fd::OwnedFd,
}

impl Watch {
    pub(crate) fn of(run: &Path) -> Result<Self> {
        let watch = || {
            let inotify = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            rustix::fs::inotify::add_watch(&inotify, run, WatchFlags::MODIFY | WatchFlags::CREATE)?;
            Ok(inotify)
        };
        let inotify = watch().map_err(|errno: rustix::io::Errno| std::io::Error::from(errno));
        Ok(Self { inotify: inotify.doing(|| "watching the events")? })
    }

    /// Waits until something was written, or for `time`.
    pub fn wait(&self, time: Option<Duration>) {
        let timeout = time
            .map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
        // A signal is as good as an event: the caller looks.
        let _ = rustix::event::poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], timeout.as_ref());
        let mut seen = [0; 4096];
        while rustix::io::read(&self.inotify, &mut seen).is_ok_and(|count| count > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tsubo-events-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("dir");
        dir
    }

    fn all(events: &mut Events) -> Vec<What> {
        std::iter::from_fn(|| events.next_event().expect("readable")).map(|event| event.what).collect()
    }

    #[test]
    fn what_is_told_by_many_at_once_is_read_whole_and_in_order() {
        let dir = scratch("many");
        let run = dir.join("containers/0");
        let tell = |thread: u8| {
            let name: Name = format!("c{thread}").parse().expect("name");
            let subject = Subject { run: &run, id: Id::from_bytes([thread; 6]), name: &name, image: "i" };
            (0..500).for_each(|code| subject.tell(What::Die { code }));
        };
        std::thread::scope(|threads| (0..4).for_each(|thread| drop(threads.spawn(move || tell(thread)))));
        let mut events = Events::of(&dir);
        let mut last = [-1; 4];
        while let Some(event) = events.next_event().expect("readable") {
            let What::Die { code } = event.what else { panic!("{event:?}") };
            let thread: usize = event.name.as_str()[1..].parse().expect("number");
            assert_eq!(code, last[thread] + 1);
            last[thread] = code;
        }
        assert_eq!(last, [499; 4]);
        fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn the_file_stays_within_bounds_and_a_reader_keeps_up() {
        let dir = scratch("bounds");
        let run = dir.join("containers/0");
        let name: Name = "web".parse().expect("name");
        let subject = Subject { run: &run, id: Id::from_bytes([1; 6]), name: &name, image: "x" };
        let mut reader = Events::of(&dir);
        let mut read = 0;
        for round in 0..30 {
            subject.tell_all((0..1000).map(|code| What::Die { code: round * 1000 + code }));
            read += all(&mut reader).len();
        }
        assert_eq!(read, 30_000);
        let kept: u64 =
            fs::read_dir(&dir).expect("dir").flatten().map(|e| e.metadata().expect("file").len()).sum();
        assert!(kept < 3 * FILE_BYTES, "{kept}");
        fs::remove_dir_all(dir).expect("clean");
    }

    #[test]
    fn every_event_comes_back() {
        let dir = scratch("every");
        let (run, name): (_, Name) = (dir.join("containers/0"), "web".parse().expect("name"));
        let subject = Subject { run: &run, id: Id::from_bytes([1; 6]), name: &name, image: "x" };
        let told = vec![
            What::Create,
            What::Exec { command: vec!["a".into(), "b\n".into()] },
            What::HealthStatus { status: spec::life::Wellness::Healthy },
            What::Restart { times: None },
            What::Rename { from: name.clone() },
            What::Destroy,
        ];
        subject.tell_all(told.clone());
        assert_eq!(all(&mut Events::of(&dir)), told);
        fs::remove_dir_all(dir).expect("clean");
    }
}
