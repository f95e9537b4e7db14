//! Making user namespaces: someone has to be inside while its ids are mapped from outside.
//!
//! The kernel charges what a user namespace's users take (inotify instances, keys, namespaces, …)
//! to who made it, and gives power over it to that user. So it is made by a short-lived helper that
//! has become the user who is root inside (attacks: containers that share one owner exhaust each
//! other). The helper works in the caller's memory and has ended before its maps are written: it
//! costs no copy of the caller, and there is nothing to wait for or to leak.

use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_void};
use rustix::io::Errno;

/// A user namespace that is mapped, and a network that belongs to it.
#[derive(Debug)]
pub struct UserNamespace {
    /// The user namespace.
    pub users: OwnedFd,
    /// A network namespace that its root administers.
    pub network: Option<OwnedFd>,
}

/// What a user namespace shall be.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The user, on this side, who owns it.
    pub owner: u32,
    /// The content of uid_map (user_namespaces(7)).
    pub uids: &'a str,
    /// The content of gid_map.
    pub gids: &'a str,
    /// It gets a network namespace of its own.
    pub network: bool,
}

/// Which part of the making failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the process that makes it.
    Helper,
    /// Becoming its owner.
    Owner,
    /// Making the namespace.
    Making,
    /// Mapping its ids.
    Mapping,
}

/// A failure with its stage.
pub type Failure = (Stage, io::Error);

/// Makes a user namespace with its maps.
///
/// # Errors
/// `ENOSPC` where `user.max_user_namespaces` is reached, `EPERM` without the privilege to map ids.
pub fn make(wish: Wish<'_>) -> Result<UserNamespace, Failure> {
    let mut order = Order { owner: wish.owner, network: wish.network, made: Err((Stage::Helper, Errno::IO)) };
    let helper = Helper::run(&mut order).map_err(|errno| (Stage::Helper, errno.into()))?;
    let (users, network) = order.made.map_err(|(stage, errno)| (stage, errno.into()))?;
    for (file, content) in [("uid_map", wish.uids), ("gid_map", wish.gids)] {
        map(helper.pid, file, content).map_err(|error| (Stage::Mapping, error))?;
    }
    Ok(UserNamespace { users, network })
}

/// One write: the kernel takes no second.
fn map(pid: c_int, file: &str, content: &str) -> io::Result<()> {
    File::options().write(true).open(format!("/proc/{pid}/{file}"))?.write_all(content.as_bytes())
}

/// What the helper is told, and where it puts what it made.
struct Order {
    owner: u32,
    network: bool,
    made: Result<(OwnedFd, Option<OwnedFd>), (Stage, Errno)>,
}

/// A helper that has ended and keeps its namespace until it is reaped.
struct Helper {
    pid: c_int,
}

impl Helper {
    fn run(order: &mut Order) -> Result<Self, Errno> {
        // Its few frames. Not on the heap: to be given zeroes there may mean to touch every page.
        let mut stack = [const { MaybeUninit::<u128>::uninit() }; 1024];
        // VFORK: this thread stands still until the helper has ended. Without an exit signal,
        // whoever else waits for children of this program does not see it.
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
        let mask = crate::signal::block_all();
        let dumpable = dumpable();
        // SAFETY: the helper runs `work` on a stack of its own, whose end is aligned for every
        // architecture, and has left it when the call returns; `order` outlives it likewise.
        let pid = unsafe {
            libc::clone(work, stack.as_mut_ptr_range().end.cast(), flags, (&raw mut *order).cast::<c_void>())
        };
        let helper = if pid < 0 { Err(crate::last_error()) } else { Ok(Self { pid }) };
        if dumpable {
            // The helper's change of user made the memory that it shared with us secret.
            set_dumpable();
        }
        crate::signal::restore(&mask);
        helper
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: waitpid writes to `status` only. __WALL: children without an exit signal too.
        while unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) } < 0
            && crate::last_error() == Errno::INTR
        {}
    }
}

/// In the helper: no allocation, no lock, no panic; the caller's other threads run on.
extern "C" fn work(order: *mut c_void) -> c_int {
    // SAFETY: the caller's `Order`, which nobody else touches while the caller stands still.
    let order = unsafe { &mut *order.cast::<Order>() };
    order.made = made(order.owner, order.network);
    0
}

fn made(owner: u32, network: bool) -> Result<(OwnedFd, Option<OwnedFd>), (Stage, Errno)> {
    become_owner(owner).map_err(|errno| (Stage::Owner, errno))?;
    let namespaces = crate::namespace::USER | if network { crate::namespace::NET } else { 0 };
    let making = |errno| (Stage::Making, errno);
    crate::namespace::unshare(namespaces).map_err(making)?;
    let users = open(c"/proc/thread-self/ns/user").map_err(making)?;
    let network = if network { Some(open(c"/proc/thread-self/ns/net").map_err(making)?) } else { None };
    Ok((users, network))
}

/// By the effective user only, so that nobody with that user may signal or trace the helper. Where
/// making user namespaces is kept for the privileged (a sysctl of some distributions), it still is one.
fn become_owner(owner: u32) -> Result<(), Errno> {
    let permitted = crate::capability::permitted()?;
    // SAFETY: numbers only; for the calling thread alone (libc's function would tell all threads).
    if unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, owner, u32::MAX) } < 0 {
        return Err(crate::last_error());
    }
    crate::capability::set_effective(permitted)
}

fn open(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: a NUL-terminated path.
    let fd: RawFd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(crate::last_error());
    }
    // SAFETY: a new descriptor in the table that helper and caller share; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn dumpable() -> bool {
    // SAFETY: a question without pointers.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 }
}

fn set_dumpable() {
    // SAFETY: numbers only; 1 is always accepted.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    const WISH: Wish<'_> =
        Wish { owner: 0x7abc_0000, uids: "0 2059141120 65536", gids: "0 2059141120 65536", network: true };

    fn privileged() -> bool {
        let root =
            crate::capability::permitted().is_ok_and(|set| set & 1 << crate::capability::SYS_ADMIN != 0);
        if !root {
            println!("SKIPPED: making a mapped user namespace takes root");
        }
        root
    }

    fn inode(fd: &OwnedFd) -> u64 {
        rustix::fs::fstat(fd).expect("namespace").st_ino
    }

    /// One test, as both parts look at what belongs to the whole process.
    #[test]
    fn its_owner_is_the_mapped_root_and_a_failure_leaves_nothing() {
        if !privileged() {
            return;
        }
        let made = make(WISH).expect("a user namespace");
        let mut owner = 0_u32;
        // SAFETY: NS_GET_OWNER_UID writes one number.
        let result = unsafe { libc::ioctl(made.users.as_raw_fd(), 0xb704, &raw mut owner) };
        assert_eq!((result, owner), (0, WISH.owner));
        // SAFETY: NS_GET_USERNS returns a descriptor.
        let above = unsafe { libc::ioctl(made.network.as_ref().expect("network").as_raw_fd(), 0xb701) };
        assert!(above >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a new descriptor.
        let above = unsafe { OwnedFd::from_raw_fd(above) };
        assert_eq!(inode(&above), inode(&made.users), "the network belongs to the user namespace");
        assert!(dumpable());

        let namespaces = || {
            let open = std::fs::read_dir("/proc/self/fd").expect("fd").filter_map(|entry| {
                std::fs::read_link(entry.ok()?.path()).ok()?.to_str()?.contains("user:[").then_some(())
            });
            open.count()
        };
        let before = namespaces();
        let (stage, error) = make(Wish { uids: "0 0 nonsense", ..WISH }).expect_err("nonsense");
        assert_eq!((stage, error.raw_os_error()), (Stage::Mapping, Some(libc::EINVAL)));
        assert_eq!(namespaces(), before);
        // SAFETY: asks for any child without an exit signal, and reaps it.
        let left = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WCLONE | libc::WNOHANG) };
        assert!(left <= 0, "a helper is left");
    }
}
