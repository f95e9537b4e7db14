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
    fn of(pids: &BTreeSet<u32>) -> Self {
        let mut share = Self::default();
        for pid in pids {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            share.processes += 1;
            share.pss += field(&text, "Pss:");
            share.anonymous += field(&text, "Pss_Anon:");
        }
        share
    }
}

/// Whether it is what every container runs (bench/floor/idle.c), and not dead.
fn is_program(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"/bin/idle\0")
}

fn parent(pid: u32) -> Option<u32> {
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
