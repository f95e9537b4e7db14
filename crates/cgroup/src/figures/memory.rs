//! Memory by kind.

use super::Memory;
use super::files::{Place, Text};

/// Version 1 says this, to the page, where there is no limit.
const NO_LIMIT: u64 = i64::MAX as u64 - (1 << 20);

pub(super) fn memory(place: &Place) -> Memory {
    let stat = place.text("memory.stat");
    let memory = if place.is_two() { two(place, stat.as_ref()) } else { one(place, stat.as_ref()) };
    let inactive =
        |text: &Text| text.key(if place.is_two() { "inactive_file" } else { "total_inactive_file" });
    let working_set = stat.as_ref().and_then(inactive).zip(memory.usage);
    Memory { working_set: working_set.map(|(inactive, usage)| usage.saturating_sub(inactive)), ..memory }
}

fn one(place: &Place, stat: Option<&Text>) -> Memory {
    // The groups below are in the totals.
    let total = |key: &str| stat?.key(key);
    let limits = [place.number("memory.limit_in_bytes"), total("hierarchical_memory_limit")];
    let limit = limits.into_iter().flatten().min();
    Memory {
        usage: place.number("memory.usage_in_bytes"),
        anonymous: total("total_rss"),
        cache: total("total_cache"),
        kernel: place.number("memory.kmem.usage_in_bytes"),
        tcp: place.number("memory.kmem.tcp.usage_in_bytes"),
        swap: total("total_swap"),
        limit: limit.filter(|limit| *limit < NO_LIMIT),
        oom_kills: place.text("memory.oom_control").and_then(|text| text.key("oom_kill")),
        ..Memory::default()
    }
}

fn two(place: &Place, stat: Option<&Text>) -> Memory {
    let key = |key: &str| stat?.key(key);
    Memory {
        usage: place.number("memory.current"),
        anonymous: key("anon"),
        cache: key("file"),
        kernel: key("kernel"),
        slab: key("slab"),
        stacks: key("kernel_stack"),
        page_tables: key("pagetables"),
        tcp: key("sock"),
        swap: place.number("memory.swap.current"),
        limit: place.number("memory.max"),
        oom_kills: place.text("memory.events").and_then(|text| text.key("oom_kill")),
        ..Memory::default()
    }
}
