//! Memory.

use std::collections::BTreeMap;

use super::read::Files;
use super::{EventCount, Memory, MemoryEntry};

pub(super) fn memory(files: &Files) -> Memory {
    let text = files.text("memory.stat").unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let raw: BTreeMap<String, u64> =
        lines.filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?))).collect();
    let two = files.maybe("memory.current").is_some();
    let memory = if two { memory_two(files, &raw) } else { memory_one(files, &raw) };
    Memory { psi: files.pressure("memory.pressure"), raw, ..memory }
}

fn memory_one(files: &Files, raw: &BTreeMap<String, u64>) -> Memory {
    let entry = |kind: &str| {
        let file = |end: &str| format!("memory.{kind}{end}");
        MemoryEntry {
            limit: files.limit(&[&file("limit_in_bytes")]),
            usage: files.number(&file("usage_in_bytes")),
            max: files.number(&file("max_usage_in_bytes")),
            failcnt: files.number(&file("failcnt")),
        }
    };
    Memory {
        // The groups below are in it.
        cache: raw.get("total_cache").or(raw.get("cache")).copied().unwrap_or(0),
        usage: entry(""),
        swap: entry("memsw."),
        kernel: entry("kmem."),
        kernel_tcp: entry("kmem.tcp."),
        event_count: EventCount {
            oom_kill: files.key("memory.oom_control", "oom_kill"),
            ..EventCount::default()
        },
        ..Memory::default()
    }
}

fn memory_two(files: &Files, raw: &BTreeMap<String, u64>) -> Memory {
    let event = |key: &str| files.key("memory.events", key);
    let usage = MemoryEntry {
        limit: files.limit(&["memory.max"]),
        usage: files.number("memory.current"),
        max: files.number("memory.peak"),
        failcnt: event("max"),
    };
    let swap = MemoryEntry {
        limit: files.limit(&["memory.swap.max"]).saturating_add(usage.limit),
        usage: files.number("memory.swap.current") + usage.usage,
        max: files.number("memory.swap.peak"),
        failcnt: files.key("memory.swap.events", "max"),
    };
    Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        kernel: MemoryEntry { usage: raw.get("kernel").copied().unwrap_or(0), ..MemoryEntry::default() },
        kernel_tcp: MemoryEntry { usage: raw.get("sock").copied().unwrap_or(0), ..MemoryEntry::default() },
        usage,
        swap,
        event_count: EventCount {
            low: event("low"),
            high: event("high"),
            max: event("max"),
            oom: event("oom"),
            oom_kill: event("oom_kill"),
        },
        ..Memory::default()
    }
}
