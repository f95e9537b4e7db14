//! One scope for all containers that nobody else manages, on a host whose groups systemd manages.
//!
//! A group of version 2 that has processes of its own passes no controllers on, and whoever logs in
//! is in such a one. So the first keeper has systemd make `tsubo.scope`, which is given to us whole
//! (`Delegate=yes`): keepers are in its group `keepers`, containers' groups are beside that. Later ones
//! find it and ask nobody. It lives as long as anybody is in it, and outlives the login.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, CWD, Mode, OFlags};
use spec::resources::{Limit, Resources};
use spec::{Result, ResultExt};

use super::Unit;
use crate::place::is_gone;

/// The scope, below where version 2 is mounted.
const SCOPE: &str = "system.slice/tsubo.scope";

/// The group of the keepers in it.
const KEEPERS: &str = "keepers";

/// Where version 2 is mounted, if it is alone.
const POINT: &str = "/sys/fs/cgroup";

/// How long somebody else may take to make it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The group in which containers' groups are made, if there is such a one and it is ours.
pub(crate) fn home() -> Option<PathBuf> {
    let scope = Path::new(POINT).join(SCOPE);
    rustix::fs::access(scope.join(KEEPERS), Access::WRITE_OK).ok()?;
    Some(scope)
}

/// The group into which a new keeper is to be born, if it is there already.
pub fn keepers() -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::openat(CWD, seat(), flags, Mode::empty()).ok()?;
    home().map(|_| group)
}

fn seat() -> PathBuf {
    Path::new(POINT).join(SCOPE).join(KEEPERS)
}

/// The calling process, a keeper, goes there; the first one has systemd make it. Where systemd does
/// not manage the groups, or they are not ours, nothing is done.
///
/// # Errors
/// What systemd refuses; containers can be started then, but not limited.
pub fn enter() -> Result<()> {
    if !Path::new("/run/systemd/system").exists() || is_inside() {
        return Ok(());
    }
    // An ordinary user has a systemd of his own, and what that delegates.
    if super::available().is_err() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(5);
    loop {
        match take_seat() {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).doing(|| format!("entering {}", seat().display())),
        }
        let made = make();
        match made {
            Ok(()) => return Ok(()),
            // Somebody else is just making it, or the last one was just leaving. If it is neither,
            // systemd is not to be asked for ever.
            Err(_) if Instant::now() < deadline => std::thread::sleep(pause),
            Err(error) => return Err(error),
        }
        pause *= 2;
    }
}

fn is_inside() -> bool {
    fs::read_to_string("/proc/self/cgroup")
        .is_ok_and(|groups| groups.contains(&format!("/{SCOPE}/{KEEPERS}")))
}

fn take_seat() -> std::io::Result<()> {
    fs::write(seat().join("cgroup.procs"), "0")
}

fn make() -> Result<()> {
    let unit = Unit { slice: "system.slice".to_owned(), name: "tsubo.scope".to_owned() };
    // systemd limits the tasks of a scope if nobody says otherwise; ours are limited each.
    let resources = Resources { pids: Some(Limit::Max), ..Resources::default() };
    unit.start(std::process::id(), &resources)?;
    fs::create_dir(seat()).doing(|| format!("making {}", seat().display()))?;
    take_seat().doing(|| format!("entering {}", seat().display()))
}
