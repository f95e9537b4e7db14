//! The network of an ordinary user's container: a process (pasta, or slirp4netns where that is missing) carries its
//! packets as if they were the user's own, and holds the ports of the host that lead to it.
//!
//! The process stays when the keeper executes itself, and whoever finds the container can end it: which one it
//! is stands in a directory beside the container's run directory, which begins anew at each start. Before it can
//! be noted there is a mark, so that also who was killed in between leaves nothing that is not found.

mod ports;
mod slirp;
#[cfg(test)]
mod tests;
mod words;

use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use spec::network::{Attachment, Networking, Publish};
use spec::{Error, Result, ResultExt};

use crate::disk::{self, Durable};
use crate::pinned::{Pinned, ends_within};
use ports::Reserved;

/// Where names are asked for inside, if only the host itself can reach whom the host asks: passed on to him.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Beside the directory of run directories, with one of the same name for each container.
const PLACE: &str = "pasta";

/// Says which process it is.
const NOTE: &str = "note.json";

/// Made before there is a process, which then writes its number into it.
const MARK: &str = "pid";

/// So long may it take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// So much of a complaint is worth repeating.
const COMPLAINT: u64 = 4 << 10;

/// A way out, as long as its process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Helper {
    /// Its process.
    pub process: Pinned,
    /// What it passes on, with the ports that were chosen.
    pub published: Vec<Publish>,
}

/// What is needed to begin one.
struct Way<'a> {
    inside: BorrowedFd<'a>,
    interface: &'a str,
    /// Where it is noted.
    place: &'a Path,
}

/// Whether a container is connected so.
pub(crate) fn is_for(networking: &Networking) -> bool {
    interface(networking).is_some()
}

fn interface(networking: &Networking) -> Option<&str> {
    networking.attachments.iter().find_map(|attachment| match attachment {
        Attachment::User { interface } => Some(interface.as_str()),
        _ => None,
    })
}

/// Where it is noted which process connects the container of this run directory.
fn place(run: &Path) -> PathBuf {
    let all = run.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join(PLACE);
    run.file_name().map(|id| all.join(id)).unwrap_or(all)
}

/// Connects the network namespace `inside`, and publishes ports there. Ports 0 are chosen. If this fails
/// nothing is left of it.
///
/// # Errors
/// Unsupported where neither program is there, or this host does not let it work; Conflict where a port is
/// taken; Denied where one takes root.
pub(crate) fn connect(
    inside: BorrowedFd<'_>,
    networking: &Networking,
    published: &[Publish],
    run: &Path,
) -> Result<Helper> {
    let interface = interface(networking).ok_or_else(|| Error::internal("a user without an interface"))?;
    // One of a start before, whose keeper was killed.
    disconnect(run)?;
    let reserved = ports::reserve(published)?;
    let place = place(run);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
    made.and_then(|()| File::create(place.join(MARK))).doing(|| "noting that a network begins")?;
    let connected = Way { inside, interface, place: &place }.connect(reserved);
    if connected.is_err() {
        // The failure is the one to tell.
        let _ = disconnect(run);
    }
    connected
}

/// Ends what connects the container of this run directory, if something does.
///
/// # Errors
/// When it cannot be ended.
pub(crate) fn disconnect(run: &Path) -> Result<()> {
    let place = place(run);
    // By far the most have none.
    if !place.exists() {
        return Ok(());
    }
    let doing = || "ending the process that carries its packets";
    match disk::read_json::<Helper>(&place.join(NOTE)) {
        Ok(Some(helper)) => end(helper.process.find()?, helper.process.pid).doing(doing)?,
        // Whoever began it was killed before it could say so.
        _ => begun_for(&place).into_iter().try_for_each(|(pidfd, pid)| end(Some(pidfd), pid)).doing(doing)?,
    }
    disk::remove_tree(&place)
}

fn end(process: Option<OwnedFd>, pid: i32) -> Result<()> {
    let Some(process) = process else { return Ok(()) };
    // One that has just ended is as good.
    let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
    if !ends_within(&process, PATIENCE) {
        return Err(Error::internal(format!("process {pid} does not end")));
    }
    // Perhaps it was a child of ours; until then the number is no other's.
    let _ = sys::process::reap(pid, false);
    Ok(())
}

/// Processes whose arguments name the mark or the socket of this place.
fn begun_for(place: &Path) -> Vec<(OwnedFd, i32)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: i32| {
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: the number cannot change hands while the descriptor is held.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        words::name(&arguments, &[&place.join(MARK), &place.join(slirp::SOCKET)]).then_some((pidfd, pid))
    };
    pids.filter_map(ours).collect()
}

impl Way<'_> {
    fn connect(&self, reserved: Reserved) -> Result<Helper> {
        let published = reserved.published();
        let process = match (found("pasta"), found("slirp4netns")) {
            (Some(pasta), slirp) => match (self.pasta(&pasta, &published), slirp) {
                (Err(error), Some(slirp)) if words::is_without_route(&error) => {
                    self.slirp(&slirp, reserved).map_err(|_| error)?
                }
                (process, _) => process?,
            },
            (None, Some(slirp)) => self.slirp(&slirp, reserved)?,
            (None, None) => return Err(neither()),
        };
        Ok(Helper { process, published })
    }

    /// It goes into the background when it is ready.
    fn pasta(&self, program: &Path, published: &[Publish]) -> Result<Pinned> {
        let mark = self.place.join(MARK);
        let mut command = self.command(program)?;
        command.args(words::pasta(self.interface, published)).arg("--pid").arg(&mark);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| format!("executing {}", program.display()))?;
        // What holds the other end of the namespace's descriptor.
        drop(command);
        let ended = within(&child)?;
        if !ended {
            let _ = child.kill();
        }
        let status = child.wait().doing(|| "waiting for pasta")?;
        if !ended {
            return Err(Error::failed(format!("pasta is not ready within {} seconds", PATIENCE.as_secs())));
        }
        if !status.success() {
            return Err(words::refused(&complaint(child.stderr.take().map(OwnedFd::from)), published));
        }
        let number = fs::read_to_string(&mark).doing(|| "asking pasta who it is")?;
        let number = number.trim().parse().map_err(|_| Error::internal("pasta does not say who it is"))?;
        self.note(Pinned::of(number).doing(|| "pasta has ended at once")?, published)
    }

    /// Its input is the network namespace: names of files in /proc are not for one that drops capabilities.
    fn command(&self, program: &Path) -> Result<Command> {
        let inside = self.inside.try_clone_to_owned().doing(|| "copying a descriptor")?;
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").stdin(inside);
        Ok(command)
    }

    fn note(&self, process: Pinned, published: &[Publish]) -> Result<Pinned> {
        let helper = Helper { process, published: published.to_vec() };
        disk::write_json(&self.place.join(NOTE), &helper, Durable::No)?;
        Ok(process)
    }
}

/// Whether it ends in time.
fn within(child: &std::process::Child) -> Result<bool> {
    let pid = Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from);
    Ok(ends_within(&pidfd.doing(|| "watching pasta")?, PATIENCE))
}

/// What it has said until now: what goes on in the background may hold the other end.
fn complaint(from: Option<OwnedFd>) -> String {
    let mut said = Vec::new();
    if let Some(from) = from {
        let _ = rustix::fs::fcntl_setfl(from.as_fd(), OFlags::NONBLOCK);
        let _ = File::from(from).take(COMPLAINT).read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// As a shell finds it.
fn found(name: &str) -> Option<PathBuf> {
    const USUAL: &[u8] = b"/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    let path = std::env::var_os("PATH");
    let dirs = path.as_ref().map_or(USUAL, |path| path.as_bytes()).split(|byte| *byte == b':');
    let files = dirs.map(|dir| Path::new(std::ffi::OsStr::from_bytes(dir)).join(name));
    let executable = |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    files.filter(|file| file.is_absolute() && file.is_file()).find(executable)
}

/// Whether there is a program that carries packets.
///
/// # Errors
/// Unsupported where there is none.
pub(crate) fn must_be_there() -> Result<()> {
    found("pasta").or_else(|| found("slirp4netns")).map(drop).ok_or_else(neither)
}

fn neither() -> Error {
    Error::unsupported("without root a network of its own takes pasta or slirp4netns, and neither is there")
        .hint("install the package passt (or slirp4netns); --network host and --network none do without")
}
