//! One more process in a container that runs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::{Child, Options, Stdio, Target};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::container::Process;
use spec::{Error, Result, ResultExt};

use crate::container::Container;
use crate::{console, foreground, pid_file};

/// DEVPTS_SUPER_MAGIC.
const DEVPTS: u64 = 0x1cd1;

/// What a command line says about it.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) process: Process,
    pub(crate) size: Option<(u16, u16)>,
    pub(crate) console: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) preserve: u32,
    /// `[CONTROLLER:]PATH` below the container's groups.
    pub(crate) below: Vec<String>,
    /// Nobody stays with it.
    pub(crate) alone: bool,
}

/// Starts it; its terminal comes along if we are to relay that.
///
/// # Errors
/// Where the container does not run, or the program cannot be executed.
pub(crate) fn start(container: &Container, joining: &Joining) -> Result<(Child, Option<OwnedFd>)> {
    let record = &container.record;
    let first = container.running()?;
    let devpts = joining.process.terminal.then(|| terminals(container)).transpose()?;
    let spec = &record.bundle.spec;
    let plan = spec::plan::join(spec, &joining.process, &spec::plan::joinable(spec));
    let mut options = Options::new(Stdio::inherit()?);
    options.preserve = joining.preserve;
    options.die_with_parent = !joining.alone;
    match joining.below.as_slice() {
        [] => record.groups.admit(&mut options.cgroup_tasks, &mut options.cgroup_v2)?,
        below => below.iter().try_for_each(|below| {
            let (controller, path) = match below.split_once(':') {
                Some((controller, path)) => (Some(controller), path),
                None => (None, below.as_str()),
            };
            record.groups.admit_below(
                controller,
                plain(path)?,
                &mut options.cgroup_tasks,
                &mut options.cgroup_v2,
            )
        })?,
    }
    let target = Target { pidfd: first.as_fd(), devpts: devpts.as_ref().map(AsFd::as_fd) };
    let mut terminal = None;
    let child = runtime::execute(&plan, options, Some(target), |child| {
        terminal = announce(joining, child)?;
        Ok(())
    });
    Ok((child?, terminal))
}

fn announce(joining: &Joining, child: &mut Child) -> Result<Option<OwnedFd>> {
    if !joining.alone {
        foreground::hold_signals();
    }
    let mut terminal = child.terminal();
    if let (Some(terminal), Some((rows, columns))) = (&terminal, joining.size) {
        sys::pty::resize(terminal, rows, columns)
            .map_err(std::io::Error::from)
            .doing(|| "sizing the terminal")?;
    }
    if let (Some(socket), Some(master)) = (&joining.console, terminal.take_if(|_| joining.console.is_some()))
    {
        console::give(master, socket)?;
    }
    if let Some(path) = &joining.pid_file {
        pid_file::write(path, child.pid())?;
    }
    Ok(terminal)
}

fn plain(path: &str) -> Result<&Path> {
    let below = path.trim_start_matches('/');
    if below.split('/').any(|part| part == "..") {
        return Err(Error::user(format!("--cgroup {path}: `..` leads out of the container's groups")));
    }
    Ok(Path::new(below))
}

/// The container's own devpts: terminals of its processes come from there.
fn terminals(container: &Container) -> Result<OwnedFd> {
    let pid = container.record.init.map_or(0, |init| init.pid);
    let doing = || "finding the container's terminals";
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let directory = rustix::fs::openat2(&root, c"dev/pts", flags, Mode::empty(), resolve)?;
        if rustix::fs::fstatfs(&directory)?.f_type as u64 != DEVPTS {
            return Err(rustix::io::Errno::NOENT);
        }
        Ok(directory)
    };
    let opened = open().map_err(std::io::Error::from).doing(doing);
    opened.map_err(|error: Error| error.hint("a terminal needs a devpts at /dev/pts in the container"))
}
