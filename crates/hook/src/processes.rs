//! Programs that hooks run: with bounds on their time and on what they say, and nothing of them stays.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use spec::{Error, Result, ResultExt};

/// How long what was killed may take to go.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) argv: &'a [String],
    /// Instead of a search path alone.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) input: &'a [u8],
    pub(crate) deadline: Instant,
    /// So many bytes of each stream are kept: the last.
    pub(crate) kept: usize,
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// None: it was ended because its time was over.
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) error: Vec<u8>,
}

/// One of its streams.
struct Stream<F> {
    file: Option<F>,
    bytes: Vec<u8>,
}

impl<F: Read + AsFd> Stream<F> {
    fn new(file: Option<F>) -> Result<Self> {
        file.as_ref().map_or(Ok(()), never_wait)?;
        Ok(Self { file, bytes: Vec::new() })
    }

    /// Takes what is there.
    fn take(&mut self, kept: usize) {
        let mut buffer = [0; 8192];
        while let Some(file) = &mut self.file {
            match file.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    self.bytes.extend(&buffer[..count]);
                    if self.bytes.len() > 2 * kept {
                        self.bytes.drain(..self.bytes.len() - kept);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                _ => self.file = None,
            }
        }
    }

    fn last(mut self, kept: usize) -> Vec<u8> {
        let more = self.bytes.len().saturating_sub(kept);
        self.bytes.split_off(more)
    }
}

fn never_wait(file: &impl AsFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)
        .and_then(|flags| rustix::fs::fcntl_setfl(file, flags | OFlags::NONBLOCK));
    flags.map_err(|errno| Error::io("preparing a pipe", errno.into()))
}

/// Runs it to its end, or to the deadline. What it leaves behind is ended by [`end_all`].
///
/// # Errors
/// When it cannot be executed.
pub(crate) fn run(what: &Run<'_>) -> Result<Ended> {
    let (program, rest) = what.argv.split_first().ok_or_else(|| Error::user("no program was named"))?;
    crate::fire::lift_limits();
    // Whoever leaves its parent comes to us.
    let adopted = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    adopted.map_err(|errno| Error::io("adopting what a program leaves", errno.into()))?;
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(what.env.iter().map(|(key, value)| (key, value))).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = sys::child::guarded(&mut command).spawn().doing(|| format!("executing {program}"))?;
    talk(&mut child, what)
}

/// The environment of programs that get none.
pub(crate) fn plain_environment() -> Vec<(String, String)> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all = vec![("PATH".to_owned(), path.to_owned())];
    // What is done to containers in a hook fires no hooks.
    all.extend(std::env::var("TSUBO_IN_HOOK").ok().map(|inside| ("TSUBO_IN_HOOK".to_owned(), inside)));
    all
}

fn talk(child: &mut Child, what: &Run<'_>) -> Result<Ended> {
    let pid = Pid::from_child(child);
    let held = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let held = held.map_err(|errno| Error::io("holding a process", errno.into()))?;
    let mut input = child.stdin.take();
    input.as_ref().map_or(Ok(()), never_wait)?;
    let (mut output, mut error) = (Stream::new(child.stdout.take())?, Stream::new(child.stderr.take())?);
    let mut left = what.input;
    let mut has_ended = false;
    while !has_ended && Instant::now() < what.deadline {
        if let Some(pipe) = &mut input {
            match pipe.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It does not read: its choice.
                Err(_) => left = &[],
            }
            if left.is_empty() {
                input = None;
            }
        }
        has_ended = wait(
            &held,
            input.as_ref(),
            [output.file.as_ref().map(AsFd::as_fd), error.file.as_ref().map(AsFd::as_fd)],
            what.deadline,
        )?;
        output.take(what.kept);
        error.take(what.kept);
    }
    drop(input);
    let code = if has_ended {
        child.wait().doing(|| "waiting for a program").map(|status| Some(code_of(status)))?
    } else {
        // Its guard ends it, and whatever it has started; one that cannot leaves them to us.
        let _ = rustix::process::pidfd_send_signal(&held, Signal::TERM);
        wait(&held, None::<&OwnedFd>, [None, None], Instant::now() + PATIENCE)?;
        let _ = child.kill();
        let _ = child.wait();
        None
    };
    output.take(what.kept);
    error.take(what.kept);
    Ok(Ended { code, output: output.last(what.kept), error: error.last(what.kept) })
}

fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for something; true if the program has ended.
fn wait(
    held: &OwnedFd,
    input: Option<&impl AsFd>,
    outputs: [Option<std::os::fd::BorrowedFd<'_>>; 2],
    deadline: Instant,
) -> Result<bool> {
    let mut polled = vec![PollFd::new(held, PollFlags::IN)];
    polled.extend(input.map(|fd| PollFd::new(fd, PollFlags::OUT)));
    polled.extend(outputs.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match rustix::event::poll(&mut polled, Some(&left)) {
        Err(rustix::io::Errno::INTR) => return Ok(false),
        result => result.map_err(|errno| Error::io("waiting for a program", errno.into()))?,
    };
    Ok(polled.first().is_some_and(|held| !held.revents().is_empty()))
}

/// Ends all that is left of what we have started, and what that has started, wherever it has gone.
pub(crate) fn end_all() {
    let until = Instant::now() + PATIENCE;
    loop {
        // Each that goes leaves its own children to us.
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        for child in children() {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        if Instant::now() > until {
            return;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Ours, by now.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let numbers = |text: String| -> Vec<Pid> {
        text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
    };
    match std::fs::read_to_string(format!("/proc/self/task/{own}/children")) {
        Ok(text) => numbers(text),
        Err(_) => all_processes().filter(|(_, parent)| *parent == own.get()).map(|(pid, _)| pid).collect(),
    }
}

/// Where the kernel does not list them.
fn all_processes() -> impl Iterator<Item = (Pid, i32)> {
    let entries = std::fs::read_dir(Path::new("/proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
}
