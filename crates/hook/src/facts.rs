//! What scripts find in `host`: the machine as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

/// The facts.
pub(crate) fn host(state: &Path) -> BTreeMap<String, Json> {
    let name = rustix::system::uname();
    let memory = memory();
    let load: Vec<f64> = first_words("/proc/loadavg", 3);
    let disk = rustix::fs::statvfs(nearest(state)).ok();
    let size = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        disk.as_ref().map_or(0, |disk| blocks(disk) * disk.f_frsize)
    };
    let of = |key: &str| memory.get(key).copied().unwrap_or(0);
    let facts = [
        ("memory", json!(of("MemTotal"))),
        ("memory_available", json!(of("MemAvailable"))),
        ("swap", json!(of("SwapTotal"))),
        ("cpus", json!(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))),
        ("load", json!(load)),
        ("kernel", json!(name.release().to_string_lossy())),
        ("arch", json!(std::env::consts::ARCH)),
        ("hostname", json!(name.nodename().to_string_lossy())),
        ("cgroup", json!(cgroup::Layout::detect().map_or("none", |layout| layout.name()))),
        ("disk", json!({ "total": size(|disk| disk.f_blocks), "free": size(|disk| disk.f_bavail) })),
        ("uptime", json!(first_words("/proc/uptime", 1).first().copied().unwrap_or(0.0))),
    ];
    facts.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The facts and the flags of an evaluation, as it is told them again at each firing.
pub(crate) fn all(state: &Path, flags: &[(String, String)]) -> String {
    let flags: BTreeMap<_, _> = flags.iter().cloned().collect();
    json!({ "host": host(state), "flags": flags }).to_string()
}

/// The state directory may not be there yet.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"))
}

/// In bytes.
fn memory() -> BTreeMap<String, u64> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = |line: &str| {
        let (key, rest) = line.split_once(':')?;
        let number: u64 = rest.split_whitespace().next()?.parse().ok()?;
        Some((key.to_owned(), number * 1024))
    };
    text.lines().filter_map(line).collect()
}

fn first_words(file: &str, count: usize) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().take(count).filter_map(|word| word.parse().ok()).collect()
}
