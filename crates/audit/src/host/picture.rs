//! A page that shows an audit to people who were not there: what a neighbour felt over time, each attack
//! as a band, and below what the host had taken of each resource. One file, no scripts, for light and dark.

use std::fmt::Write;

use super::drawing::{LEFT, Scale, area, legend, line, path, spread, text};
use super::feel::Sample;
use super::gauges::{self, Gauges};
use super::judge::Verdict;
use super::report::{Report, Row, amount};
use super::watcher::Look;
use crate::attack::Gauge;

/// Heights: what colours mean, names of attacks, each chart, what is above it.
const LEGEND: f64 = 26.0;
const NAMES: f64 = 170.0;
const CHART: f64 = 150.0;
const HEAD: f64 = 40.0;
/// And below all of them, for the time.
const FOOT: f64 = 30.0;
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
.scroll{overflow-x:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .head{font-weight:600}svg .not-held{fill:var(--red);font-weight:600}svg .not-known{fill:var(--amber);font-weight:600}svg .soft{fill:var(--soft)}\
svg .grid{stroke:var(--grid)}svg .lead{stroke:var(--soft);stroke-width:.6}svg path{fill:none;stroke-width:1.5}table{border-collapse:collapse;margin-top:1rem}\
td,th{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--grid);vertical-align:top}\
.held{color:var(--held)}.not-limited,.host-at-risk{color:var(--red)}.unknown{color:var(--amber)}";

/// The page.
pub fn draw(report: &Report, samples: &[Sample], looks: &[Look], gauges: &Gauges) -> String {
    let times = samples.iter().map(|one| one.at).chain(looks.iter().map(|one| one.at));
    let scale = Scale::of(times);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>tsubo audit</title><style>{STYLE}</style><h1>{}</h1><p>{}</p>",
        if report.is_held() { "Every attack was held" } else { "Not every attack was held" },
        escaped(&report.sum()),
    );
    page.push_str(
        "<p>A container tried to use up its host, one resource after the other, while a small service ran beside it in \
         another container, the neighbour. Time goes from left to right; each band is one attack, with its name above it. \
         The two curves above show what the neighbour felt: how long half of its requests took at most, and how long the \
         slowest took, in each twentieth of a second; one line up is ten times as long. The third shows how much of each resource of \
         the host was taken, by all together. An attack that reaches the dashed line is stopped, so that the host is \
         not harmed.</p>",
    );
    for note in &report.notes {
        let _ = write!(page, "<p>{}.</p>", escaped(note));
    }
    let _ = write!(
        page,
        "<div class=\"scroll\">{}</div>{}",
        svg(report, samples, looks, gauges, &scale),
        table(report)
    );
    page.push_str("</html>\n");
    page
}

fn svg(report: &Report, samples: &[Sample], looks: &[Look], gauges: &Gauges, scale: &Scale) -> String {
    let begin = LEGEND + NAMES;
    let top = |chart: f64| begin + HEAD + chart * (CHART + HEAD);
    let end = top(2.0) + CHART;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{:.0}\" role=\"img\" aria-label=\"latency and resources over time\">",
        scale.width(),
        end + FOOT
    );
    let fill = |verdict| format!("fill:{};opacity:{}", colour(verdict), opacity(verdict));
    let [held, red, unknown] = [Verdict::Held, Verdict::NotLimited, Verdict::Unknown].map(fill);
    let meanings = [
        ("the attack was held", held.as_str()),
        ("\u{2715} it was not", &red),
        ("? it is not known", &unknown),
        ("rest", "fill:none;stroke:var(--grid)"),
    ];
    legend(&mut svg, (LEFT, 14.0), &meanings, false);
    bands(&mut svg, report, scale, (begin, end));
    let charts =
        [(false, "The neighbour: time to an answer"), (true, "The neighbour: time to write to the disk")];
    for ((is_write, title), number) in charts.into_iter().zip([0.0, 1.0]) {
        latency(&mut svg, samples, is_write, title, top(number), scale);
    }
    resources(&mut svg, looks, gauges, top(2.0), scale);
    scale.axis(&mut svg, end + FOOT - 8.0);
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

fn opacity(verdict: Verdict) -> f64 {
    if verdict == Verdict::Held { 0.16 } else { 0.35 }
}

/// A band of the picture.
struct Band {
    name: String,
    verdict: Verdict,
    /// What is told of it where somebody points at it.
    more: String,
    from: f64,
    to: f64,
}

/// One for each attack. All questions are one, as they share a container.
fn gathered(report: &Report, scale: &Scale) -> Vec<Band> {
    let mut times: Vec<(u64, u64)> = report.rows.iter().map(|row| row.time).collect();
    times.sort_unstable();
    times.dedup();
    let band = |time: (u64, u64)| {
        let same: Vec<&Row> = report.rows.iter().filter(|row| row.time == time).collect();
        let bad: Vec<&str> =
            same.iter().filter(|row| row.verdict != Verdict::Held).map(|row| row.attack.name).collect();
        let worst = same.iter().map(|row| row.verdict).find(|verdict| *verdict != Verdict::Held);
        let verdict = worst.unwrap_or(Verdict::Held);
        let (name, more) = match same.as_slice() {
            [row] => (row.attack.name.to_owned(), row.reason.clone()),
            all if bad.is_empty() => (format!("{} questions", all.len()), String::new()),
            all => (format!("{} questions, {} not held", all.len(), bad.len()), bad.join(", ")),
        };
        let (from, to) = (scale.x(time.0), scale.x(time.1));
        Band { name, verdict, more, from, to: to.max(from + 2.0) }
    };
    times.into_iter().map(band).collect()
}

fn bands(svg: &mut String, report: &Report, scale: &Scale, (top, bottom): (f64, f64)) {
    let all = gathered(report, scale);
    let middles: Vec<f64> = all.iter().map(|band| (band.from + band.to) / 2.0).collect();
    let places = spread(&middles, scale.right() + 20.0);
    for ((band, middle), place) in all.iter().zip(middles).zip(places) {
        let told = [escaped(&band.name), band.verdict.word().to_owned(), escaped(&band.more)].join(": ");
        let (mark, class) = match band.verdict {
            Verdict::Held => ("", ""),
            Verdict::Unknown => ("? ", "not-known"),
            _ => ("\u{2715} ", "not-held"),
        };
        let _ = write!(svg, "<g><title>{}</title>", told.trim_end_matches(": "));
        let fill = format!("style=\"fill:{};opacity:{}\"", colour(band.verdict), opacity(band.verdict));
        area(svg, (band.from, top), (band.to - band.from, bottom - top), &fill);
        line(svg, (middle, top), (place, top - 10.0), "class=\"lead\"");
        let (x, y) = (place + 3.0, top - 13.0);
        let slanted = format!("class=\"{class}\" transform=\"rotate(-60 {x:.1} {y:.1})\"");
        text(svg, (x, y), &slanted, &format!("{mark}{}", escaped(&band.name)));
        svg.push_str("</g>");
    }
}

fn latency(svg: &mut String, samples: &[Sample], is_write: bool, title: &str, top: f64, scale: &Scale) {
    let y = |took: f64| {
        let power = (took.max(1.0) / 1000.0).log10().clamp(DECADES.0, DECADES.1);
        top + CHART * (1.0 - (power - DECADES.0) / (DECADES.1 - DECADES.0))
    };
    for (label, took) in
        [("0.01 ms", 10.0), ("0.1 ms", 100.0), ("1 ms", 1e3), ("10 ms", 1e4), ("100 ms", 1e5), ("1 s", 1e6)]
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
    heading(
        svg,
        title,
        top,
        &[("half took no longer", "fill:var(--one)"), ("the slowest", "fill:var(--three)")],
    );
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
    let y = |share: f64| top + CHART * (1.0 - share.clamp(0.0, 1.0));
    for (label, share) in [("0 %", 0.0), ("50 %", 0.5), ("100 %", 1.0)] {
        grid(svg, label, y(share), scale);
    }
    let memory = gauges.read(Gauge::Memory);
    let memory = memory
        .map_or(0.8, |memory| gauges.line(Gauge::Memory, memory.total) as f64 / memory.total.max(1) as f64);
    let stops = [
        (memory, "var(--one)", 14.0, "an attack on memory is stopped here"),
        (0.8, "var(--soft)", 14.0, "one on the others here"),
    ];
    for (share, colour, below, words) in stops {
        let dashed = format!("style=\"stroke:{colour}\" stroke-dasharray=\"6 4\"");
        line(svg, (LEFT, y(share)), (scale.right(), y(share)), &dashed);
        text(svg, (LEFT + 6.0, y(share) + below), "class=\"soft\"", words);
    }
    for (gauge, colour) in SHOWN {
        let share = |look: &Look| {
            look.readings.iter().find(|(one, _)| *one == gauge).map(|(_, reading)| reading.share())
        };
        let line: Vec<_> =
            looks.iter().filter_map(|look| Some((scale.x(look.at), y(share(look)?)))).collect();
        path(svg, &line, colour, gauges::name(gauge));
    }
    let fills = SHOWN.map(|(gauge, colour)| (gauges::name(gauge), format!("fill:{colour}")));
    let entries = fills.each_ref().map(|(name, fill)| (*name, fill.as_str()));
    heading(svg, "The host: how much is taken of its", top, &entries);
}

/// Above a chart: what it shows, and what its colours mean.
fn heading(svg: &mut String, title: &str, top: f64, entries: &[(&str, &str)]) {
    text(svg, (LEFT, top - 12.0), "class=\"head\"", title);
    legend(svg, (LEFT + 280.0, top - 12.0), entries, true);
    line(svg, (LEFT, top), (LEFT, top + CHART), "class=\"grid\"");
}

fn grid(svg: &mut String, label: &str, y: f64, scale: &Scale) {
    line(svg, (LEFT, y), (scale.right(), y), "class=\"grid\"");
    text(svg, (LEFT - 6.0, y + 4.0), "class=\"soft\" text-anchor=\"end\"", label);
}

fn table(report: &Report) -> String {
    let mut table =
        "<table><tr><th>resource<th>attack<th>limit<th>got<th>neighbour, p50<th>p99<th>verdict<th>why<th>what would mend it</tr>"
            .to_owned();
    for row in &report.rows {
        let limit = row.seen.limit.map_or_else(String::new, |limit| amount(row.attack.unit, limit));
        let class = row.verdict.word().replace(' ', "-");
        let _ = write!(
            table,
            "<tr><td>{}<td>{}: {}<td>{limit}<td>{}<td>{}<td>{}<td class=\"{class}\">{}<td>{}<td>{}</tr>",
            row.attack.family.word(),
            row.attack.name,
            escaped(row.attack.what),
            if row.got() == 0 { String::new() } else { amount(row.attack.unit, row.got()) },
            escaped(&row.lost(|one| one.p50)),
            escaped(&row.lost(|one| one.p99)),
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
        let report =
            Report { runtime: "tsubo", subject: "<x>".to_owned(), rows: Vec::new(), notes: Vec::new() };
        let page = draw(&report, &[], &[], &Gauges::new(std::path::Path::new("/")));
        assert!(page.contains("&lt;x&gt;") && page.ends_with("</html>\n"), "{page}");
    }
}
