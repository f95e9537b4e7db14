//! A program of others that makes or takes back a network: run to its end, within a time.
//!
//! What it is told and what it says are files: when the keeper that runs it is killed it goes on, and whoever takes back
//! what it does finds it by its input, waits for it, and reads what it has said.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, getpgid};
use spec::{Error, Result, ResultExt};

use crate::pinned::ends_within;

/// So long may one take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// So long may one take that was begun by a keeper which was killed.
const ORPHANS: Duration = Duration::from_secs(10);

/// So much may one say.
const MOST: u64 = 1 << 20;

/// So often it is looked at how much one has said.
const TICK: Duration = Duration::from_millis(50);

/// So much of a complaint is worth repeating.
const COMPLAINT: usize = 500;

/// Where they find programs of the host, as for the packet filter.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files of a program: what it is told, what it says, and what it complains about.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) input: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) err: PathBuf,
}

impl Files {
    /// Those with this name, whatever is behind it.
    pub(crate) fn of(path: &Path) -> Self {
        let with = |kind| path.with_extension(kind);
        Self { input: with("in"), out: with("out"), err: with("err") }
    }

    /// Takes them away.
    pub(crate) fn remove(&self) {
        for file in [&self.input, &self.out, &self.err] {
            // What stays is written over, or removed with what is noted beside it.
            let _ = fs::remove_file(file);
        }
    }

    /// What was said last, as far as it can be read.
    pub(crate) fn said(&self) -> Vec<u8> {
        fs::read(&self.out).unwrap_or_default()
    }
}

/// A program with all that it is told.
pub(crate) struct Call<'a> {
    pub(crate) program: &'a Path,
    pub(crate) words: &'a [&'a OsStr],
    pub(crate) environment: &'a [(&'a str, String)],
    pub(crate) input: &'a [u8],
    pub(crate) files: &'a Files,
    pub(crate) limit: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl Said {
    /// What it has complained about, on one line.
    pub(crate) fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(if self.err.is_empty() { &self.out } else { &self.err });
        let words: Vec<&str> = text.split_whitespace().collect();
        let text: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
        let skipped = text.chars().count().saturating_sub(COMPLAINT);
        text.chars().skip(skipped).collect()
    }
}

impl Call<'_> {
    /// Runs it to its end, in a group of processes of its own and with nothing of ours but these files.
    ///
    /// # Errors
    /// Not found without it; when it takes too long or says too much, and then it is killed with its group.
    pub(crate) fn run(&self) -> Result<Said> {
        let doing = || format!("executing {}", self.program.display());
        let Files { input, out, err } = self.files;
        // Another file than that of whoever may still read it.
        new(input).and_then(|mut file| file.write_all(self.input)).doing(doing)?;
        let mut command = Command::new(self.program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(self.words).env_clear().env("PATH", PATH).envs(environment);
        command.current_dir("/").process_group(0).stdin(File::open(input).doing(doing)?);
        command.stdout(new(out).doing(doing)?).stderr(new(err).doing(doing)?);
        // Nor which signals the keeper does not take, and what it keeps to itself: some of them stay as services.
        let mut child = sys::child::unmarked(&mut command).spawn().doing(doing)?;
        let heard = self.watch(&child);
        if heard.is_err() {
            kill_group(&child);
        }
        let status = child.wait().doing(doing)?;
        heard?;
        let read = |file: &Path| fs::read(file).doing(doing);
        Ok(Said { status, out: read(out)?, err: read(err)? })
    }

    /// Waits for its end.
    fn watch(&self, child: &Child) -> Result<()> {
        let watch = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let watch = watch.map_err(std::io::Error::from).doing(|| "watching a program")?;
        let end = Instant::now() + self.limit;
        let killed =
            |why: String| Error::unsupported(format!("{} {why}, and was killed", self.program.display()));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if ends_within(&watch, left.min(TICK)) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(killed(format!("has not ended after {} seconds", self.limit.as_secs_f32())));
            }
            let size = |file: &Path| fs::metadata(file).map_or(0, |meta| meta.len());
            if size(&self.files.out) + size(&self.files.err) > MOST {
                return Err(killed(format!("says more than {MOST} bytes")));
            }
        }
    }
}

fn new(path: &Path) -> std::io::Result<File> {
    let _ = fs::remove_file(path);
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// It is not waited for yet, so that its number is its own, and its group's.
fn kill_group(child: &Child) {
    let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Waits for programs whose input is this file, of a keeper that was killed; what they are about to do can be
/// taken back only when they have done it. Those that do not end are killed.
pub(crate) fn await_orphans(input: &Path) {
    let end = Instant::now() + ORPHANS;
    let Ok(input) = input.canonicalize() else { return };
    for (pidfd, pid) in running_on(&input) {
        if !ends_within(&pidfd, end.saturating_duration_since(Instant::now())) {
            end_group(&pidfd, pid);
        }
    }
}

/// Kills a process that is not ours with the group of its number, which it leads if [`Call::run`] has begun it.
fn end_group(pidfd: &OwnedFd, pid: i32) {
    // One that is stopped does not end by itself: its number is its own until it is killed.
    if rustix::process::pidfd_send_signal(pidfd, Signal::STOP).is_ok()
        && let Some(group) = Pid::from_raw(pid).filter(|own| getpgid(Some(*own)) == Ok(*own))
    {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    let _ = ends_within(pidfd, ORPHANS);
}

fn running_on(input: &Path) -> Vec<(OwnedFd, i32)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: i32| {
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: the number cannot change hands while the descriptor is held.
        let from = fs::read_link(format!("/proc/{pid}/fd/0")).ok()?;
        (from == input).then_some((pidfd, pid))
    };
    pids.filter_map(ours).collect()
}

/// A directory that the environment names.
///
/// # Errors
/// For one that would be another from elsewhere: a container remembers it.
pub(crate) fn absolute(variable: &str, dir: PathBuf) -> Result<PathBuf> {
    match dir.is_absolute() {
        true => Ok(dir),
        false => Err(Error::user(format!("{variable} must be absolute: {} is not", dir.display()))),
    }
}

/// The program of this name in the first of these directories that has it.
///
/// # Errors
/// Not found, with where it was looked for.
pub(crate) fn found(name: &str, dirs: &[PathBuf], what: &str, hint: &str) -> Result<PathBuf> {
    let executable =
        |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    dirs.iter().map(|dir| dir.join(name)).find(executable).ok_or_else(|| {
        let places: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Error::not_found(format!("{what} is in none of {}", places.join(", "))).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("plugin");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("mode");
        path
    }

    fn said(text: &str, limit: Duration) -> (Result<Said>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let program = script(dir.path(), text);
        let environment = [("CNI_COMMAND", "ADD".to_owned())];
        let files = Files::of(&dir.path().join("one"));
        let call = Call {
            program: &program,
            words: &[],
            environment: &environment,
            input: b"{\"a\":1}",
            files: &files,
            limit,
        };
        (call.run(), dir)
    }

    #[test]
    fn it_has_its_input_a_clean_environment_and_nothing_else_of_ours() {
        let kept = tempfile::NamedTempFile::new().expect("a descriptor");
        let (said, _dir) = said("cat; env; ls -l /proc/self/fd; echo bad >&2; exit 3", LIMIT);
        let said = said.expect("ended");
        let out = String::from_utf8_lossy(&said.out);
        assert!(
            out.contains("{\"a\":1}") && out.contains("CNI_COMMAND=ADD") && out.contains("PATH=/usr"),
            "{out}"
        );
        assert!(!out.contains("HOME=") && !out.contains("CARGO"), "{out}");
        assert!(out.contains("one.in") && !out.contains(&kept.path().display().to_string()), "{out}");
        assert_eq!((said.status.code(), said.complaint().as_str()), (Some(3), "bad"));
    }

    #[test]
    fn who_takes_too_long_or_says_too_much_is_killed_with_all_that_it_began() {
        let begun = Instant::now();
        let (slow, dir) = said("sleep 100 & echo $! > $(dirname $0)/pid; wait", Duration::from_millis(300));
        let slow = slow.expect_err("slow").to_string();
        assert!(slow.contains("has not ended") && begun.elapsed() < Duration::from_secs(20), "{slow}");
        let pid = fs::read_to_string(dir.path().join("pid")).expect("a number");
        let stat = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let is_gone = || stat().is_empty() || stat().contains(") Z");
        assert!(
            (0..500).any(|_| is_gone() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }),
            "{}",
            stat()
        );
        let (loud, _dir) = said("exec cat /dev/zero", LIMIT);
        assert!(loud.expect_err("loud").to_string().contains("says more"));
    }

    #[test]
    fn one_that_goes_on_in_the_background_is_not_waited_for() {
        let (said, dir) = said("sleep 5 & echo done", LIMIT);
        assert_eq!(said.expect("ended").out, b"done\n");
        // Its input is no file of ours, as soon as it runs: a shell gives what is in the background none.
        let end = Instant::now() + LIMIT;
        while !running_on(&dir.path().join("one.in")).is_empty() {
            assert!(Instant::now() < end, "it has our input");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_blocks_no_signal_and_others_read_what_it_makes() {
        let mask = sys::signal::block(&[1, 2, 15]);
        let (said, _dir) = said("cat >/dev/null; umask; grep SigBlk /proc/self/status", LIMIT);
        sys::signal::restore(&mask);
        let out = String::from_utf8_lossy(&said.expect("ended").out).into_owned();
        assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0022", "SigBlk:", "0000000000000000"]);
    }

    #[test]
    fn an_orphan_that_does_not_end_is_killed_with_its_group() {
        let dir = tempfile::tempdir().expect("a directory");
        let input = dir.path().join("input");
        fs::write(&input, "x").expect("input");
        let text = format!("sleep 100 </dev/null & echo $! > {}/pid; wait", dir.path().display());
        let mut command = Command::new("sh");
        command.args(["-c", &text]).process_group(0).stdin(File::open(&input).expect("open"));
        let mut child = command.spawn().expect("sh");
        let told = || fs::read_to_string(dir.path().join("pid")).ok().filter(|text| text.ends_with('\n'));
        let until = |is_so: &dyn Fn() -> bool| {
            assert!((0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                is_so()
            }));
        };
        until(&|| told().is_some());
        for (pidfd, pid) in running_on(&input) {
            end_group(&pidfd, pid);
        }
        let below = told().expect("a number");
        let stat = || fs::read_to_string(format!("/proc/{}/stat", below.trim())).unwrap_or_default();
        until(&|| stat().is_empty() || stat().contains(") Z"));
        child.wait().expect("wait");
    }

    #[test]
    fn orphans_are_found_by_their_input() {
        let dir = tempfile::tempdir().expect("a directory");
        let input = dir.path().join("input");
        fs::write(&input, "x").expect("input");
        let mut child =
            Command::new("sleep").arg("0.3").stdin(File::open(&input).expect("open")).spawn().expect("sleep");
        assert_eq!(running_on(&input).len(), 1);
        await_orphans(&input);
        assert!(running_on(&input).is_empty());
        child.wait().expect("wait");
    }
}
