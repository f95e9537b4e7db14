//! What processes have of the memory, shared pages divided among those who share them.

use std::collections::BTreeSet;
use std::fs;

/// Processes that are none of ours.
pub(super) struct Pids(BTreeSet<u32>);

/// What several processes have together, KiB.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) processes: u32,
    pub(super) pss: u64,
    pub(super) anonymous: u64,
}

impl Pids {
    pub(super) fn now() -> Self {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        Self(names.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
    }

    /// What processes have that were not there and whose names begin with one of `names`.
    pub(super) fn since(&self, names: &[&str]) -> Share {
        let fresh = Self::now().0.into_iter().filter(|pid| !self.0.contains(pid));
        let mut share = Share::default();
        for pid in fresh.filter(|pid| is_called(*pid, names)) {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            share.processes += 1;
            share.pss += field(&text, "Pss:");
            share.anonymous += field(&text, "Pss_Anon:");
        }
        share
    }
}

/// The kernel keeps 15 bytes of a name.
fn is_called(pid: u32, names: &[&str]) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    names.iter().any(|name| comm.trim_end().starts_with(&name[..name.len().min(15)]))
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
