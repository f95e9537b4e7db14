//! A service that runs under this command's eyes: in a test, or in the replay of one.

pub mod conduct;
pub mod exercise;
pub mod inside;
pub mod leftover;
pub mod meter;
pub mod output;
pub mod readiness;
pub mod sockets;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use observe::Watch;
use regex_lite::Regex;
use runtime::{Child, Options, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use spec::container::Spec;
use spec::observation::{Curve, Peak, Used};
use spec::ready::Ready;
use spec::{Error, Result, ResultExt};
use sys::seccomp::Instruction;

use self::output::Output;
use self::sockets::Held;

/// How long a service may take to stop before it is killed.
pub const STOP_TIME: Duration = Duration::from_secs(10);

/// A running, watched service.
pub struct Service {
    child: Child,
    code: Option<i32>,
    group: Option<leftover::Noted>,
    looker: Option<meter::Looker>,
    seen: meter::Seen,
    stop_signal: i32,
    /// What it says.
    pub output: Output,
    /// The most that was seen of it.
    pub held: Held,
}

impl Service {
    /// Starts the container of `spec`; `watch` sees it from its first instruction.
    ///
    /// # Errors
    /// As of the runtime: a command that is not there, a kernel that refuses.
    pub fn start(
        spec: &Spec,
        ready: Option<&Ready>,
        watch: &mut Watch,
        filter: &[Instruction],
        log: &Path,
    ) -> Result<Self> {
        let wanted = match ready {
            Some(Ready::Log(text)) => Some(Regex::new(text).map_err(|cause| {
                Error::user(format!("invalid regular expression {text:?}")).because(cause)
            })?),
            _ => None,
        };
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| Error::io("making a pipe", errno.into()))?;
        let output = Output::collect(read, log, wanted)?;
        let group = if spec.cgroup { Some(leftover::Noted::create(spec.id, log)?) } else { None };
        let mut options = Options::new(stdio(write)?);
        options.listen = Some(filter);
        options.die_with_parent = true;
        admit(group.as_ref(), &mut options)?;
        let mut child = runtime::spawn(&spec::plan::plan(spec), options)?;
        let listener = child
            .listener()
            .ok_or_else(|| Error::internal("the container did not hand over its listener"))?;
        watch.start(listener, child.pid())?;
        let looker = group.as_ref().and_then(leftover::Noted::group).map(meter::Looker::start);
        child.release()?;
        let (seen, held) = (meter::Seen::default(), Held::default());
        Ok(Self { child, code: None, group, looker, seen, stop_signal: spec.stop_signal, output, held })
    }

    /// The host's pid of the container's first process.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// A descriptor of that process.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd()
    }

    /// Lets a process that joins enter the container's control groups.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn admit(&self, options: &mut Options<'_>) -> Result<()> {
        admit(self.group.as_ref(), options)
    }

    /// Its exit code if it has ended.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<i32>> {
        if self.code.is_none() {
            self.code = self.child.try_wait()?;
        }
        Ok(self.code)
    }

    /// Notes what it holds at this moment.
    pub fn look(&mut self) {
        let now = sockets::held(self.pid());
        self.held.ports.extend(now.ports);
        self.held.most_files = self.held.most_files.max(now.most_files);
        self.held.processes = self.held.processes.max(now.processes);
    }

    /// Waits until it ends, at most `limit`; None if it still runs.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(code) = self.ended()? {
                return Ok(Some(code));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            // A signal ends the poll early; the loop looks again.
            let _ = poll(&mut [PollFd::new(&self.child.pidfd(), PollFlags::IN)], Some(&timeout));
            if left < Duration::from_millis(1) {
                std::thread::yield_now();
            }
        }
    }

    /// Stops it as its owner would, and by force if that does not help.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub fn stop(&mut self) -> Result<i32> {
        self.look_away();
        if let Some(code) = self.ended()? {
            return Ok(code);
        }
        if lifecycle::listens_to(self.pid(), self.stop_signal) {
            self.child.signal(self.stop_signal)?;
            if let Some(code) = self.wait(STOP_TIME)? {
                return Ok(code);
            }
        }
        self.child.signal(9)?;
        let killed = self.wait(STOP_TIME)?;
        killed.ok_or_else(|| {
            Error::internal("the service survives SIGKILL; a process in it hangs in the kernel")
        })
    }

    /// The end of what is of interest: how it stops is nothing to plan by.
    fn look_away(&mut self) {
        if let Some(mut looker) = self.looker.take() {
            self.seen = looker.finish();
        }
    }

    /// What it used, as far as control groups and looks tell, and when.
    pub fn used(&mut self) -> (Used, Curve) {
        self.look_away();
        let counted = self.group.as_ref().map(leftover::Noted::peak).unwrap_or_default();
        let peak = Peak {
            memory: counted.memory,
            tasks: counted.tasks.max(self.held.processes),
            files: self.held.most_files,
        };
        let seen = std::mem::take(&mut self.seen);
        (Used { peak: peak.or_more(seen.used.peak), ..seen.used }, seen.curve)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The errors of the way down were told; here only nothing must stay behind.
        if self.code.is_none() {
            let _ = self.child.signal(9);
            let _ = self.wait(STOP_TIME);
        }
        // After the process itself: groups cannot be removed while anything is in them.
        drop(self.group.take());
    }
}

fn admit(group: Option<&leftover::Noted>, options: &mut Options<'_>) -> Result<()> {
    group.map_or(Ok(()), |group| group.admit(&mut options.cgroup_tasks, &mut options.cgroup_v2))
}

/// No input, and both outputs into `pipe`.
fn stdio(pipe: OwnedFd) -> Result<Stdio> {
    let null = std::fs::File::open("/dev/null").doing(|| "opening /dev/null")?;
    let error = pipe.try_clone().doing(|| format!("duplicating descriptor {}", pipe.as_raw_fd()))?;
    Ok(Stdio { stdin: null.into(), stdout: pipe, stderr: error })
}
