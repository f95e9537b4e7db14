//! The directory of leases: one file for each address, watched.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::table::{Lease, Table};

/// What a file may hold.
const LARGEST: u64 = 16 << 10;

/// What changes a lease. A link has no content of its own to wait for; a file that is being written is read again
/// when it is closed.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);

/// The leases of a network as they are now.
#[derive(Debug)]
pub struct Leases {
    dir: OwnedFd,
    changes: OwnedFd,
    table: Table,
}

impl Leases {
    /// Begins to watch, and reads what is there.
    ///
    /// # Errors
    /// When there is no such directory, or it cannot be watched.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&changes, format!("/proc/self/fd/{}", dir.as_raw_fd()), CHANGES)?;
        let mut leases = Self { dir, changes, table: Table::default() };
        leases.read_all();
        Ok(leases)
    }

    /// Tells that something has changed.
    pub fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// The directory itself.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What is known; see [`refresh`](Self::refresh).
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes in what has changed since.
    pub fn refresh(&mut self) {
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut changed = Vec::new();
        let mut all = false;
        let mut reader = inotify::Reader::new(&self.changes, &mut room);
        loop {
            match reader.next() {
                // Some were too many to be told.
                Ok(event) if event.events().intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED) => {
                    all = true
                }
                Ok(event) => changed.extend(event.file_name().map(CStr::to_owned)),
                Err(Errno::INTR) => {}
                // There are no more.
                Err(_) => break,
            }
        }
        if all {
            return self.read_all();
        }
        for name in changed {
            self.read(&name);
        }
    }

    /// Whether the directory itself was removed.
    pub fn are_gone(&self) -> bool {
        rustix::fs::fstat(&self.dir).is_ok_and(|meta| meta.st_nlink == 0)
    }

    /// Reads the directory anew.
    pub fn read_all(&mut self) {
        for address in self.table.known() {
            self.table.set(address, None);
        }
        let Ok(entries) = Dir::read_from(&self.dir) else { return };
        for entry in entries.flatten() {
            self.read(entry.file_name());
        }
    }

    /// What is damaged is nobody's lease, until it is written anew.
    fn read(&mut self, name: &CStr) {
        let Some(address) = name.to_str().ok().and_then(|name| name.parse::<IpAddr>().ok()) else { return };
        self.table.set(address, self.lease(name));
    }

    fn lease(&self, name: &CStr) -> Option<Lease> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(file).take(LARGEST).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
