//! Pseudo-terminals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Result;
use rustix::pty::OpenptFlags;

/// A terminal: the side that a person or a relay holds, and the side that programs run on.
#[derive(Debug)]
pub struct Pair {
    /// The master.
    pub master: OwnedFd,
    /// The slave, opened through the master and never by a name that could be swapped (2025-52565).
    pub slave: OwnedFd,
}

/// Makes a terminal in the devpts instance whose root is `devpts`, or in the caller's own.
pub fn open(devpts: Option<BorrowedFd<'_>>) -> Result<Pair> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = match devpts {
        // The instance's own, whatever somebody inside has mounted over it.
        Some(root) => {
            let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
            rustix::fs::openat2(root, c"ptmx", flags, Mode::empty(), resolve)?
        }
        None => rustix::fs::open(c"/dev/ptmx", flags, Mode::empty())?,
    };
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok(Pair { master, slave })
}

/// Sets the size that programs on the terminal see.
pub fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}
