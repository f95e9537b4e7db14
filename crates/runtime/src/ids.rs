//! Places on the host for the users of containers: no two containers share an id, so that a limit
//! that the kernel keeps per user is each container's own, and nobody can signal anybody else.
//!
//! A place is held by a lock on one byte of a file that all commands share. The kernel releases it
//! when its holder ends, however it ends: there is no list to keep and nothing to clean up. It goes
//! through all locks of a file whenever one is taken, and whenever the file is closed; so they are
//! on several files.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use spec::container::IDS;
use spec::{Error, ErrorKind, Result, ResultExt};

/// Above the ids that systemd hands out, below 2^31, where programs begin to take ids for negative.
const FIRST: u32 = 0x7000_0000;
const SLOTS: u32 = 4096;
/// Of one file.
const SLOTS_OF_FILE: u32 = 32;
const _: () = assert!(FIRST + SLOTS * IDS == 0x8000_0000);

/// [`IDS`] user and group ids of the host that are nobody else's while this lives.
#[derive(Debug)]
pub struct Claim {
    slot: u32,
    file: OwnedFd,
}

impl Claim {
    /// Takes a free place; `directory` is one for the whole host.
    ///
    /// # Errors
    /// A conflict where all are taken.
    pub fn take(directory: &Path) -> Result<Self> {
        Self::first_free(directory, random()?)
    }

    fn first_free(directory: &Path, start: u32) -> Result<Self> {
        let (mut slot, mut left) = (start, SLOTS);
        while left > 0 {
            let tried = (SLOTS_OF_FILE - slot % SLOTS_OF_FILE).min(left);
            if let Some(claim) = Self::first_of(directory, slot..slot + tried)? {
                return Ok(claim);
            }
            (slot, left) = ((slot + tried) % SLOTS, left - tried);
        }
        Err(Error::new(ErrorKind::Conflict, format!("all {SLOTS} ranges of user ids are taken"))
            .hint("stop some containers, or give this one users that are named"))
    }

    /// Likewise, of places on one file.
    fn first_of(directory: &Path, slots: Range<u32>) -> Result<Option<Self>> {
        let path = directory.join(format!("ids.{:02x}", slots.start / SLOTS_OF_FILE));
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file: OwnedFd = open.doing(|| format!("opening {}", path.display()))?.into();
        for slot in slots {
            let locked = sys::byte_lock::try_lock(file.as_fd(), slot).map_err(std::io::Error::from);
            if locked.doing(|| format!("locking {}", path.display()))? {
                return Ok(Some(Self { slot, file }));
            }
        }
        Ok(None)
    }

    /// The first id on the host: what [`Users::at`](spec::container::Users::at) takes.
    pub fn base(&self) -> u32 {
        FIRST + self.slot * IDS
    }

    /// One that this process has held before it executed itself anew, by what it was then.
    ///
    /// # Errors
    /// A base that no place has.
    pub fn adopt(base: u32, file: OwnedFd) -> Result<Self> {
        let slot = base.checked_sub(FIRST).map(|offset| offset / IDS).filter(|slot| *slot < SLOTS);
        let slot = slot.ok_or_else(|| Error::internal(format!("no place begins at the id {base}")))?;
        Ok(Self { slot, file })
    }

    /// The open file that holds it (close-on-exec): whoever has a duplicate holds it too.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Where the search begins: commands that start at once seldom meet.
fn random() -> Result<u32> {
    let mut bytes = [0_u8; 4];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)
        .doing(|| "asking for random bytes")?;
    Ok(u32::from_ne_bytes(bytes) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> std::path::PathBuf {
        let directory = std::env::temp_dir().join(format!("tsubo-ids-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        directory
    }

    #[test]
    fn the_search_goes_on_in_the_next_file() {
        let directory = std::env::temp_dir().join(format!("tsubo-ids-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let claims: Vec<_> = (0..3 * SLOTS_OF_FILE)
            .map(|_| Claim::first_free(&directory, SLOTS - SLOTS_OF_FILE - 3).expect("a place"))
            .collect();
        let bases: std::collections::BTreeSet<u32> = claims.iter().map(Claim::base).collect();
        std::fs::remove_dir_all(&directory).expect("clean");
        assert_eq!(bases.len(), claims.len());
        assert!(bases.contains(&FIRST) && bases.contains(&(FIRST + (SLOTS - 1) * IDS)));
    }

    #[test]
    fn a_place_is_held_until_its_last_holder_ends() {
        let directory = directory();
        let take = || Claim::first_free(&directory, SLOTS - 1).expect("a place");
        let first = take();
        let second = take();
        assert_eq!((first.base(), second.base()), (0x7fff_0000, FIRST), "the search goes round");

        // Another process holds it on after we have let go, as a keeper does for its command.
        let (pid, pidfd) = sys::process::clone_child(0, None, || {
            loop {
                sys::signal::wait_any();
            }
        })
        .expect("a holder");
        drop(first);
        assert_eq!(take().base(), second.base() + IDS);
        sys::process::send_signal(pidfd.as_fd(), 9).expect("kill");
        assert_eq!(sys::process::reap(pid, true).expect("reap"), Some((pid, 137)));
        assert_eq!(take().base(), 0x7fff_0000);
        std::fs::remove_dir_all(&directory).expect("clean");
    }
}
