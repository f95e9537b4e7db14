//! What processes have of the memory, shared pages divided among those who share them.

use std::collections::BTreeSet;
use std::fs;

/// Processes that are none of ours.
pub(in crate::bench) struct Pids(BTreeSet<u32>);

/// What several processes have together, KiB.
#[derive(Debug, Default)]
pub(in crate::bench) struct Share {
    pub(in crate::bench) processes: u32,
    pub(in crate::bench) pss: u64,
    pub(in crate::bench) anonymous: u64,
}

impl Pids {
    pub(in crate::bench) fn now() -> Self {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        Self(names.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
    }

    /// Those that were not there, of the programs whose names begin like this: others may be busy on the same host.
    pub(in crate::bench) fn since_of(&self, names: &[&str]) -> Share {
        let fresh = Self::now().0.difference(&self.0).copied().collect::<Vec<_>>();
        let ours = |pid: &u32| {
            let program = called(*pid);
            let name = program.rsplit('/').next().unwrap_or_default();
            names.iter().any(|begin| name.starts_with(begin))
        };
        Share::of(&fresh.into_iter().filter(ours).collect())
    }

    /// The programs that were not there, and the processes that were started to stay with them: their
    /// ancestors that were not there either.
    pub(in crate::bench) fn since(&self) -> (Share, Share) {
        let fresh: BTreeSet<u32> = Self::now().0.difference(&self.0).copied().collect();
        let programs: BTreeSet<u32> = fresh.iter().copied().filter(|pid| is_program(*pid)).collect();
        let mut helpers = BTreeSet::new();
        for program in &programs {
            let ancestors = std::iter::successors(parent(*program), |pid| parent(*pid));
            helpers.extend(ancestors.take_while(|pid| fresh.contains(pid)));
        }
        (Share::of(&helpers), Share::of(&programs))
    }
}

impl Share {
    /// What these have.
    pub(in crate::bench) fn of(pids: &BTreeSet<u32>) -> Self {
        let mut share = Self::default();
        for one in pids.iter().map(|pid| memory_of(*pid)) {
            share.processes += one.processes;
            share.pss += one.pss;
            share.anonymous += one.anonymous;
        }
        share
    }
}

/// What one process has.
pub(in crate::bench) fn memory_of(pid: u32) -> Share {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Share { processes: 1, pss: field(&text, "Pss:"), anonymous: field(&text, "Pss_Anon:") }
}

/// Whether it is what every container runs (bench/floor/idle.c), and not dead.
fn is_program(pid: u32) -> bool {
    called(pid) == "/bin/idle"
}

/// The first word of its command line.
pub(in crate::bench) fn called(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Whose child it is.
pub(in crate::bench) fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn field(rollup: &str, name: &str) -> u64 {
    let line = rollup.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_rollup_is_read() {
        let text = "Rss: 9 kB\nPss:                  23 kB\nPss_Anon:   8 kB\n";
        assert_eq!((super::field(text, "Pss:"), super::field(text, "Pss_Anon:")), (23, 8));
    }
}
