//! `tsubo history`: the figures of the last day, as a sampler has kept them.

use std::time::Duration;

use jiff::Timestamp;
use lifecycle::Containers;
use lifecycle::history::{Bucket, DAY, History, Mark, buckets};
use serde_json::json;
use spec::{Error, Result};

use super::{Place, life_flags};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo history web                               the last hour
  tsubo history --since 24h web
  tsubo history                                   the host
  tsubo history --since 10m --format json web | jq '.samples[].cpu_percent'

A graph for each figure, from left to right over the time, with its least and its most; then a table, and
what has happened. CPU is per cent of one processor; WAITS are per cent of the time in which somebody
waited for processor, memory and devices. `tsubo sampler` has to run for it.
";

/// How many columns a graph has.
const COLUMNS: usize = 60;

/// How many lines the table has.
const ROWS: usize = 12;

/// Show the figures of the last day of a container, or of the host.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How far back: a time as in 10m or 24h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = since)]
    pub since: Duration,

    /// Name or id of the container; the host, if none is given
    pub name: Option<String>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let container = args.name.as_ref().map(|name| Containers::of(&home).find(name)).transpose()?;
    let history = match &container {
        Some(container) => History::of(&home, container)?,
        None => History::of_host(&home)?,
    };
    let name = container.as_ref().map_or_else(|| "(host)".to_owned(), |found| found.name().to_string());
    if history.samples.is_empty() && history.marks.is_empty() {
        return Err(none(&name, history.is_watched()));
    }
    let to = Timestamp::now().as_millisecond().unsigned_abs();
    let span = Span { from: to.saturating_sub(args.since.as_millis() as u64), to };
    if args.format.is_json() {
        return as_json(&name, &history, span);
    }
    graphs(&name, &history, span);
    table(&history, span);
    marks(&history, span);
    if !history.is_watched() {
        ui::error::warn(
            "no sampler is running: this is what the last one has seen. Start one: tsubo sampler",
        );
    }
    Ok(0)
}

/// In milliseconds since 1970.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    fn buckets(self, history: &History, count: usize) -> Vec<Bucket> {
        buckets(&history.samples, self.from, self.to, count)
    }

    fn marks(self, history: &History) -> impl Iterator<Item = &Mark> {
        history.marks.iter().filter(move |mark| (self.from..=self.to).contains(&mark.time_ms))
    }
}

fn none(name: &str, watched: bool) -> Error {
    let error = Error::not_found(format!("nothing is known of the past of {name}"));
    match watched {
        true => error.hint("the sampler has not seen it yet: it looks every 5 seconds"),
        false => error.hint(
            "no sampler is running: start one with `tsubo sampler &`, or as a service (tsubo sampler --help)",
        ),
    }
}

fn as_json(name: &str, history: &History, span: Span) -> Result<u8> {
    let samples: Vec<Bucket> = span.buckets(history, 120);
    let marks: Vec<&Mark> = span.marks(history).collect();
    ui::json(
        &json!({ "name": name, "from_ms": span.from, "to_ms": span.to, "watched": history.is_watched(),
        "watched_until_ms": history.watched, "samples": samples, "events": marks }),
    )?;
    Ok(0)
}

fn graphs(name: &str, history: &History, span: Span) {
    let rows = span.buckets(history, COLUMNS);
    ui::line(format!("{name}: {} to {}", clock(span.from), clock(span.to)));
    let bytes = |value: f64| ui::size(value as u64);
    let percent = |value: f64| format!("{value:.1}%");
    let number = |value: f64| format!("{value:.2}");
    let of = |value: Option<u64>| value.map(|value| value as f64);
    graph("cpu", rows.iter().map(|row| row.cpu_percent), percent);
    graph("memory", rows.iter().map(|row| of(row.memory_bytes)), bytes);
    graph("load", rows.iter().map(|row| row.load_1m), number);
    graph("read/s", rows.iter().map(|row| row.read_bytes_per_second), bytes);
    graph("write/s", rows.iter().map(|row| row.written_bytes_per_second), bytes);
    graph("in/s", rows.iter().map(|row| row.received_bytes_per_second), bytes);
    graph("out/s", rows.iter().map(|row| row.sent_bytes_per_second), bytes);
    ui::line("");
}

/// One that is not known at all is left out.
fn graph(name: &str, values: impl Iterator<Item = Option<f64>>, show: impl Fn(f64) -> String) {
    let values: Vec<Option<f64>> = values.collect();
    let known = || values.iter().flatten().copied();
    let (Some(least), Some(most)) = (known().reduce(f64::min), known().reduce(f64::max)) else { return };
    ui::line(format!("{name:<8}{} {} to {}", ui::graph::bars(&values, most), show(least), show(most)));
}

fn table(history: &History, span: Span) {
    let heads =
        ["FROM", "CPU", "MEMORY", "LOAD", "WAITS", "READ/s", "WRITE/s", "IN/s", "OUT/s", "PIDS", "OOM"];
    let mut table = ui::table::new(&heads);
    let dash = || "-".to_owned();
    let size = |value: Option<u64>| value.map_or_else(dash, ui::size);
    let rate = |value: Option<f64>| value.map_or_else(dash, |value| ui::size(value as u64));
    for row in span
        .buckets(history, ROWS)
        .iter()
        .filter(|row| row.memory_bytes.is_some() || row.cpu_percent.is_some())
    {
        let waits = [row.waits_cpu_percent, row.waits_memory_percent, row.waits_io_percent]
            .map(|value| value.map_or_else(dash, |value| format!("{value:.0}")));
        table.add_row([
            clock(row.time_ms),
            row.cpu_percent.map_or_else(dash, |value| format!("{value:.1}%")),
            size(row.memory_bytes),
            row.load_1m.map_or_else(dash, |load| format!("{load:.2}")),
            waits.join("/"),
            rate(row.read_bytes_per_second),
            rate(row.written_bytes_per_second),
            rate(row.received_bytes_per_second),
            rate(row.sent_bytes_per_second),
            row.pids.map_or_else(dash, |pids| pids.to_string()),
            row.oom_kills.map_or_else(dash, |kills| kills.to_string()),
        ]);
    }
    ui::table::print(&table);
}

fn marks(history: &History, span: Span) {
    let marks: Vec<&Mark> = span.marks(history).collect();
    if marks.is_empty() {
        return;
    }
    ui::line("");
    for mark in marks {
        let detail = match (mark.event, mark.detail) {
            ("die", Some(code)) => format!(" (exit code {code})"),
            ("kill", Some(signal)) => format!(" (signal {signal})"),
            ("restart", Some(times)) => format!(" (number {times} of its policy)"),
            _ => String::new(),
        };
        ui::line(format!("{} {}{detail}", clock(mark.time_ms), mark.event));
    }
}

/// To the second.
fn clock(millis: u64) -> String {
    let time = Timestamp::from_second((millis / 1000) as i64);
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn since(text: &str) -> Result<Duration> {
    let millis = life_flags::millis(text).map_err(Error::user)?;
    if !(1000..=DAY).contains(&millis) {
        return Err(Error::user(format!("nothing is kept for {text}")).hint("use a time from 1s to 24h"));
    }
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_day() {
        assert_eq!(since("24h").expect("a day"), Duration::from_millis(DAY));
        assert!(since("2d").is_err() && since("0s").is_err() && since("x").is_err());
        assert_eq!(clock(1_500_000_000_123), "2017-07-14T02:40:00Z");
    }
}
