//! Changing what can change about a container, also while it runs.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use spec::life::Life;
use spec::protocol::Request;
use spec::{Result, ResultExt};

use crate::container::Container;
use crate::disk::{self, Durable};
use crate::events::What;
use crate::lock::Lock;
use crate::record::{Running, Status};

/// A resource limit: its number as in resource.h, soft, hard.
pub type Limit = (u32, u64, u64);

impl Container {
    /// Replaces the choices about its life, and sets resource limits of all its processes. What is
    /// not named stays.
    ///
    /// # Errors
    /// When a limit is refused by the kernel, or the record cannot be written.
    pub fn update(&self, change: impl FnOnce(&mut Life), limits: &[Limit]) -> Result<()> {
        let _lock = Lock::take(self.dir(), self.name())?;
        // Read under the lock: somebody else may have changed it since it was found.
        let mut record = self.must_be_current()?;
        change(&mut record.life);
        let rlimits = &mut record.spec.process.rlimits;
        for limit in limits {
            rlimits.retain(|(resource, ..)| *resource != limit.0);
            rlimits.push(*limit);
        }
        if let Status::Running(state) = self.status()? {
            for limit in limits {
                set(&state, *limit).doing(|| format!("changing a limit of container {}", self.name()))?;
            }
            self.order(&Request::Update { life: record.life.clone(), rlimits: rlimits.clone() })?;
        }
        let durable = if record.remove { Durable::No } else { Durable::Yes };
        disk::write_json(&self.dir().join("container.json"), &record, durable)?;
        self.tell(What::Update);
        Ok(())
    }
}

/// Those that are made meanwhile inherit it from one that has it.
fn set(state: &Running, (resource, soft, hard): Limit) -> Result<()> {
    for pid in state.processes() {
        let Some(number) = Pid::from_raw(pid) else { continue };
        // Held while we look again: the number cannot change hands.
        let Ok(_held) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { continue };
        if state.processes().contains(&pid) {
            let set = sys::process::set_limit_of(pid, resource, soft, hard);
            let set = match (set, owner(pid)) {
                (Err(Errno::PERM), Some(owner)) => {
                    sys::process::set_limit_as(owner, pid, resource, soft, hard)
                }
                (set, _) => set,
            };
            match set {
                Err(Errno::SRCH) => {}
                result => result.map_err(std::io::Error::from).doing(|| format!("limiting process {pid}"))?,
            }
        }
    }
    Ok(())
}

/// Its real user and group, as the host counts.
fn owner(pid: i32) -> Option<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let id = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((id("Uid:")?, id("Gid:")?))
}
