//! What a service shows of itself when it is ready, besides listening: a line of its log, a file, a socket. A
//! database accepts connections long before it answers them.

use std::os::fd::OwnedFd;

use lifecycle::{Container, log};
use regex_lite::Regex;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::ready::Ready;
use spec::{Error, Result, RootPath};

/// So many bytes of a log are read in one look: a flood of them must not hold up whoever else is served.
const LOOK: usize = 64 << 10;

/// What is looked for.
#[derive(Debug)]
pub struct Sign(Kind);

#[derive(Debug)]
enum Kind {
    /// A line of what comes into the log.
    Line { log: log::Reader, wanted: Regex },
    /// A path as the container's first process sees it.
    Path(RootPath),
}

impl Sign {
    /// What `ready` says of a container that is about to be started: its log goes on from one start to the next, and
    /// what was said before is no sign. None where it says how it is asked.
    ///
    /// # Errors
    /// User error: an expression that makes no sense; or its log cannot be opened.
    pub fn of(ready: Option<&Ready>, container: &Container) -> Result<Option<Self>> {
        let kind = match ready {
            Some(Ready::Log(text)) => {
                Kind::Line { log: container.logs_from_now()?, wanted: expression(text)? }
            }
            Some(Ready::File(path) | Ready::Unix(path)) => Kind::Path(path.clone()),
            Some(Ready::Tcp(_) | Ready::Http(_) | Ready::Millis(_)) | None => return Ok(None),
        };
        Ok(Some(Self(kind)))
    }

    /// Whether it is there by now; `first` is the container's first process.
    pub(crate) fn is_seen(&mut self, first: i32) -> bool {
        match &mut self.0 {
            Kind::Line { log, wanted } => says(log, wanted),
            Kind::Path(path) => inside(first, path).is_ok(),
        }
    }
}

/// A condition that can be looked for.
///
/// # Errors
/// User error: an expression that makes no sense.
pub fn check(ready: Option<&Ready>) -> Result<()> {
    match ready {
        Some(Ready::Log(text)) => expression(text).map(drop),
        _ => Ok(()),
    }
}

fn expression(text: &str) -> Result<Regex> {
    let bad = |error| Error::user(format!("ready = \"log:{text}\" is no regular expression: {error}"));
    Regex::new(text).map_err(|error| bad(error).hint("a dot, a bracket or a star of the text itself: \\\\."))
}

fn says(log: &mut log::Reader, wanted: &Regex) -> bool {
    let mut read = 0;
    while read < LOOK {
        // One that cannot be read at this moment may be at the next.
        let Ok(Some(line)) = log.next_line() else { return false };
        if wanted.is_match(String::from_utf8_lossy(&line.text).trim_end()) {
            return true;
        }
        read += line.text.len();
    }
    false
}

/// A path inside a container, without leaving its root.
fn inside(first: i32, path: &RootPath) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, format!("/proc/{first}/root"), flags, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path.relative(), flags, Mode::empty(), resolve)
}
