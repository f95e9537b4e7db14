//! The table of `tsubo stats`.

use std::cmp::Reverse;

use lifecycle::figures::{Figures, Snapshot};

use super::stats::Order;
use crate::ui;

const HEADS: [&str; 14] = [
    "NAME", "CPU", "HELD", "LOAD", "MEMORY", "LIMIT", "WAITS", "READ/s", "WRITE/s", "IN/s", "OUT/s", "PIDS",
    "FILES", "OOM",
];

/// Puts first what should be.
pub(super) fn sort(containers: &mut [Figures], order: Order) {
    let hundredths = |value: Option<f64>| value.map_or(0, |value| (value * 100.0) as u64);
    containers.sort_by_key(|one| {
        let io = one
            .io
            .as_ref()
            .map(|io| io.read_bytes_per_second.unwrap_or(0.0) + io.written_bytes_per_second.unwrap_or(0.0));
        let most = match order {
            Order::Cpu => hundredths(one.cpu.percent),
            Order::Memory => one.memory.counts.working_set.unwrap_or(0),
            Order::Io => hundredths(io),
            Order::Pids => one.pids.current.unwrap_or(0),
            Order::Name => 0,
        };
        (Reverse(most), one.name.clone())
    });
}

/// The heads, the host, and a line for each container.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<String> {
    let mut table = ui::table::new(&HEADS);
    table.add_row(host(snapshot));
    snapshot.containers.iter().for_each(|one| {
        table.add_row(container(one));
    });
    table.to_string().lines().map(|line| ui::error::printable(line.trim_end())).collect()
}

fn host(snapshot: &Snapshot) -> [String; HEADS.len()] {
    let (host, nic) = (&snapshot.host, snapshot.host.network);
    [
        "(host)".to_owned(),
        percent(host.cpu_percent),
        dash(),
        host.load.map_or_else(dash, |load| format!("{:.2}", load[0])),
        size(host.memory.used()),
        size(host.memory.total),
        waits(&host.pressure),
        dash(),
        dash(),
        rate(nic.and_then(|nic| nic.received_bytes_per_second)),
        rate(nic.and_then(|nic| nic.sent_bytes_per_second)),
        dash(),
        dash(),
        dash(),
    ]
}

fn container(one: &Figures) -> [String; HEADS.len()] {
    let limited = one.cpu.counts.limit.is_some();
    let (memory, io, nic) = (&one.memory.counts, one.io.as_ref(), one.network);
    let status = if one.running { String::new() } else { format!(" ({})", one.status) };
    [
        format!("{}{status}", one.name),
        percent(one.cpu.percent),
        percent(one.cpu.throttled_percent.filter(|_| limited)),
        one.load.map_or_else(dash, |load| format!("{:.2}", load[0])),
        size(memory.working_set),
        size(memory.limit),
        waits(&one.pressure),
        rate(io.and_then(|io| io.read_bytes_per_second)),
        rate(io.and_then(|io| io.written_bytes_per_second)),
        rate(nic.and_then(|nic| nic.received_bytes_per_second)),
        rate(nic.and_then(|nic| nic.sent_bytes_per_second)),
        one.pids.current.map_or_else(dash, |current| current.to_string()),
        one.open_files.map_or_else(dash, |files| files.to_string()),
        memory.oom_kills.map_or_else(dash, |kills| kills.to_string()),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| format!("{value:.1}%"))
}

fn size(value: Option<u64>) -> String {
    value.map_or_else(dash, ui::size)
}

fn rate(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| ui::size(value as u64))
}

/// For processor, memory and devices.
fn waits(pressure: &lifecycle::figures::Pressures) -> String {
    let each = [pressure.cpu, pressure.memory, pressure.io]
        .map(|one| one.map_or_else(dash, |one| format!("{:.0}", one.some.avg10)));
    if each.iter().all(|one| one == "-") { dash() } else { each.join("/") }
}
