//! Processes besides the keeper that a container's network takes, each on a leash: it ends when the keeper's end of
//! that closes, however the keeper has ended.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use spec::{Error, Result, ResultExt};

use crate::KeeperProgram;

/// So long may they take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Begins `tsubo-keeper WHAT LEASH WORDS…`, which gets `kept` under their numbers. Returns our end of the leash.
///
/// # Errors
/// Not found without the program; when no process can be made.
pub(super) fn begin(what: &str, words: &[String], kept: &[BorrowedFd<'_>]) -> Result<OwnedFd> {
    let doing = || format!("making a process for {what}");
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(std::io::Error::from).doing(doing)?;
    let number = theirs.as_raw_fd().to_string();
    let all = [what, &number].into_iter().chain(words.iter().map(String::as_str));
    let (program, all) = (KeeperProgram::own()?, KeeperProgram::words(all)?);
    let kept = [&[theirs.as_fd()], kept].concat();
    // In a child of a child, which nobody has to reap.
    let child = || {
        let grandchild = || {
            let _ = program.become_it(&all, &kept);
            127
        };
        sys::process::fork_child(grandchild).map_or(126, |_| 0)
    };
    let made = sys::process::clone_child(0, None, child);
    let (pid, _pidfd) = made.map_err(|cause| Error::process(doing(), cause))?;
    let ended = rustix::io::retry_on_intr(|| sys::process::reap(pid, true)).map_err(std::io::Error::from);
    match ended.doing(doing)? {
        Some((_, 0)) => Ok(ours),
        _ => Err(Error::failed(format!("the process for {what} could not be made"))),
    }
}

/// Ends those among what a keeper holds, and waits for it: ports are anybody's then, and so is the namespace.
pub(super) fn end(held: &[OwnedFd]) {
    let is_leash =
        |fd: &&OwnedFd| sockopt::socket_domain(fd).is_ok_and(|domain| domain == AddressFamily::UNIX);
    let leashes: Vec<&OwnedFd> = held.iter().filter(is_leash).collect();
    for leash in &leashes {
        // Whoever else has a copy of it is of no matter then.
        let _ = rustix::net::shutdown(leash, Shutdown::Write);
    }
    if !leashes.is_empty() {
        // Who comes until they are closed is refused, and does not wait for nobody.
        for socket in held.iter().filter(|fd| sockopt::socket_acceptconn(fd).is_ok_and(|listens| listens)) {
            let _ = rustix::net::shutdown(socket, Shutdown::Both);
        }
    }
    let until = Instant::now() + PATIENCE;
    for leash in leashes {
        wait(leash, until);
    }
}

/// Until there is something to be read, or the other end is closed; whether that came in time.
pub(super) fn wait(leash: &OwnedFd, until: Instant) -> bool {
    let mut polled = [PollFd::new(leash, PollFlags::IN)];
    let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, left.as_ref())).is_ok_and(|ready| ready > 0)
}
