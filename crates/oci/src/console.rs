//! Sockets to which descriptors are sent: of terminals, and of who decides about system calls.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use spec::{Error, Result, ResultExt};

/// Connects to a socket. Its path has 107 bytes at most; by its directory it may lie anywhere.
///
/// # Errors
/// Where nobody listens.
pub(crate) fn connect(path: &Path) -> Result<OwnedFd> {
    let doing = || format!("connecting to the socket {}", path.display());
    let name = path.file_name().ok_or_else(|| Error::user(format!("{} is no socket", path.display())))?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let connect = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = rustix::fs::openat(CWD, above, flags, Mode::empty())?;
        let near = Path::new("/proc/self/fd").join(above.as_raw_fd().to_string()).join(name);
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(near)?)?;
        Ok(socket)
    };
    connect().map_err(|errno: rustix::io::Errno| std::io::Error::from(errno)).doing(doing)
}

/// Sends bytes with a descriptor.
///
/// # Errors
/// What the kernel says.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fd: BorrowedFd<'_>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let fds = [fd];
    let mut sent = 0;
    while sent < bytes.len() {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if sent == 0 {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let part = [IoSlice::new(&bytes[sent..])];
        let done = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(socket.as_fd(), &part, &mut control, SendFlags::NOSIGNAL)
        });
        sent += done.map_err(std::io::Error::from).doing(|| "sending a descriptor")?;
    }
    Ok(())
}

/// Gives a terminal to whoever listens at the console socket, under the name that runc sends.
///
/// # Errors
/// Where nobody listens.
pub(crate) fn give(terminal: OwnedFd, socket: &Path) -> Result<()> {
    send(connect(socket)?, b"/dev/ptmx", terminal.as_fd())
}
