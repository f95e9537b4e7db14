//! The process of one hook.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use spec::container::Spec;
use spec::hooks::{Hook, Hooks, Outcome, Verdict};
use spec::{Error, Result, ResultExt};

use super::{Detail, Owner, diary};

/// The name of the program, which lies beside the others.
pub const PROGRAM: &str = "tsubo-hook";

/// Says, in the environment of a hook, that what is done there is done by one: hooks of hooks there are not.
const INSIDE: &str = "TSUBO_IN_HOOK";

/// It bounds itself. Where it does not even do that, it has so much longer.
const GRACE: Duration = Duration::from_secs(1);

/// So many characters of a line are kept.
const LINE: usize = 1000;

/// What it may answer.
const ANSWER: usize = 1 << 20;

/// Whether the calling program is a hook's: what it does to containers fires no hooks.
pub fn in_hook() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// `TSUBO_HOOK`, or `tsubo-hook` beside our own program.
///
/// # Errors
/// Not found, with the way out.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TSUBO_HOOK") {
        return Ok(path.into());
    }
    let beside = crate::KeeperProgram::place().map(|keeper| keeper.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        Error::not_found(format!("{PROGRAM}, which does the hooks of containers, is not there"))
            .hint("it must lie beside tsubo; or set TSUBO_HOOK to its path")
    })
}

/// A hook that is being done. Dropped, it is ended.
#[derive(Debug)]
pub struct Running {
    hook: Hook,
    child: Child,
    pidfd: OwnedFd,
    /// None when it has said all.
    answer: Option<OwnedFd>,
    said: Vec<u8>,
    begun: Instant,
}

impl Owner<'_> {
    /// Begins a hook: nobody waits for it here.
    ///
    /// # Errors
    /// When its process cannot be made.
    pub fn begin(&self, hook: &Hook, detail: Detail) -> Result<Running> {
        let doing = || format!("beginning hook {:?} of container {}", hook.name, self.spec.name);
        let hooks = self.spec.hooks.as_deref().ok_or_else(|| Error::internal("no hooks")).doing(doing)?;
        let firing = serde_json::to_vec(&self.firing(hook, detail));
        let firing = firing.map_err(|cause| Error::internal("writing JSON").because(cause))?;
        Running::begin(hook, hooks, &firing).doing(doing)
    }

    /// Takes in how it went: its state, the event, the diary. What of that should be in the container's
    /// own log too.
    pub fn settle(&self, hook: &Hook, outcome: &Outcome, took: Duration) -> Vec<String> {
        diary::settle(self, hook, outcome, took)
    }
}

impl Running {
    fn begin(hook: &Hook, hooks: &Hooks, firing: &[u8]) -> Result<Self> {
        let mut command = hooks.command();
        command.arg("fire").stdin(in_memory(firing)?).stdout(Stdio::piped());
        let mut child = command.spawn().doing(|| format!("executing {}", hooks.program.display()))?;
        let answer = child.stdout.take().ok_or_else(|| Error::internal("no output")).map(OwnedFd::from);
        let made = answer.and_then(|answer| Ok((pidfd(&child)?, nonblocking(answer)?)));
        match made {
            Ok((pidfd, answer)) => {
                let (hook, answer, begun) = (hook.clone(), Some(answer), Instant::now());
                Ok(Self { hook, child, pidfd, answer, said: Vec::new(), begun })
            }
            Err(error) => {
                // It has done nothing yet that could not be ended.
                let _ = child.kill().and_then(|()| child.wait());
                Err(error)
            }
        }
    }

    /// Which hook it is.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// For how long it has been at it.
    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// When it is ended, if it has not ended itself.
    pub fn deadline(&self) -> Instant {
        self.begun + Duration::from_millis(self.hook.timeout) + GRACE
    }

    /// What tells that there is something to do.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.pidfd.as_fd()).chain(self.answer.as_ref().map(AsFd::as_fd))
    }

    /// How it went, once that is known.
    pub fn outcome(&mut self) -> Option<Outcome> {
        self.read();
        if let Ok(Some(status)) = self.child.try_wait() {
            self.read();
            return Some(told(&self.said, &status));
        }
        if self.deadline() > Instant::now() {
            return None;
        }
        let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
        let why = format!("it was ended after {} ms", self.took().as_millis());
        Some(Outcome { verdict: Verdict::Overdue(why), ..Outcome::default() })
    }

    /// Waits for it.
    pub fn wait(mut self) -> (Outcome, Duration) {
        loop {
            if let Some(outcome) = self.outcome() {
                return (outcome, self.took());
            }
            let mut polled: Vec<_> =
                self.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            // A signal or the deadline: it is looked at again.
            let _ = rustix::event::poll(&mut polled, Some(&until(self.deadline())));
        }
    }

    /// What has been said. Whoever has closed its end is not listened to any more.
    fn read(&mut self) {
        let mut room = [0; 4096];
        while let Some(answer) = &self.answer {
            match rustix::io::read(answer, &mut room) {
                Ok(0) => self.answer = None,
                Ok(count) => {
                    let count = count.min(ANSWER - self.said.len());
                    self.said.extend_from_slice(&room[..count]);
                }
                Err(Errno::INTR) => {}
                // Nothing now.
                Err(_) => return,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // It takes along what it has started.
            let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
        }
    }
}

impl Owner<'_> {
    /// Has hooks done when there will be nobody to wait for them: a process of their own does one after the
    /// other, and takes in how they went.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn leave(&self, hooks: &[(&Hook, Detail)]) -> Result<()> {
        let Some(all) = self.spec.hooks.as_deref().filter(|_| !hooks.is_empty()) else { return Ok(()) };
        let told = serde_json::to_vec(&Left {
            spec: self.spec.clone(),
            dir: self.dir.into(),
            run: self.run.into(),
            image: self.image.into(),
            hooks: hooks.iter().map(|(hook, detail)| ((*hook).clone(), detail.clone())).collect(),
        });
        let told = told.map_err(|cause| Error::internal("writing JSON").because(cause))?;
        let mut command = all.command();
        command.arg("last").stdin(in_memory(&told)?).stdout(Stdio::null());
        let begun = command.spawn().doing(|| format!("executing {}", all.program.display()));
        // It belongs to nobody; its end is nobody's business.
        begun.map(drop)
    }
}

/// What [`Owner::leave`] leaves behind.
#[derive(serde::Serialize, serde::Deserialize)]
struct Left {
    spec: Spec,
    dir: PathBuf,
    run: PathBuf,
    image: String,
    hooks: Vec<(Hook, Detail)>,
}

/// Does what was left, as JSON: the program of hooks calls it.
///
/// # Errors
/// What is no such thing. Hooks that fail are told where hooks are told.
pub fn do_left(text: &[u8]) -> Result<()> {
    let left: Left = serde_json::from_slice(text)
        .map_err(|cause| Error::internal("reading what hooks are left to do").because(cause))?;
    let owner = Owner {
        spec: &left.spec,
        dir: &left.dir,
        run: &left.run,
        image: &left.image,
        status: "stopped",
        pid: None,
    };
    for (hook, detail) in &left.hooks {
        let begun = owner.begin(hook, detail.clone()).map(Running::wait);
        let (outcome, took) = begun.unwrap_or_else(|error| (failed(error.chain()), Duration::ZERO));
        owner.settle(hook, &outcome, took);
    }
    Ok(())
}

/// How programs of hooks are executed.
trait Executed {
    fn command(&self) -> Command;
}

impl Executed for Hooks {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // It goes to `/` itself: with a directory to go to we would be copied for it, not only lent.
        command.stderr(Stdio::null()).env_clear().envs(&self.env).env(INSIDE, "1");
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

/// What it has told. It may be the words of a package's script: people see them on their terminals.
fn told(said: &[u8], status: &ExitStatus) -> Outcome {
    if said.is_empty() {
        return failed(format!("{PROGRAM} ended with {status} before it could tell why"));
    }
    match serde_json::from_slice::<Outcome>(said) {
        Ok(mut outcome) => {
            outcome.log.iter_mut().for_each(|line| *line = plain(line));
            match &mut outcome.verdict {
                Verdict::Done => {}
                Verdict::Veto(why) | Verdict::Failed(why) | Verdict::Overdue(why) => *why = plain(why),
            }
            outcome
        }
        Err(cause) => failed(format!("{PROGRAM} ended with {status}: {cause}")),
    }
}

/// One line of bounded length, in which nothing moves a cursor.
fn plain(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.take(LINE).collect();
    if short.len() < text.len() && text.chars().count() > LINE {
        short.push('…');
    }
    short
}

pub(super) fn failed(why: String) -> Outcome {
    Outcome { verdict: Verdict::Failed(why), ..Outcome::default() }
}

fn until(at: Instant) -> Timespec {
    let time = at.saturating_duration_since(Instant::now());
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() }
}

/// Who does not read it holds nobody up.
fn in_memory(bytes: &[u8]) -> Result<File> {
    let file = rustix::fs::memfd_create(c"tsubo-hook", MemfdFlags::CLOEXEC).map_err(std::io::Error::from);
    let mut file = File::from(file.doing(|| "making a file in memory")?);
    file.write_all(bytes).and_then(|()| file.rewind()).doing(|| "writing what a hook is told")?;
    Ok(file)
}

fn pidfd(child: &Child) -> Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let opened = pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    let opened = opened.ok_or_else(|| Error::internal("no process"))?.map_err(std::io::Error::from);
    opened.doing(|| "watching the process of a hook")
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd> {
    let set = rustix::fs::fcntl_setfl(&fd, OFlags::NONBLOCK).map_err(std::io::Error::from);
    set.doing(|| "watching the answer of a hook").map(|()| fd)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_a_script_says_moves_no_cursor_and_is_short() {
        let said = serde_json::json!({"verdict": {"is": "failed", "why": format!("a\x1b[31m\nb{}", "x".repeat(5000))},
            "log": ["\x07"]});
        let outcome = told(said.to_string().as_bytes(), &ExitStatus::default());
        let why = outcome.verdict.why().expect("why").to_owned();
        assert!(why.starts_with("a [31m b") && why.chars().count() == LINE + 1, "{why}");
        assert_eq!(outcome.log, [" "]);
        assert!(told(b"", &ExitStatus::default()).verdict.why().is_some_and(|why| !why.contains("EOF")));
    }

    #[test]
    fn what_is_told_is_read_from_the_start() {
        let mut text = String::new();
        in_memory(b"{}").expect("a file").read_to_string(&mut text).expect("read");
        assert_eq!(text, "{}");
    }
}
