//! fanotify with descriptors: which file was opened or executed, by whom.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What happened to a file; several of these may be reported as one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What(u64);

impl What {
    /// Opened (a file or a directory).
    pub fn opened(self) -> bool {
        self.0 & libc::FAN_OPEN != 0
    }

    /// Opened to be executed, by execve or by the kernel for an interpreter.
    pub fn executed(self) -> bool {
        self.0 & libc::FAN_OPEN_EXEC != 0
    }

    /// Closed after having been open for writing.
    pub fn written(self) -> bool {
        self.0 & libc::FAN_CLOSE_WRITE != 0
    }
}

/// One event. The descriptor refers to the very file, through the mount by which it was reached.
#[derive(Debug)]
pub struct Event {
    /// The file, opened for reading.
    pub file: OwnedFd,
    /// The process (not thread) that did it.
    pub pid: i32,
    /// What it did.
    pub what: What,
}

/// What reading the queue gave.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// The kernel dropped events.
    pub overflow: bool,
    /// Processes whose file could not be named, because it cannot be opened (a device without a
    /// driver, a file that is gone from its server).
    pub unknown: Vec<i32>,
    /// More may be waiting.
    pub full: bool,
}

/// A queue of events of whole file systems.
#[derive(Debug)]
pub struct Fanotify {
    fd: OwnedFd,
    buffer: Vec<libc::fanotify_event_metadata>,
}

/// Events taken at once: each is an open descriptor of ours until it is handled, and running into
/// the descriptor limit would lose one.
const BATCH: usize = 64;

impl Fanotify {
    /// A queue without limit that never blocks the reader.
    pub fn new() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS;
        let file = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_LARGEFILE | libc::O_NOATIME;
        // Without REPORT_FD_ERROR (Linux 6.13) a file that cannot be opened takes its event along.
        const REPORT_FD_ERROR: u32 = 0x2000;
        // SAFETY: no pointers; the result is checked before it is owned.
        let init = |flags| unsafe { libc::fanotify_init(flags, file as u32) };
        let fd = match init(flags | REPORT_FD_ERROR) {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::InvalidInput => init(flags),
            fd => fd,
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let none = libc::fanotify_event_metadata {
            event_len: 0,
            vers: 0,
            reserved: 0,
            metadata_len: 0,
            mask: 0,
            fd: -1,
            pid: 0,
        };
        Ok(Self { fd, buffer: vec![none; BATCH] })
    }

    /// Watches the whole file system that is mounted at `path`, through whatever mount it is used.
    pub fn watch_file_system(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mask = libc::FAN_OPEN | libc::FAN_OPEN_EXEC | libc::FAN_CLOSE_WRITE | libc::FAN_ONDIR;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: `path` is a NUL-terminated string that lives through the call.
        let done =
            unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, mask, libc::AT_FDCWD, path.as_ptr()) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Reports no further opens of `file` itself; executing and writing it is still told. The
    /// kernel gives the mark up with the group, or when the file goes.
    ///
    /// # Errors
    /// As of fanotify_mark(2).
    pub fn forget_opens(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORED_MASK | libc::FAN_MARK_IGNORED_SURV_MODIFY;
        let group = self.fd.as_raw_fd();
        // SAFETY: a null path means the file that the descriptor refers to; both are open.
        let done =
            unsafe { libc::fanotify_mark(group, flags, libc::FAN_OPEN, file.as_raw_fd(), std::ptr::null()) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes what is queued, up to a batch; empty if nothing is. An error means a lost event.
    pub fn read(&mut self) -> io::Result<Batch> {
        let bytes = self.buffer.len() * size_of::<libc::fanotify_event_metadata>();
        // SAFETY: the buffer is that large, aligned for the type, and any bytes are valid in it.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), self.buffer.as_mut_ptr().cast(), bytes) };
        if got < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Batch::default()),
                _ => Err(error),
            };
        }
        let count = got as usize / size_of::<libc::fanotify_event_metadata>();
        let mut batch = Batch { full: count == self.buffer.len(), ..Batch::default() };
        for raw in &self.buffer[..count] {
            if raw.fd < 0 {
                batch.overflow |= raw.mask & libc::FAN_Q_OVERFLOW != 0 || is_ours(-raw.fd);
                batch.unknown.push(raw.pid);
                continue;
            }
            // SAFETY: the kernel opened this descriptor for us in this very read.
            let file = unsafe { OwnedFd::from_raw_fd(raw.fd) };
            batch.events.push(Event { file, pid: raw.pid, what: What(raw.mask) });
        }
        Ok(batch)
    }
}

/// Whether an event was lost for lack of something on our side.
fn is_ours(error: i32) -> bool {
    matches!(error, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
}

impl AsFd for Fanotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
