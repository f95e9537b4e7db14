//! Giving memory back that a group could do without, now: mostly files that were read.

use std::fs;
use std::path::Path;

use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use crate::group::Group;

/// How often the kernel is asked for more when it gives some, but not all.
const ATTEMPTS: u32 = 8;

impl Group {
    /// Has the kernel take back `amount` bytes of memory from the group, or all that it can do without.
    /// Nobody in it is ended for that, and its limits stay. Returns by how much its use went down.
    ///
    /// # Errors
    /// Unsupported where it has no memory controller, and where the kernel cannot do it, or not for
    /// an amount (version 1).
    pub fn reclaim(&self, amount: Option<u64>) -> Result<u64> {
        let find =
            |file: &str| self.directories.iter().map(|(_, dir)| dir).find(|dir| dir.join(file).exists());
        if let Some(directory) = find("memory.reclaim") {
            return two(directory, amount);
        }
        if find("memory.current").is_some() {
            return Err(Error::unsupported("this kernel takes no memory back on demand")
                .hint("that came with Linux 5.19; --limit memory_high=SIZE does it slowly"));
        }
        match (find("memory.force_empty"), amount) {
            (Some(directory), None) => one(directory),
            (Some(_), Some(_)) => Err(Error::unsupported(
                "control groups of version 1 take all back that can be spared, not an amount of it",
            )
            .hint("say all")),
            (None, _) => Err(Error::unsupported("it has no control group of memory")
                .hint("tsubo info tells why this host gives it none")),
        }
    }
}

fn one(directory: &Path) -> Result<u64> {
    let usage = || number(&directory.join("memory.usage_in_bytes"));
    let before = usage()?;
    let file = directory.join("memory.force_empty");
    fs::write(&file, "0").doing(|| format!("writing {}", file.display()))?;
    Ok(before.saturating_sub(usage()?))
}

fn two(directory: &Path, amount: Option<u64>) -> Result<u64> {
    let usage = || number(&directory.join("memory.current"));
    let before = usage()?;
    let mut now = before;
    for _ in 0..ATTEMPTS {
        let got = before.saturating_sub(now);
        let wanted = amount.map_or(now, |amount| amount.saturating_sub(got).min(now));
        if wanted == 0 {
            break;
        }
        let all = ask(&directory.join("memory.reclaim"), wanted)?;
        let then = std::mem::replace(&mut now, usage()?);
        if all || now >= then {
            break;
        }
    }
    Ok(before.saturating_sub(now))
}

/// Whether the kernel could take as much as it was asked for. What belongs to no file stays where it
/// is, on kernels that can be told (6.8).
fn ask(file: &Path, bytes: u64) -> Result<bool> {
    let is = |error: &std::io::Error, errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    let mut done = fs::write(file, format!("{bytes} swappiness=0"));
    if done.as_ref().is_err_and(|error| is(error, Errno::INVAL)) {
        done = fs::write(file, bytes.to_string());
    }
    match done {
        Ok(()) => Ok(true),
        Err(error) if is(&error, Errno::AGAIN) || is(&error, Errno::INTR) => Ok(false),
        Err(error) => Err(error).doing(|| format!("writing {}", file.display())),
    }
}

fn number(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).doing(|| format!("reading {}", file.display()))?;
    text.trim().parse().map_err(|_| Error::internal(format!("{} holds {text:?}", file.display())))
}
