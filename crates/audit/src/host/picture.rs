//! A page that shows an audit to people who were not there: what a neighbour felt over time, each attack
//! as a band, and below what the host had taken of each resource. One file, no scripts, for light and dark.

use std::fmt::Write;

use super::feel::Sample;
use super::gauges::{self, Gauges};
use super::judge::Verdict;
use super::report::{Report, Row, amount};
use super::watcher::Look;
use crate::attack::Gauge;

/// Pixels for a second, in a long audit and in a quick one, whose bands are narrow and have names, too.
const SECOND: (f64, f64) = (60.0, 140.0);
/// Up to so many seconds it is a quick one.
const QUICK: u64 = 30;
/// What is kept free on the left.
const LEFT: f64 = 60.0;
/// Heights: names of attacks, each chart, the space below it.
const NAMES: f64 = 130.0;
const CHART: f64 = 150.0;
const SPACE: f64 = 44.0;
/// Samples of so many microseconds are one point.
const POINT: u64 = 50_000;
/// Latencies are drawn from 0.01 ms to 1 s, by powers of ten.
const DECADES: (f64, f64) = (-2.0, 3.0);

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#6a737d;--grid:#d8dee4;--paper:#fff;--held:#2da44e;--red:#cf222e;\
--amber:#bf8700;--one:#0969da;--two:#8250df;--three:#bc4c00;--four:#1a7f7f;--five:#a0408a}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--grid:#30363d;--paper:#0d1117;--held:#3fb950;\
--red:#f85149;--amber:#d29922;--one:#58a6ff;--two:#bc8cff;--three:#ffa657;--four:#56d4dd;--five:#f778ba}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:2rem;max-width:110rem}\
.scroll{overflow-x:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}\
svg .grid{stroke:var(--grid)}svg path{fill:none;stroke-width:1.5}table{border-collapse:collapse;margin-top:1rem}\
td,th{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--grid);vertical-align:top}\
.held{color:var(--held)}.not-limited,.host-at-risk{color:var(--red)}.unknown{color:var(--amber)}";

/// The page.
pub fn draw(report: &Report, samples: &[Sample], looks: &[Look], gauges: &Gauges) -> String {
    let scale = Scale::of(samples, looks);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>tsubo audit</title><style>{STYLE}</style><h1>{}</h1><p>{}</p>",
        if report.is_held() { "Every attack was held" } else { "Not every attack was held" },
        escaped(&report.sum()),
    );
    page.push_str(
        "<p>A container tried to use up its host, one resource after the other. Each band is one attack: green if it \
         was held, red if not, yellow if that is not known. The curves above show how long a small service beside \
         it took to answer (half of its requests, and the slowest) and to have a write on the disk; those below, how much of \
         each resource of the host was taken, by all together. The dashed line is where an attack is stopped.</p>",
    );
    let _ = write!(
        page,
        "<div class=\"scroll\">{}</div>{}",
        svg(report, samples, looks, gauges, &scale),
        table(report)
    );
    page.push_str("</html>\n");
    page
}

/// Time, from microseconds to pixels.
struct Scale {
    start: u64,
    end: u64,
}

impl Scale {
    fn of(samples: &[Sample], looks: &[Look]) -> Self {
        let times = || samples.iter().map(|one| one.at).chain(looks.iter().map(|one| one.at));
        Self { start: times().min().unwrap_or(0), end: times().max().unwrap_or(1) }
    }

    fn x(&self, at: u64) -> f64 {
        let second = if self.end - self.start > QUICK * 1_000_000 { SECOND.0 } else { SECOND.1 };
        LEFT + at.saturating_sub(self.start) as f64 / 1e6 * second
    }

    fn width(&self) -> f64 {
        self.x(self.end) + 20.0
    }
}

fn svg(report: &Report, samples: &[Sample], looks: &[Look], gauges: &Gauges, scale: &Scale) -> String {
    let tops = [NAMES, NAMES + CHART + SPACE, NAMES + 2.0 * (CHART + SPACE)];
    let height = tops[2] + CHART + SPACE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" role=\"img\" aria-label=\"latency and resources over time\">",
        scale.width()
    );
    bands(&mut svg, report, scale, height - SPACE);
    let charts = [(false, "requests: time to an answer"), (true, "writes: time to the disk")];
    for ((is_write, title), top) in charts.into_iter().zip(tops) {
        latency(&mut svg, samples, is_write, title, top, scale);
    }
    resources(&mut svg, looks, gauges, tops[2], scale);
    seconds(&mut svg, scale, height);
    svg.push_str("</svg>");
    svg
}

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "var(--held)",
        Verdict::NotLimited | Verdict::HostAtRisk => "var(--red)",
        Verdict::Unknown => "var(--amber)",
    }
}

/// All questions are one band, as they share a container.
fn bands(svg: &mut String, report: &Report, scale: &Scale, bottom: f64) {
    let mut last = None;
    for row in &report.rows {
        let same: Vec<&Row> = report.rows.iter().filter(|other| other.time == row.time).collect();
        if last == Some(row.time) {
            continue;
        }
        last = Some(row.time);
        let worst = same.iter().map(|row| row.verdict).find(|verdict| *verdict != Verdict::Held);
        let (name, verdict) = match same.len() {
            1 => (row.attack.name.to_owned(), row.verdict),
            count => (format!("{count} questions"), worst.unwrap_or(Verdict::Held)),
        };
        let (from, to) = (scale.x(row.time.0), scale.x(row.time.1));
        let (width, colour) = ((to - from).max(2.0), colour(verdict));
        let middle = from + width / 2.0 + 4.0;
        let _ = write!(
            svg,
            "<g><title>{0}: {1}: {2}</title><rect x=\"{from:.1}\" y=\"{NAMES}\" width=\"{width:.1}\" height=\"{3:.0}\" fill=\"{colour}\" opacity=\".16\"/>\
             <text x=\"{middle:.1}\" y=\"{4:.0}\" transform=\"rotate(-60 {middle:.1} {4:.0})\">{0}</text></g>",
            escaped(&name),
            verdict.word(),
            escaped(&row.reason),
            bottom - NAMES,
            NAMES - 6.0,
        );
    }
}

fn latency(svg: &mut String, samples: &[Sample], is_write: bool, title: &str, top: f64, scale: &Scale) {
    heading(svg, title, top);
    let y = |took: f64| {
        let power = (took.max(1.0) / 1000.0).log10().clamp(DECADES.0, DECADES.1);
        top + CHART * (1.0 - (power - DECADES.0) / (DECADES.1 - DECADES.0))
    };
    for (label, took) in
        [("0.01 ms", 10.0), ("0.1", 100.0), ("1", 1e3), ("10", 1e4), ("100", 1e5), ("1 s", 1e6)]
    {
        grid(svg, label, y(took), scale);
    }
    let (mut half, mut most) = (Vec::new(), Vec::new());
    for (at, took) in points(samples, is_write) {
        half.push((scale.x(at), y(took[took.len() / 2] as f64)));
        most.push((scale.x(at), y(took[took.len() - 1] as f64)));
    }
    path(svg, &most, "var(--three)", "the slowest");
    path(svg, &half, "var(--one)", "half of them");
    legend(svg, top, &[("half of them", "var(--one)"), ("the slowest", "var(--three)")]);
}

/// Latencies of each point in time, sorted; there is one at least.
fn points(samples: &[Sample], is_write: bool) -> Vec<(u64, Vec<u64>)> {
    let mut points: Vec<(u64, Vec<u64>)> = Vec::new();
    for one in samples.iter().filter(|one| one.is_write == is_write) {
        let at = one.at / POINT * POINT;
        match points.last_mut() {
            Some((last, took)) if *last == at => took.push(one.took),
            _ => points.push((at, vec![one.took])),
        }
    }
    points.iter_mut().for_each(|(_, took)| took.sort_unstable());
    points
}

const SHOWN: [(Gauge, &str); 5] = [
    (Gauge::Memory, "var(--one)"),
    (Gauge::Tasks, "var(--two)"),
    (Gauge::Files, "var(--three)"),
    (Gauge::Tcp, "var(--four)"),
    (Gauge::Terminals, "var(--five)"),
];

fn resources(svg: &mut String, looks: &[Look], gauges: &Gauges, top: f64, scale: &Scale) {
    heading(svg, "the host: share that is taken", top);
    let y = |share: f64| top + CHART * (1.0 - share.clamp(0.0, 1.0));
    for (label, share) in [("0 %", 0.0), ("50", 0.5), ("100 %", 1.0)] {
        grid(svg, label, y(share), scale);
    }
    let memory = gauges.read(Gauge::Memory);
    let line = memory
        .map_or(0.8, |memory| gauges.line(Gauge::Memory, memory.total) as f64 / memory.total.max(1) as f64);
    for (share, colour) in [(line, "var(--one)"), (0.8, "var(--soft)")] {
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"{colour}\" stroke-dasharray=\"6 4\"/>",
            scale.width(),
            y(share),
        );
    }
    for (gauge, colour) in SHOWN {
        let share = |look: &Look| {
            look.readings.iter().find(|(one, _)| *one == gauge).map(|(_, reading)| reading.share())
        };
        let line: Vec<_> =
            looks.iter().filter_map(|look| Some((scale.x(look.at), y(share(look)?)))).collect();
        path(svg, &line, colour, gauges::name(gauge));
    }
    legend(svg, top, &SHOWN.map(|(gauge, colour)| (gauges::name(gauge), colour)));
}

fn heading(svg: &mut String, title: &str, top: f64) {
    let _ = write!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.0}\" class=\"soft\">{title}</text><line class=\"grid\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{top}\" y2=\"{:.0}\"/>",
        top + CHART + 16.0,
        top + CHART,
    );
}

fn grid(svg: &mut String, label: &str, y: f64, scale: &Scale) {
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"soft\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        scale.width(),
        LEFT - 6.0,
        y + 4.0,
    );
}

fn legend(svg: &mut String, top: f64, entries: &[(&str, &str)]) {
    for (number, (name, colour)) in entries.iter().enumerate() {
        let x = LEFT + 240.0 + number as f64 * 130.0;
        let _ = write!(
            svg,
            "<text x=\"{x:.0}\" y=\"{:.0}\" style=\"fill:{colour}\">{name}</text>",
            top + CHART + 16.0
        );
    }
}

fn path(svg: &mut String, points: &[(f64, f64)], colour: &str, title: &str) {
    let mut word = 'M';
    let _ = write!(svg, "<path stroke=\"{colour}\" d=\"");
    for (x, y) in points {
        let _ = write!(svg, "{word}{x:.1} {y:.1}");
        word = 'L';
    }
    let _ = write!(svg, "\"><title>{title}</title></path>");
}

fn seconds(svg: &mut String, scale: &Scale, height: f64) {
    let last = (scale.end - scale.start) / 1_000_000;
    for second in (0..=last).step_by(2) {
        let x = scale.x(scale.start + second * 1_000_000);
        let _ = write!(svg, "<text class=\"soft\" x=\"{x:.0}\" y=\"{:.0}\">{second} s</text>", height - 6.0);
    }
}

fn table(report: &Report) -> String {
    let mut table =
        "<table><tr><th>resource<th>attack<th>limit<th>got<th>verdict<th>why<th>what would mend it</tr>"
            .to_owned();
    for row in &report.rows {
        let limit = row.seen.limit.map_or_else(String::new, |limit| amount(row.attack.unit, limit));
        let class = row.verdict.word().replace(' ', "-");
        let _ = write!(
            table,
            "<tr><td>{}<td>{}: {}<td>{limit}<td>{}<td class=\"{class}\">{}<td>{}<td>{}</tr>",
            row.attack.family.word(),
            row.attack.name,
            escaped(row.attack.what),
            if row.got() == 0 { String::new() } else { amount(row.attack.unit, row.got()) },
            row.verdict.word(),
            escaped(&row.reason),
            escaped(row.mend().unwrap_or_default()),
        );
    }
    table + "</table>"
}

/// What comes out of a container is text, and nothing else.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut all, one| {
        match one {
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '&' => all.push_str("&amp;"),
            '"' => all.push_str("&quot;"),
            one if one.is_control() => all.push('?'),
            one => all.push(one),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_gather_samples_and_text_is_escaped() {
        let sample = |at, took| Sample { at, took, is_write: false };
        let points = points(&[sample(1, 9), sample(2, 3), sample(POINT + 1, 5)], false);
        assert_eq!(points, [(0, vec![3, 9]), (POINT, vec![5])]);
        assert_eq!(escaped("<a \"b\"&\x1b>"), "&lt;a &quot;b&quot;&amp;?&gt;");
    }

    #[test]
    fn a_page_without_anything_is_a_page() {
        let report = Report { runtime: "tsubo", subject: "<x>".to_owned(), rows: Vec::new() };
        let page = draw(&report, &[], &[], &Gauges::new(std::path::Path::new("/")));
        assert!(page.contains("&lt;x&gt;") && page.ends_with("</html>\n"), "{page}");
    }
}
