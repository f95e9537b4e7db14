//! One container in depth.

use std::collections::VecDeque;

use jiff::Timestamp;
use lifecycle::figures::{Figures, Pressure};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};

use crate::app::App;
use crate::words::{DASH, loads, most, number, percent, printable, rate, size, whole};

const KEYS: &str = " Esc back   up down another   q quit";

pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) {
    let Some(one) = app.current() else { return };
    let [top, graphs, words, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(9),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let title = format!("{}  {}  {}  {}", one.name, one.id, one.status, printable(&one.image));
    frame.render_widget(Line::from(title).bold(), top);
    draw_graphs(frame, app, one, graphs);
    let [left, right] = Layout::horizontal([Constraint::Length(42), Constraint::Min(1)]).areas(words);
    frame.render_widget(Paragraph::new(figures(one)), left);
    frame.render_widget(Paragraph::new(beside(app, one)), right);
    frame.render_widget(Line::from(KEYS).dim(), bottom);
}

fn draw_graphs(frame: &mut Frame<'_>, app: &App, one: &Figures, area: Rect) {
    let Some(past) = app.past_of(one.id) else { return };
    let areas: [Rect; 3] = Layout::vertical([Constraint::Length(3); 3]).areas(area);
    let io = one.io.as_ref().map(|io| {
        format!("read {}/s, write {}/s", rate(io.read_bytes_per_second), rate(io.written_bytes_per_second))
    });
    let titles = [
        format!("cpu {} of {}", percent(one.cpu.percent), limit(one)),
        format!("memory {} of {}", size(one.memory.counts.working_set), size(one.memory.counts.limit)),
        io.unwrap_or_else(|| "devices are not counted here".to_owned()),
    ];
    for ((area, title), (values, least)) in
        areas.into_iter().zip(titles).zip([(&past.cpu, 100.0), (&past.memory, 1.0), (&past.io, 1.0)])
    {
        graph(frame, area, title, values, least);
    }
}

/// The highest value is a full bar, but for those below `least`.
fn graph(frame: &mut Frame<'_>, area: Rect, title: String, values: &VecDeque<f64>, least: f64) {
    let data = whole(values, usize::from(area.width));
    let bar = Sparkline::default()
        .block(Block::new().borders(Borders::TOP).title(title))
        .data(&data)
        .max((most(values).max(least) * 10.0) as u64);
    frame.render_widget(bar, area);
}

fn limit(one: &Figures) -> String {
    one.cpu.counts.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{:.0}%", limit * 100.0))
}

fn figures(one: &Figures) -> Vec<Line<'static>> {
    let memory = &one.memory.counts;
    let waits = |of: Option<Pressure>| {
        of.map_or_else(
            || DASH.to_owned(),
            |of| format!("{:.1} {:.1} {:.1}", of.some.avg10, of.some.avg60, of.some.avg300),
        )
    };
    let tasks = one.tasks.map_or_else(
        || DASH.to_owned(),
        |tasks| format!("{} run, {} blocked", tasks.runnable, tasks.blocked),
    );
    let nic = one.network.map_or_else(
        || "the host's".to_owned(),
        |nic| format!("{}/s, {}/s", rate(nic.received_bytes_per_second), rate(nic.sent_bytes_per_second)),
    );
    let held = one.cpu.throttled_percent.filter(|_| one.cpu.counts.limit.is_some());
    let rows = [
        ("load 1 5 15", loads(one.load)),
        ("held by quota", percent(held)),
        ("tasks", tasks),
        ("pids", format!("{} of {}", number(one.pids.current), number(one.pids.limit))),
        ("open files", number(one.open_files)),
        ("programs", size(memory.anonymous)),
        ("page cache", size(memory.cache)),
        ("kernel, tcp", format!("{}, {}", size(memory.kernel), size(memory.tcp))),
        ("swap, OOM kills", format!("{}, {}", size(memory.swap), number(memory.oom_kills))),
        ("waits cpu", waits(one.pressure.cpu)),
        ("waits memory", waits(one.pressure.memory)),
        ("waits devices", waits(one.pressure.io)),
        ("network in, out", nic),
        ("restarts", one.restarts.to_string()),
    ];
    rows.into_iter().map(|(name, value)| Line::from(format!("{name:<17}{value}"))).collect()
}

/// File systems, what a sampler knows, and what has happened.
fn beside(app: &App, one: &Figures) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for room in one.file_systems.iter().take(4) {
        lines.push(Line::from(format!(
            "{}  {} of {}",
            printable(&room.at.display().to_string()),
            size(Some(room.used)),
            size(room.size)
        )));
    }
    let cpu: VecDeque<f64> = app.minutes.iter().map(|row| row.cpu_percent.unwrap_or(0.0)).collect();
    if cpu.is_empty() {
        lines.push(Line::from("tsubo sampler keeps the last day").dim());
    } else {
        lines.push(Line::from("cpu, last 10 minutes").dim());
        lines.push(Line::from(crate::words::bars(&shrunk(&cpu, 36), 36, most(&cpu).max(100.0))));
    }
    let marks = app.marks.iter().rev().take(6);
    lines.extend(marks.map(|mark| {
        let time = Timestamp::from_second((mark.time_ms / 1000) as i64).map(|time| time.to_string());
        let detail = mark.detail.map_or_else(String::new, |detail| format!(" {detail}"));
        Line::from(format!("{} {}{detail}", time.unwrap_or_default(), mark.event))
    }));
    lines
}

/// The most of each part.
fn shrunk(values: &VecDeque<f64>, parts: usize) -> VecDeque<f64> {
    let each = values.len().div_ceil(parts).max(1);
    let values: Vec<f64> = values.iter().copied().collect();
    values.chunks(each).map(|part| part.iter().copied().fold(0.0, f64::max)).collect()
}
