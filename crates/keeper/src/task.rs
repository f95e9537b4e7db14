//! One process of ours with its input and output: the container's first, or one executed later.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use runtime::{Child, Options, Stdio, Target};
use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};
use spec::plan::Plan;
use spec::protocol::{MAX_CHUNK, Stream};
use spec::{Error, Result, ResultExt};

use crate::handover::{self, Kept};
use crate::network::Namespaces;

/// Input that waits for the process to read it; above this, no more is taken.
const INPUT_BYTES: usize = 256 << 10;

/// What is read at once until more turns out to be there: one who says little takes little memory.
const LEAST_CHUNK: usize = 4 << 10;

/// How long one more process may take to come in: meanwhile the container and its clients wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// End-of-file on a terminal (^D).
const END_OF_FILE: u8 = 4;

/// What a task is started with.
pub(crate) struct Setup<'a> {
    pub(crate) group: Option<&'a cgroup::Group>,
    pub(crate) input: bool,
    pub(crate) size: Option<(u16, u16)>,
    /// The ways into the groups, if they are open already.
    pub(crate) entry: Option<cgroup::Entry>,
    /// Namespaces that were made beforehand.
    pub(crate) namespaces: Namespaces,
    /// The file system of its volumes.
    pub(crate) kept: Option<OwnedFd>,
    /// Handed over to its program.
    pub(crate) sockets: &'a [OwnedFd],
}

impl<'a> Setup<'a> {
    pub(crate) fn of(group: Option<&'a cgroup::Group>, input: bool, size: Option<(u16, u16)>) -> Self {
        Self { group, input, size, entry: None, namespaces: Namespaces::default(), kept: None, sockets: &[] }
    }
}

/// A process and the other ends of its descriptors.
pub(crate) struct Task {
    child: Child,
    terminal: Option<OwnedFd>,
    input: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    input_ended: bool,
    outputs: Vec<(Stream, OwnedFd)>,
    devpts: Option<OwnedFd>,
    code: Option<i32>,
    /// How much is read at once.
    chunk: usize,
}

impl Task {
    /// Starts a container's first process; `meanwhile` runs while that sets itself up, before
    /// anything is executed.
    pub(crate) fn first(
        plan: &Plan,
        setup: Setup<'_>,
        meanwhile: impl FnOnce(i32) -> Result<()>,
    ) -> Result<Self> {
        Self::start(plan, setup, None, meanwhile)
    }

    /// Starts one more process in the container of `first`.
    pub(crate) fn join(plan: &Plan, setup: Setup<'_>, first: &Self) -> Result<Self> {
        let target = Target { pidfd: first.child.pidfd(), devpts: first.devpts.as_ref().map(AsFd::as_fd) };
        Self::start(plan, setup, Some(target), |_| Ok(()))
    }

    fn start(
        plan: &Plan,
        setup: Setup<'_>,
        target: Option<Target<'_>>,
        meanwhile: impl FnOnce(i32) -> Result<()>,
    ) -> Result<Self> {
        let Pipes { stdio, input, outputs } = pipes(plan.terminal, setup.input)?;
        let mut options = Options::new(stdio);
        options.die_with_parent = true;
        if target.is_some() {
            options.patience = PATIENCE;
        }
        (options.users, options.network) = (setup.namespaces.users, setup.namespaces.network);
        (options.kept, options.sockets) = (setup.kept, setup.sockets);
        if let Some(group) = setup.group {
            let entry = setup.entry.map_or_else(|| group.entry(), Ok)?;
            (options.cgroup_tasks, options.cgroup_v2) = (entry.tasks, entry.born_in);
        }
        let mut terminal = None;
        let mut child = runtime::execute(plan, options, target, |child| {
            terminal = child.terminal();
            if let (Some(terminal), Some((rows, columns))) = (&terminal, setup.size) {
                let sized = sys::pty::resize(terminal, rows, columns).map_err(std::io::Error::from);
                sized.doing(|| "sizing the terminal")?;
            }
            meanwhile(child.pid())
        })?;
        let devpts = child.devpts();
        let mut task = Self {
            child,
            terminal: None,
            input,
            waiting: VecDeque::new(),
            input_ended: false,
            outputs,
            devpts,
            code: None,
            chunk: LEAST_CHUNK,
        };
        task.use_terminal(terminal, setup.input)?;
        Ok(task)
    }

    /// What a program that takes our place must know of it; None while something of it waits.
    pub(crate) fn at_rest<'a>(&'a self, kept: &mut Kept<'a>) -> Option<TaskAtRest> {
        if self.code.is_some() || !self.waiting.is_empty() {
            return None;
        }
        let outputs = self.outputs.iter().map(|(stream, fd)| (*stream, kept.keep(fd))).collect();
        let mut optional = |fd: &'a Option<OwnedFd>| fd.as_ref().map(|fd| kept.keep(fd));
        let (terminal, input, devpts) =
            (optional(&self.terminal), optional(&self.input), optional(&self.devpts));
        let (plan, pid) = (self.child.plan().clone(), self.child.pid());
        let pidfd = kept.keep_borrowed(self.child.pidfd());
        Some(TaskAtRest { plan, pid, pidfd, terminal, input, input_ended: self.input_ended, outputs, devpts })
    }

    pub(crate) fn adopt(rest: TaskAtRest) -> Result<Self> {
        let optional = |number: Option<i32>| number.map(handover::take).transpose();
        let outputs = rest.outputs.into_iter().map(|(stream, fd)| Ok((stream, handover::take(fd)?)));
        Ok(Self {
            child: Child::adopt(rest.plan, rest.pid, handover::take(rest.pidfd)?),
            terminal: optional(rest.terminal)?,
            input: optional(rest.input)?,
            waiting: VecDeque::new(),
            input_ended: rest.input_ended,
            outputs: outputs.collect::<Result<_>>()?,
            devpts: optional(rest.devpts)?,
            code: None,
            chunk: LEAST_CHUNK,
        })
    }

    fn use_terminal(&mut self, terminal: Option<OwnedFd>, input: bool) -> Result<()> {
        let Some(terminal) = terminal else { return Ok(()) };
        let copy = || terminal.try_clone().doing(|| "duplicating a terminal");
        rustix::io::ioctl_fionbio(&terminal, true)
            .map_err(std::io::Error::from)
            .doing(|| "preparing a terminal")?;
        self.outputs = vec![(Stream::Out, copy()?)];
        self.input = if input { Some(copy()?) } else { None };
        self.terminal = Some(terminal);
        Ok(())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.pid()
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd()
    }

    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().map(|(_, fd)| fd.as_fd())
    }

    /// The descriptor to watch for being writable, while input waits.
    pub(crate) fn hungry(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let input = self.input.as_ref().filter(|_| !self.waiting.is_empty())?;
        Some((input.as_fd(), PollFlags::OUT))
    }

    /// Whether it takes more input for now.
    pub(crate) fn takes_input(&self) -> bool {
        self.waiting.len() < INPUT_BYTES
    }

    pub(crate) fn signal(&self, signo: i32) -> Result<()> {
        self.child.signal(signo)
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        sys::pty::resize(terminal, rows, columns)
            .map_err(std::io::Error::from)
            .doing(|| "sizing the terminal")
    }

    /// Kills it with all that it has started and that has stayed in its session's first group; nobody
    /// once its end is known.
    pub(crate) fn end_session(&self) {
        if self.code.is_none() {
            // Not reaped yet, so the number is its own.
            let _ = sys::process::kill(-self.child.pid(), 9);
        }
    }

    /// The exit code once it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        if self.code.is_none() {
            self.code = self.child.try_wait().unwrap_or(Some(125));
        }
        self.code
    }

    /// Reads what it says; calls `each` at most once for every output. Closed ones are dropped.
    pub(crate) fn read(&mut self, each: &mut dyn FnMut(Stream, &[u8])) {
        let mut most = 0;
        let mut buffer = Vec::with_capacity(self.chunk);
        self.outputs.retain(|(stream, fd)| {
            buffer.clear();
            match rustix::io::read(fd, spare_capacity(&mut buffer)) {
                Ok(0) => false,
                Ok(count) => {
                    most = most.max(count);
                    each(*stream, &buffer);
                    true
                }
                // A terminal whose last user has gone says EIO.
                Err(error) => matches!(error, Errno::AGAIN | Errno::INTR),
            }
        });
        self.chunk = if most < self.chunk { LEAST_CHUNK } else { MAX_CHUNK };
    }

    /// Reads what it has said until now: no more of each output than a pipe holds, for others may
    /// still have it open and write.
    pub(crate) fn read_rest(&mut self, each: &mut dyn FnMut(Stream, &[u8])) {
        let mut left = self.outputs.iter().map(|(_, fd)| capacity(fd)).max().unwrap_or(0);
        while left > 0 {
            // Whoever has more to say than the others sets the pace: they are read to their ends.
            let mut most = 0;
            self.read(&mut |stream, bytes| {
                most = most.max(bytes.len());
                each(stream, bytes);
            });
            if most == 0 {
                return;
            }
            left = left.saturating_sub(most);
        }
    }

    /// Whether it says so much that memory is taken for it.
    pub(crate) fn says_much(&self) -> bool {
        self.chunk > LEAST_CHUNK
    }

    /// Hands input on, as far as there is room.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        if self.input.is_some() {
            self.waiting.extend(bytes);
            self.feed();
        }
    }

    pub(crate) fn end_input(&mut self) {
        if self.terminal.is_some() {
            self.waiting.push_back(END_OF_FILE);
        } else {
            self.input_ended = true;
        }
        self.feed();
    }

    /// Writes waiting input.
    pub(crate) fn feed(&mut self) {
        while let Some(input) = self.input.as_ref().filter(|_| !self.waiting.is_empty()) {
            match rustix::io::write(input, self.waiting.as_slices().0) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // It has closed its input.
                Err(_) => {
                    self.waiting.clear();
                    self.input = None;
                }
            }
        }
        if self.input_ended {
            self.input = None;
        }
    }
}

/// A [`Task`] on its way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct TaskAtRest {
    plan: Plan,
    pid: i32,
    pidfd: i32,
    terminal: Option<i32>,
    input: Option<i32>,
    input_ended: bool,
    outputs: Vec<(Stream, i32)>,
    devpts: Option<i32>,
}

struct Pipes {
    stdio: Stdio,
    input: Option<OwnedFd>,
    outputs: Vec<(Stream, OwnedFd)>,
}

fn pipes(terminal: bool, input: bool) -> Result<Pipes> {
    let mut stdio = Stdio::null()?;
    let mut pipes = (None, Vec::new());
    if !terminal {
        if input {
            let (read, write) = pipe()?;
            non_blocking(&write)?;
            (stdio.stdin, pipes.0) = (read, Some(write));
        }
        for (stream, place) in [(Stream::Out, &mut stdio.stdout), (Stream::Error, &mut stdio.stderr)] {
            let (read, write) = pipe()?;
            non_blocking(&read)?;
            *place = write;
            pipes.1.push((stream, read));
        }
    }
    Ok(Pipes { stdio, input: pipes.0, outputs: pipes.1 })
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::io("making a pipe", errno.into()))
}

/// How much may wait in it; who has the other end may have changed that.
fn capacity(output: &OwnedFd) -> usize {
    // A terminal has no such size; with what the line discipline has it holds a little over 64 KiB.
    rustix::pipe::fcntl_getpipe_size(output).unwrap_or(2 * MAX_CHUNK)
}

fn non_blocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(|errno| Error::io("preparing a pipe", errno.into()))
}
