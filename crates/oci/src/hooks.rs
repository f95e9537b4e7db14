//! Programs that are run at turns of a container's life, with its state on their standard input.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::time::{Duration, Instant};

use runtime::{Options, Target};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags};
use spec::container::{Capabilities, Namespace, Place, Process};
use spec::oci::{Hook, State, Status};
use spec::{Error, Result, ResultExt};

use crate::log::Log;
use crate::record::Record;

/// How much of what one has said is told.
const TOLD: usize = 2048;

/// Those that run before the root changes: first in our namespaces, then in the container's.
///
/// # Errors
/// The first that fails.
pub(crate) fn before_the_root_changes(record: &Record, pid: i32) -> Result<()> {
    let hooks = &record.bundle.hooks;
    let mut state = record.state(Status::Creating);
    state.pid = Some(pid);
    all("prestart", &hooks.prestart, |hook| outside(hook, &state))?;
    all("createRuntime", &hooks.create_runtime, |hook| outside(hook, &state))?;
    // The root is still the host's, and so are their paths.
    let bits = our_capabilities()?;
    let root = Process {
        capabilities: Capabilities {
            bounding: bits,
            permitted: bits,
            effective: bits,
            ..Capabilities::default()
        },
        ..Process::new(Vec::new())
    };
    all("createContainer", &hooks.create_container, |hook| inside(hook, &state, record, pid, &root))
}

/// Those that we have ourselves: there are no others to be given.
fn our_capabilities() -> Result<u64> {
    let path = "/proc/thread-self/status";
    let status = std::fs::read_to_string(path).doing(|| format!("reading {path}"))?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.ok_or_else(|| Error::internal(format!("{path} tells no capabilities")))
}

/// Those that run in the container, as what will be its first process.
///
/// # Errors
/// The first that fails.
pub(crate) fn before_the_program(record: &Record, pid: i32) -> Result<()> {
    let state = record.state(Status::Created);
    let process = Process { terminal: false, ..record.bundle.spec.process.clone() };
    all("startContainer", &record.bundle.hooks.start_container, |hook| {
        inside(hook, &state, record, pid, &process)
    })
}

/// Those that run once it is started. What fails is told, and the others run.
pub(crate) fn after_the_start(record: &Record, log: &Log) {
    let state = record.state(Status::Running);
    each("poststart", &record.bundle.hooks.poststart, &state, log);
}

/// Those that run when it is removed; likewise.
pub(crate) fn after_the_end(record: &Record, log: &Log) {
    let state = record.state(Status::Stopped);
    each("poststop", &record.bundle.hooks.poststop, &state, log);
}

fn all(kind: &str, hooks: &[Hook], mut run: impl FnMut(&Hook) -> Result<()>) -> Result<()> {
    for (number, hook) in hooks.iter().enumerate() {
        run(hook).doing(|| format!("{kind} hook #{number} ({})", hook.path.display()))?;
    }
    Ok(())
}

fn each(kind: &str, hooks: &[Hook], state: &State, log: &Log) {
    for (number, hook) in hooks.iter().enumerate() {
        if let Err(error) = outside(hook, state) {
            log.warning(&format!("{kind} hook #{number} ({}): {}", hook.path.display(), error.chain()));
        }
    }
}

/// In our namespaces.
fn outside(hook: &Hook, state: &State) -> Result<()> {
    let (input, said) = (state_of(state)?, memory()?);
    let error = said.try_clone().doing(|| "duplicating a descriptor")?;
    let mut command = Command::new(&hook.path);
    if let Some((first, rest)) = hook.args.split_first() {
        command.arg0(first).args(rest);
    }
    command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
    command.stdin(input).stdout(said.try_clone().doing(|| "duplicating a descriptor")?).stderr(error);
    // Whatever it starts ends with it.
    // It would inherit which signals we do not take.
    let mask = sys::signal::block(&[]);
    sys::signal::unblock_all();
    let child = command.process_group(0).spawn();
    sys::signal::restore(&mask);
    let mut child = child.map_err(|cause| Error::process("starting it", cause))?;
    let pid = child.id() as i32;
    let number = Pid::from_raw(pid).ok_or_else(|| Error::internal("a process without a number"))?;
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(std::io::Error::from);
    let ended = pidfd.doing(|| "watching it").and_then(|pidfd| within(pidfd.as_fd(), hook.timeout));
    if !matches!(ended, Ok(true)) {
        // Not waited for yet: the number is still its.
        let _ = sys::process::kill(-pid, 9);
    }
    let status = child.wait().doing(|| "waiting for it")?;
    if !ended? {
        return Err(too_long(hook));
    }
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    judge(code, said)
}

/// In the container's namespaces, whose first process waits.
fn inside(hook: &Hook, state: &State, record: &Record, pid: i32, like: &Process) -> Result<()> {
    let spec = &record.bundle.spec;
    let file = hook.path.to_str().ok_or_else(|| Error::user("its path is no text"))?;
    let arguments = hook.args.iter().skip(1).cloned();
    let argv = std::iter::once(file.to_owned()).chain(arguments).collect();
    let process = Process { argv, env: hook.env.clone(), ..like.clone() };
    // What lies at a path was entered by the first process too; it is found there.
    let namespaces = spec.namespaces.iter().filter(|(_, place)| !matches!(place, Place::Container(_)));
    let namespaces = namespaces.map(|(namespace, _)| *namespace).filter(|one| *one != Namespace::Cgroup);
    let plan = spec::plan::join(spec, &process, &namespaces.collect());
    let said = memory()?;
    let stdio = runtime::Stdio {
        stdin: state_of(state)?.into(),
        stdout: said.try_clone().doing(|| "duplicating a descriptor")?.into(),
        stderr: said.try_clone().doing(|| "duplicating a descriptor")?.into(),
    };
    let first = open(pid)?;
    let mut options = Options::new(stdio);
    record.groups.admit(&mut options.cgroup_tasks, &mut options.cgroup_v2)?;
    let target = Target { pidfd: first.as_fd(), devpts: None };
    let mut child = runtime::execute(&plan, options, Some(target), |_| Ok(()))?;
    if !within(child.pidfd(), hook.timeout)? {
        // It leads a session, and a group of that number.
        let _ = sys::process::kill(-child.pid(), 9);
        return Err(too_long(hook));
    }
    judge(child.wait()?, said)
}

fn open(pid: i32) -> Result<OwnedFd> {
    let number = Pid::from_raw(pid).ok_or_else(|| Error::internal("a process without a number"))?;
    let opened = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(std::io::Error::from);
    opened.doing(|| "opening the container's first process")
}

fn too_long(hook: &Hook) -> Error {
    let seconds = hook.timeout.unwrap_or_default().as_secs();
    Error::failed(format!("it has not ended within {seconds} s, and was killed"))
}

fn judge(code: i32, mut said: File) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let mut text = Vec::new();
    // What it said only explains.
    let _ = said.seek(SeekFrom::Start(0)).and_then(|_| said.read_to_end(&mut text));
    let from = text.len().saturating_sub(TOLD);
    let text = String::from_utf8_lossy(&text[from..]);
    Err(Error::failed(format!("exit status {code}, output: {:?}", text.trim_end())))
}

/// A file: one that is not read keeps nobody waiting, however long it is.
fn state_of(state: &State) -> Result<File> {
    let text =
        serde_json::to_vec(state).map_err(|cause| Error::internal("encoding the state").because(cause))?;
    let mut file = memory()?;
    let written = file.write_all(&text).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.doing(|| "writing the state")?;
    Ok(file)
}

fn memory() -> Result<File> {
    let made = rustix::fs::memfd_create(c"tsubo-oci-hook", MemfdFlags::CLOEXEC);
    Ok(made.map_err(std::io::Error::from).doing(|| "making a file in memory")?.into())
}

/// Whether a process ends in time; without one it is waited for.
fn within(pidfd: BorrowedFd<'_>, time: Option<Duration>) -> Result<bool> {
    let begun = Instant::now();
    loop {
        let left = time.map(|time| time.saturating_sub(begun.elapsed()));
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut polled, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            count => return Ok(count.map_err(std::io::Error::from).doing(|| "waiting for it")? > 0),
        }
    }
}
