//! On what machine and when, and the record of it in docs/benchmarks.md.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;

use super::Findings;
use crate::shell::{self, Result};
use crate::{house, table};

/// Adds dated findings to docs/benchmarks.md.
pub(crate) fn record(all: &[Findings]) -> Result {
    let date = shell::read(Command::new("date").args(["-u", "+%F %H:%M UTC"]))?;
    let sections: Vec<String> = all.iter().map(|f| f.text(table::markdown)).collect();
    let text = format!("\n## {}\n\n{}\n\n{}\n", date.trim(), describe()?, sections.join("\n\n"));
    let mut file = OpenOptions::new().append(true).open(house::top().join("docs/benchmarks.md"))?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Says so where others keep the machine busy: then no number is worth recording.
pub(crate) fn warn_if_busy() {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0);
    if load > 0.5 {
        println!("WARNING: the load of this machine is {load}: what is measured now is of others, too");
    }
}

fn describe() -> Result<String> {
    let commit =
        shell::read(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(house::top()));
    let commit = commit.unwrap_or_else(|_| "unknown".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpu = field("/proc/cpuinfo", "model name");
    let cores = std::thread::available_parallelism()?;
    let memory = field("/proc/meminfo", "MemTotal");
    let v1 = std::path::Path::new("/sys/fs/cgroup/memory/tasks").exists();
    let cgroups = if v1 { "cgroup v1 controllers" } else { "cgroup v2" };
    let (commit, kernel) = (commit.trim(), kernel.trim());
    Ok(format!("Commit {commit}, kernel {kernel}, {cpu}, {cores} cores, {memory}, {cgroups}."))
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    line.map_or("?", |l| l.trim_start_matches([' ', '\t', ':'])).to_owned()
}
