//! Running a .haco file once, and reading what it says.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cgroup::Group;
use runtime::{Child, Options, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use spec::container::Spec;
use spec::{Error, ErrorKind, Result, ResultExt};

use super::record::{Failure, Record};
use super::sandbox;
use crate::interrupt::Interrupt;

/// A definition is a page or two.
const MOST_TEXT: u64 = 1 << 20;
/// What it may say, and how long its record may be.
const MOST_OUTPUT: u64 = 4 << 20;
/// What marks the record among what the file itself prints.
const MARK: &str = "\u{1e}tsubo-record ";
/// Unless it is said.
pub const TIME: Duration = Duration::from_secs(10);

/// What is to be run.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The file.
    pub file: &'a Path,
    /// `NAME=value`, for its ENV.
    pub env: &'a [String],
    /// How long it may take.
    pub time: Duration,
}

/// Runs the file in a throw-away container and returns what it says.
///
/// # Errors
/// No mruby; a file that is none, too long, or no text; whatever Ruby says of it, with file and line; one that does not
/// end, takes too much memory or says too much; interrupted.
pub fn record(asked: &Asked<'_>, interrupt: &Interrupt) -> Result<Record> {
    let text = read(asked.file)?;
    let name = sandbox::named(asked.file);
    let tree =
        tempfile::Builder::new().prefix("tsubo-haco-").tempdir().doing(|| "making a temporary directory")?;
    open_to_all(tree.path())?;
    sandbox::furnish(tree.path(), text.as_bytes())?;
    let mut spec = sandbox::spec(tree.path(), &name, asked.env)?;
    // Held until it has ended.
    let _users = lifecycle::claim(&mut spec, None)?;
    let said = run(&spec, asked.time, interrupt).doing(|| format!("running {}", asked.file.display()))?;
    let record = understand(&said).doing(|| format!("running {}", asked.file.display()))?;
    record.error.as_ref().map_or(Ok(()), |failure| Err(told(failure, &name)))?;
    if record.containers.is_empty() {
        return Err(Error::user(format!("{name} defines no container"))
            .hint("a definition is Haconiwa.define do |config| … end"));
    }
    Ok(record)
}

fn read(file: &Path) -> Result<String> {
    let doing = || format!("reading {}", file.display());
    let meta = fs::metadata(file).doing(doing)?;
    if !meta.is_file() || meta.len() > MOST_TEXT {
        return Err(Error::user(format!("{} is no file of at most 1 MiB", file.display())));
    }
    let bytes = fs::read(file).doing(doing)?;
    String::from_utf8(bytes).map_err(|_| Error::user(format!("{} is not UTF-8", file.display())))
}

/// Who runs inside is nobody here, and must get in.
fn open_to_all(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).doing(|| format!("opening {}", dir.display()))
}

/// What came out, and how it ended.
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Code(i32),
    Late(Duration),
    Loud,
}

fn run(spec: &Spec, time: Duration, interrupt: &Interrupt) -> Result<Said> {
    let loud = Arc::new(AtomicBool::new(false));
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    let null = File::open("/dev/null").doing(|| "opening /dev/null")?;
    let mut options = Options::new(Stdio { stdin: null.into(), stdout, stderr });
    options.die_with_parent = true;
    let group = Groups::make(spec)?;
    if let Some(group) = &group.0 {
        group.admit(&mut options.cgroup_tasks, &mut options.cgroup_v2)?;
    }
    let mut child = Ended(runtime::spawn(&spec::plan::plan(spec), options)?);
    let out = reader(out, &loud)?;
    let err = reader(err, &loud)?;
    child.0.release()?;
    let end = wait(&mut child.0, time, &loud, interrupt);
    drop(child);
    drop(group);
    let [out, err] = [out, err].map(|reader| reader.join().unwrap_or_default());
    Ok(Said { out, err, end: end? })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::io("making a pipe", errno.into()))
}

/// Reads what may be said; what is more is not waited for.
fn reader(pipe: OwnedFd, loud: &Arc<AtomicBool>) -> Result<JoinHandle<Vec<u8>>> {
    let loud = Arc::clone(loud);
    let work = move || {
        let mut said = Vec::new();
        let mut pipe = File::from(pipe).take(MOST_OUTPUT + 1);
        // What was read until then is what there is.
        let _ = pipe.read_to_end(&mut said);
        loud.fetch_or(said.len() as u64 > MOST_OUTPUT, Ordering::Relaxed);
        said
    };
    std::thread::Builder::new().name("haco-output".to_owned()).spawn(work).doing(|| "starting a thread")
}

fn wait(child: &mut Child, time: Duration, loud: &AtomicBool, interrupt: &Interrupt) -> Result<End> {
    let end = Instant::now() + time;
    loop {
        if let Some(code) = child.try_wait()? {
            return Ok(if loud.load(Ordering::Relaxed) { End::Loud } else { End::Code(code) });
        }
        if interrupt.take().is_some() {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        if loud.load(Ordering::Relaxed) {
            return Ok(End::Loud);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(End::Late(time));
        }
        let pause = left.min(Duration::from_millis(100));
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos().max(1000)) };
        // A signal ends the poll early, which is the point.
        let _ = poll(&mut [PollFd::new(&child.pidfd(), PollFlags::IN)], Some(&pause));
    }
}

/// A container that does not outlive us; with its first process all others of it end.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.try_wait().ok().flatten().is_none() {
            // The errors of the way down were told; here only nothing must stay behind.
            let _ = self.0.signal(9);
            let _ = self.0.wait();
        }
    }
}

/// Its control groups, where it gets some.
struct Groups(Option<Group>);

impl Groups {
    fn make(spec: &Spec) -> Result<Self> {
        let mut group = Self(if spec.cgroup { Group::create(spec.id)? } else { None });
        if let Some(group) = &mut group.0 {
            group.grant(spec.id, &spec.resources)?;
            group.reach(spec.id, &spec.wishes);
        }
        Ok(group)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            // What does not go now is found by tsubo gc.
            let _ = group.kill().and_then(|()| group.remove());
        }
    }
}

fn understand(said: &Said) -> Result<Record> {
    let out = String::from_utf8_lossy(&said.out);
    let line = out.lines().rev().find_map(|line| line.strip_prefix(MARK));
    match (said.end, line) {
        (End::Code(_), Some(json)) => serde_json::from_str(json).map_err(|cause| {
            Error::user("what it says makes no sense")
                .because(cause)
                .hint("a word has a value of another kind than Haconiwa takes")
        }),
        (end, _) => Err(unrecorded(end, &said.err)),
    }
}

/// Why there is no record.
fn unrecorded(end: End, err: &[u8]) -> Error {
    let text = String::from_utf8_lossy(err);
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    let last = last.into_iter().rev().map(printable).collect::<Vec<_>>().join("\n  ");
    let error = match end {
        End::Late(time) => Error::user(format!("it has not ended after {} s, and was ended", time.as_secs()))
            .hint(
                "a definition only defines: is there a loop without end, or does it need more than --time?",
            ),
        End::Loud => Error::user("it says more than 4 MiB, and was ended").hint("a definition only defines"),
        End::Code(137) => Error::user(format!("it was killed: it may take {} of memory", sandbox::MEMORY))
            .hint("a definition only defines"),
        End::Code(code) => {
            Error::user(format!("mruby ended with code {code} before the definition was complete"))
                .hint("a definition only defines")
        }
    };
    if last.is_empty() { error } else { error.hint(format!("its last words:\n  {last}")) }
}

fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}

/// The Ruby error, with the way out where it follows from how definitions are run here.
fn told(failure: &Failure, name: &str) -> Error {
    let place = failure.line.map_or_else(|| name.to_owned(), |line| format!("{name}:{line}"));
    let error =
        Error::user(format!("{place}: {} ({})", printable(&failure.message), printable(&failure.class)));
    let reaches =
        ["Errno", "IOError", "RuntimeError", "SocketError"].iter().any(|class| failure.class.contains(class));
    match failure.class.as_str() {
        "SyntaxError" => error.hint("it is read by the mruby of this host; Haconiwa's own may be another version"),
        _ if reaches => error.hint(
            "a definition is run where no file, program or network of this host is: take out what it reads, or put its value there",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(out: &str, end: End) -> Said {
        Said { out: out.as_bytes().to_vec(), err: b"a\nb\x1b[0m\n".to_vec(), end }
    }

    #[test]
    fn the_last_record_counts() {
        let out = format!("hello\n{MARK}{{}}\n{MARK}{{\"containers\":[]}}\n");
        assert!(understand(&said(&out, End::Code(0))).expect("a record").containers.is_empty());
        let error =
            understand(&said(&format!("{MARK}{{\"containers\":3}}"), End::Code(0))).expect_err("no list");
        assert!(error.chain().contains("no sense"), "{}", error.chain());
    }

    #[test]
    fn what_ends_without_a_record_is_explained() {
        for (end, part) in [
            (End::Late(TIME), "10 s"),
            (End::Loud, "4 MiB"),
            (End::Code(137), "memory"),
            (End::Code(3), "code 3"),
        ] {
            let error = understand(&said("", end)).expect_err(part);
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.hints().iter().all(|hint| !hint.contains('\x1b')), "{:?}", error.hints());
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let failure = Failure { class: "Errno::ENOENT".into(), message: "no file".into(), line: Some(3) };
        let error = told(&failure, "web.haco");
        assert!(error.to_string().starts_with("web.haco:3: no file"), "{error}");
        assert!(error.hints()[0].contains("no file, program or network"));
    }
}
