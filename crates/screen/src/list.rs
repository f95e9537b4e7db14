//! All containers, a line each.

use lifecycle::figures::{Figures, Host, Pressures};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use crate::app::{App, Order};
use crate::words::{DASH, bars, load, most, number, percent, rate, size};

const KEYS: &str = " Enter one   c m i p n sort by cpu memory io pids name   a all   q quit";

/// A column: its head, its width, whether it is only for wide screens, and what the list is sorted by
/// where it stands.
struct Column {
    head: &'static str,
    width: u16,
    wide: bool,
    order: Option<Order>,
}

const fn column(head: &'static str, width: u16, wide: bool, order: Option<Order>) -> Column {
    Column { head, width, wide, order }
}

const COLUMNS: [Column; 14] = [
    column("NAME", 16, false, Some(Order::Name)),
    column("CPU", 7, false, Some(Order::Cpu)),
    column("", 12, false, None),
    column("MEMORY", 10, false, Some(Order::Memory)),
    column("", 8, false, None),
    column("LOAD", 5, false, None),
    column("WAITS", 8, false, None),
    column("PIDS", 5, false, Some(Order::Pids)),
    column("READ/s", 10, true, Some(Order::Io)),
    column("WRITE/s", 10, true, Some(Order::Io)),
    column("IN/s", 10, true, None),
    column("OUT/s", 10, true, None),
    column("OOM", 3, true, None),
    column("STARTS", 6, true, None),
];

/// How wide a screen is that shows all columns.
const WIDE: u16 = 134;

pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(host(&app.snapshot.host, app.snapshot.containers.len())), top);
    table(frame, app, middle);
    frame.render_widget(Line::from(KEYS).dim(), bottom);
}

fn host(host: &Host, count: usize) -> Text<'static> {
    let used = size(host.memory.used());
    let disk = host.disk.as_ref();
    Text::from(vec![
        Line::from(format!(
            "{count} containers   cpu {} of {}   memory {used} of {}   load {}",
            percent(host.cpu_percent),
            host.processors * 100,
            size(host.memory.total),
            load(host.load),
        ))
        .bold(),
        Line::from(format!(
            "waits {}   disk {} of {}",
            waits(&host.pressure),
            size(disk.map(|disk| disk.used)),
            size(disk.and_then(|disk| disk.size)),
        )),
    ])
}

fn table(frame: &mut Frame<'_>, app: &mut App, area: Rect) {
    let wide = area.width >= WIDE;
    let shown = || COLUMNS.iter().enumerate().filter(move |(_, column)| wide || !column.wide);
    let head = |column: &Column| {
        let style =
            if column.order == Some(app.order) { Style::new().reversed() } else { Style::new().bold() };
        Cell::from(column.head).style(style)
    };
    let header = Row::new(shown().map(|(_, column)| head(column)));
    let rows: Vec<Row<'_>> = app
        .snapshot
        .containers
        .iter()
        .map(|one| {
            let mut cells = cells(one, app);
            let row = Row::new(shown().map(|(at, _)| std::mem::take(&mut cells[at])).collect::<Vec<_>>());
            if one.running { row } else { row.dim() }
        })
        .collect();
    let widths: Vec<Constraint> = shown()
        .map(
            |(at, column)| {
                if at == 0 { Constraint::Min(column.width) } else { Constraint::Length(column.width) }
            },
        )
        .collect();
    let table = Table::new(rows, widths).header(header).row_highlight_style(Style::new().reversed());
    frame.render_stateful_widget(table, area, &mut app.table);
}

fn cells(one: &Figures, app: &App) -> [String; COLUMNS.len()] {
    let past = app.past_of(one.id);
    let width = |at: usize| usize::from(COLUMNS[at].width);
    // A whole processor is a full bar, unless it is used beyond that.
    let cpu = past.map_or_else(String::new, |past| bars(&past.cpu, width(2), most(&past.cpu).max(100.0)));
    let memory = past.map_or_else(String::new, |past| bars(&past.memory, width(4), most(&past.memory)));
    let (io, nic) = (one.io.as_ref(), one.network);
    let word = if one.running { DASH.to_owned() } else { one.status.clone() };
    [
        one.name.to_string(),
        if one.running { percent(one.cpu.percent) } else { word },
        cpu,
        size(one.memory.counts.working_set),
        memory,
        load(one.load),
        waits(&one.pressure),
        number(one.pids.current),
        rate(io.and_then(|io| io.read_bytes_per_second)),
        rate(io.and_then(|io| io.written_bytes_per_second)),
        rate(nic.and_then(|nic| nic.received_bytes_per_second)),
        rate(nic.and_then(|nic| nic.sent_bytes_per_second)),
        number(one.memory.counts.oom_kills),
        one.restarts.to_string(),
    ]
}

/// For processor, memory and devices, in per cent of the last ten seconds.
pub(crate) fn waits(pressure: &Pressures) -> String {
    let each = [pressure.cpu, pressure.memory, pressure.io]
        .map(|one| one.map_or_else(|| DASH.to_owned(), |one| format!("{:.0}", one.some.avg10)));
    if each.iter().all(|one| one == DASH) { DASH.to_owned() } else { each.join("/") }
}
