//! The kernel's counters of memory, and its slab caches.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::shell::Result;

/// Which of /proc/meminfo; together they are what a container can take, files aside.
const FIELDS: [&str; 4] = ["SUnreclaim", "KernelStack", "PageTables", "Percpu"];

/// The same for people, and behind them the caches of names and inodes.
pub(in crate::bench) const NAMES: [&str; 5] =
    ["slab", "stacks", "page tables", "per CPU", "names and inodes"];

/// Of the reclaimable slab only these can be a container's. Buffers and the inodes of disks come and
/// go with whoever writes files.
const RECLAIMABLE: [&str; 5] =
    ["dentry", "inode_cache", "proc_inode_cache", "shmem_inode_cache", "sock_inode_cache"];

/// How long the kernel may take to give back what it frees later.
const SETTLE: Duration = Duration::from_secs(3);

/// One look.
#[derive(Debug)]
pub(in crate::bench) struct Counters {
    kib: [f64; NAMES.len()],
    /// Bytes by cache.
    slabs: BTreeMap<String, u64>,
}

impl Counters {
    /// After a while, without caches of names and inodes that nobody holds.
    pub(in crate::bench) fn settled() -> Result<Self> {
        thread::sleep(SETTLE);
        fs::write("/proc/sys/vm/drop_caches", "2")?;
        thread::sleep(Duration::from_millis(500));
        let (memory, slabs) = (fs::read_to_string("/proc/meminfo")?, fs::read_to_string("/proc/slabinfo")?);
        let slabs = caches(&slabs);
        let reclaimable: u64 = RECLAIMABLE.iter().filter_map(|name| slabs.get(*name)).sum();
        let [slab, stacks, tables, percpu] = fields(&memory);
        Ok(Self { kib: [slab, stacks, tables, percpu, reclaimable as f64 / 1024.0], slabs })
    }

    pub(in crate::bench) fn less(&self, before: &Self) -> [f64; NAMES.len()] {
        std::array::from_fn(|i| self.kib[i] - before.kib[i])
    }

    /// The caches that have grown most.
    pub(in crate::bench) fn slabs(&self, before: &Self, count: u32) -> String {
        let grown = self.slabs.iter().map(|(name, bytes)| {
            let grown = bytes.saturating_sub(before.slabs.get(name).copied().unwrap_or(0));
            (grown as f64 / 1024.0 / f64::from(count), name)
        });
        let mut grown: Vec<_> = grown.collect();
        grown.sort_by(|a, b| b.0.total_cmp(&a.0));
        let most: Vec<String> = grown.iter().take(8).map(|(kib, name)| format!("{name} {kib:.0}")).collect();
        most.join(", ")
    }
}

fn fields(meminfo: &str) -> [f64; FIELDS.len()] {
    FIELDS.map(|field| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    })
}

/// `name active objects size objects-per-slab pages-per-slab : tunables … : slabdata active slabs …`
fn caches(slabinfo: &str) -> BTreeMap<String, u64> {
    let cache = |line: &str| {
        let mut parts = line.split(" : ");
        let head: Vec<&str> = parts.next()?.split_whitespace().collect();
        let slabs: u64 = parts.nth(1)?.split_whitespace().nth(2)?.parse().ok()?;
        Some(((*head.first()?).to_owned(), slabs * head.get(5)?.parse::<u64>().ok()? * 4096))
    };
    slabinfo.lines().filter_map(cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let found = fields("MemTotal: 100 kB\nSUnreclaim:      12 kB\nPercpu:    7 kB\n");
        assert_eq!(found, [12.0, 0.0, 0.0, 7.0]);
    }

    #[test]
    fn caches_are_read() {
        let text = "slabinfo - version: 2.1\n# name <active_objs> …\n\
            dentry 10 42 192 21 1 : tunables 0 0 0 : slabdata 2 2 0\n";
        assert_eq!(caches(text), [("dentry".to_owned(), 8192)].into());
    }
}
