//! The files of lxcfs, as mounts that are attached nowhere yet.
//!
//! A program serves them, which may have ended, or stand still and answer nobody. So a short-lived
//! process asks for them, and nobody waits for that longer than [`PATIENCE`]: a container whose
//! start they would hold up does without.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, IoSliceMut, retry_on_intr};
use rustix::mount::OpenTreeFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use spec::container::{Mount, MountKind};
use spec::plan::{Plan, Step};
use sys::mount::{NO_DEV, NO_EXEC, NO_SUID, READ_ONLY};

use super::above_standard;

/// For all of them. They take about half a millisecond where somebody answers.
const PATIENCE: Duration = Duration::from_millis(200);

/// No plan has more of them.
const MOST: usize = 16;

/// What was served, by its place on the host.
pub(super) type Served = BTreeMap<PathBuf, OwnedFd>;

/// All that a plan wants; what is not served is missing.
pub(super) fn served(plan: &Plan) -> Served {
    let wanted = plan.steps.iter().filter_map(|step| match step {
        Step::Mount(Mount { what: MountKind::Lxcfs { source }, .. }) => Some(source.clone()),
        _ => None,
    });
    let paths: Vec<PathBuf> = wanted.take(MOST).collect();
    let sources: Vec<CString> = paths.iter().filter_map(|path| super::c_path(path).ok()).collect();
    // Where it fails, whatever the reason, there are none: they are never required.
    let mounts = ask(&sources).unwrap_or_default();
    paths.into_iter().zip(mounts).filter_map(|(path, mount)| Some((path, mount?))).collect()
}

/// Whether the lxcfs that is mounted at `place` answers.
#[must_use]
pub fn lxcfs_answers(place: &Path) -> bool {
    let uptime = super::c_path(&place.join("proc/uptime"));
    uptime.is_ok_and(|source| ask(&[source]).is_ok_and(|mounts| mounts.iter().any(Option::is_some)))
}

fn ask(sources: &[CString]) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let (ours, theirs) = sys::socket::message_pair()?;
    let child = || i32::from(tell(theirs.as_fd(), sources).is_err());
    let made = sys::process::clone_child(0, None, child);
    let (pid, pidfd) = made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    drop(theirs);
    let answer = within(ours.as_fd(), PATIENCE).and_then(|()| answer(ours.as_fd(), sources.len()));
    // Who still stands there cannot even be killed before he is answered: he is left to that, and
    // whoever reaps our orphans.
    let _ = sys::process::send_signal(pidfd.as_fd(), 9);
    if within(pidfd.as_fd(), if answer.is_ok() { PATIENCE } else { Duration::ZERO }).is_ok() {
        let _ = sys::process::reap(pid, true);
    }
    answer
}

/// Waits until there is something to be had from `fd`.
fn within(fd: BorrowedFd<'_>, patience: Duration) -> Result<(), Errno> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    match retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)))? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// One bit for each that there is, and as many descriptors.
fn answer(socket: BorrowedFd<'_>, count: usize) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut there = [0_u8; size_of::<u16>()];
    let mut parts = [IoSliceMut::new(&mut there)];
    retry_on_intr(|| rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC))?;
    let there = u16::from_ne_bytes(there);
    let mut mounts: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            mounts.extend(given.filter_map(|mount| above_standard(mount).ok()));
        }
    }
    let mut mounts = mounts.into_iter();
    Ok((0..count).map(|index| (there >> index & 1 != 0).then(|| mounts.next()).flatten()).collect())
}

/// In the process that asks: no allocation, no lock, no panic. It keeps nothing of its maker's, as
/// it may stay for as long as it pleases whoever does not answer.
fn tell(socket: BorrowedFd<'_>, sources: &[CString]) -> Result<(), Errno> {
    sys::process::dup_onto(socket, 0)?;
    sys::process::close_range(1, u32::MAX)?;
    let socket = rustix::stdio::stdin();
    let Some(first) = sources.first() else { return Ok(()) };
    answers(first)?;
    let mut mounts = [const { None }; MOST];
    let mut there = 0_u16;
    for (index, (slot, source)) in mounts.iter_mut().zip(sources).enumerate() {
        *slot = mount(source).ok();
        there |= u16::from(slot.is_some()) << index;
    }
    send(socket, there, &mounts)
}

/// What was looked up lately is still there when nobody serves it any more; what it says is not.
fn answers(source: &CString) -> Result<(), Errno> {
    let file = rustix::fs::open(source.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut some = [0_u8; 8];
    match rustix::io::read(&file, &mut some)? {
        0 => Err(Errno::IO),
        _ => Ok(()),
    }
}

fn mount(source: &CString) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, source.as_c_str(), flags)?;
    sys::mount::set_attributes_recursively(mount.as_fd(), READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)?;
    Ok(mount)
}

fn send(socket: BorrowedFd<'_>, there: u16, mounts: &[Option<OwnedFd>; MOST]) -> Result<(), Errno> {
    let mut given = [socket; MOST];
    let mut count = 0;
    for (slot, mount) in given.iter_mut().zip(mounts.iter().flatten()) {
        *slot = mount.as_fd();
        count += 1;
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(given.get(..count).unwrap_or_default()));
    let word = there.to_ne_bytes();
    rustix::net::sendmsg(socket, &[IoSlice::new(&word)], &mut control, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(path: &str) -> CString {
        CString::new(path).expect("a path")
    }

    #[test]
    fn what_is_not_there_is_left_out_and_nothing_stays_behind() {
        if !sys::capability::permitted().is_ok_and(|set| set & 1 << sys::capability::SYS_ADMIN != 0) {
            println!("SKIPPED: copying mounts takes root");
            return;
        }
        let sources = ["/proc/uptime", "/proc/nothing", "/proc/stat"].map(c);
        let mounts = ask(&sources).expect("an answer");
        let there: Vec<bool> = mounts.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, false, true]);
        // Without its first, somebody is not there at all.
        assert!(
            ask(&["/proc/nothing", "/proc/stat"].map(c)).is_ok_and(|none| none.iter().all(Option::is_none))
        );
        assert!(!lxcfs_answers(Path::new("/proc/nothing")) && lxcfs_answers(Path::new("/proc/..")));
    }
}
