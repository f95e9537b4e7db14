//! What the host has left, and where its safety lines are.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use crate::attack::Gauge;

/// All gauges, in the order in which they are shown.
pub const ALL: [Gauge; 8] = [
    Gauge::Memory,
    Gauge::Tasks,
    Gauge::Files,
    Gauge::Disk,
    Gauge::Inodes,
    Gauge::Terminals,
    Gauge::Asynchronous,
    Gauge::Tcp,
];

/// Reads gauges; of disks, the one that containers are on.
#[derive(Debug, Clone)]
pub struct Gauges {
    disk: PathBuf,
    /// What the disk had left at the start: bytes, inodes.
    disk_at_start: (u64, u64),
}

/// One gauge: what is taken, by all, and what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reading {
    /// Taken, by all together.
    pub used: u64,
    /// There is so much.
    pub total: u64,
}

impl Reading {
    /// The share that is taken, 0 to 1.
    pub fn share(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.used as f64 / self.total as f64 }
    }
}

impl Gauges {
    /// For containers that keep their files on the disk of `disk`.
    pub fn new(disk: &Path) -> Self {
        let mut gauges = Self { disk: disk.to_owned(), disk_at_start: (0, 0) };
        let left = |reading: Option<Reading>| reading.map_or(0, |reading| reading.total - reading.used);
        gauges.disk_at_start = (left(gauges.read(Gauge::Disk)), left(gauges.read(Gauge::Inodes)));
        gauges
    }

    /// Reads one; None where this host does not tell.
    pub fn read(&self, gauge: Gauge) -> Option<Reading> {
        let reading = |used: u64, total: u64| Some(Reading { used: used.min(total), total });
        match gauge {
            Gauge::Memory => {
                let (total, left) = (meminfo("MemTotal:")?, meminfo("MemAvailable:")?);
                reading(total.saturating_sub(left), total)
            }
            Gauge::Tasks => {
                let most = number("/proc/sys/kernel/threads-max")?.min(number("/proc/sys/kernel/pid_max")?);
                let text = fs::read_to_string("/proc/loadavg").ok()?;
                let now = text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()?;
                reading(now, most)
            }
            Gauge::Files => {
                let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
                let mut words = text.split_whitespace().map(str::parse);
                reading(words.next()?.ok()?, words.nth(1)?.ok()?)
            }
            Gauge::Disk => {
                let disk = statvfs(&self.disk).ok()?;
                reading(
                    (disk.f_blocks - disk.f_bavail.min(disk.f_blocks)) * disk.f_frsize,
                    disk.f_blocks * disk.f_frsize,
                )
            }
            Gauge::Inodes => {
                let disk = statvfs(&self.disk).ok()?;
                reading(disk.f_files - disk.f_favail.min(disk.f_files), disk.f_files)
            }
            Gauge::Terminals => {
                reading(number("/proc/sys/kernel/pty/nr")?, number("/proc/sys/kernel/pty/max")?)
            }
            Gauge::Asynchronous => {
                reading(number("/proc/sys/fs/aio-nr")?, number("/proc/sys/fs/aio-max-nr")?)
            }
            Gauge::Tcp => {
                let most = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").ok()?;
                let most: u64 = most.split_whitespace().nth(2)?.parse().ok()?;
                reading(tcp_pages()? * 4096, most * 4096)
            }
        }
    }

    /// So much may be taken in all before the host is in danger: the safety line.
    pub fn line(&self, gauge: Gauge, total: u64) -> u64 {
        match gauge {
            Gauge::Memory => total - (total / 16).max(1 << 30).min(total / 4),
            // Half of what was left is never touched.
            Gauge::Disk => total.saturating_sub(self.disk_at_start.0 / 2),
            Gauge::Inodes => total.saturating_sub(self.disk_at_start.1 / 2),
            _ => total / 5 * 4,
        }
    }

    /// What can be taken before the line is reached; with a tenth of that kept, so that an attack ends
    /// before it must be stopped.
    pub fn room(&self, gauge: Gauge) -> Option<u64> {
        let reading = self.read(gauge)?;
        let room = self.line(gauge, reading.total).saturating_sub(reading.used);
        Some(room - room / 10)
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// In bytes.
fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

fn tcp_pages() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

/// The name of a gauge, for people.
pub fn name(gauge: Gauge) -> &'static str {
    match gauge {
        Gauge::Memory => "memory",
        Gauge::Tasks => "processes",
        Gauge::Files => "open files",
        Gauge::Disk => "disk",
        Gauge::Inodes => "inodes",
        Gauge::Terminals => "terminals",
        Gauge::Asynchronous => "asynchronous I/O",
        Gauge::Tcp => "TCP buffers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_read_and_lines_leave_something() {
        let gauges = Gauges::new(Path::new("/"));
        for gauge in [Gauge::Memory, Gauge::Tasks, Gauge::Files, Gauge::Disk] {
            let reading = gauges.read(gauge).expect("a reading");
            assert!(reading.total > 0 && reading.used <= reading.total, "{gauge:?}: {reading:?}");
            assert!(gauges.line(gauge, reading.total) < reading.total, "{gauge:?}");
        }
    }
}
