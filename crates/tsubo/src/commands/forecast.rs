//! How limits follow from what tests used, for people: the curve, and a line for each step.

use spec::limits::{self, Limits, MARGIN, Reasoning, rounded};
use spec::observation::{Curve, Point};
use spec::portable::Portable;

use crate::ui;

/// Columns of a graph.
const WIDTH: usize = 24;

/// The lines; none where nothing was seen and nothing is said.
pub fn lines(portable: &Portable, curve: &Curve) -> Vec<String> {
    let Some(used) = &portable.used else { return before(portable).into_iter().collect() };
    let all = limits::reasoning(used);
    let time = used.millis as f64 / 1000.0;
    let mut lines = vec![format!("used in tests ({time:.1} s watched), and the limits that follow:")];
    let widest = all.iter().map(|one| graph(one, curve).chars().count()).max().unwrap_or(0);
    lines.extend(all.iter().map(|one| {
        let (graph, text) = (graph(one, curve), text(one, portable));
        let gap = if widest > 0 { "  " } else { "" };
        format!("  {:<9}  {graph}{:>2$}{gap}{text}", one.resource, "", widest - graph.chars().count())
    }));
    lines.push(format!(
        "  {MARGIN} times, since an exercise is not the worst day; tsubo run --memory, --pids-limit say otherwise"
    ));
    lines
}

/// Of a package that has its limits and not what they follow from.
fn before(portable: &Portable) -> Option<String> {
    let Limits { memory, pids, .. } = portable.forecast.clone().merged(portable.limits.clone());
    let words = [memory.map(|size| format!("memory {size}")), pids.map(|count| format!("{count} processes"))];
    let words: Vec<String> = words.into_iter().flatten().collect();
    let why = format!("{MARGIN} times the most that its tests used, or what its definition says");
    (!words.is_empty()).then(|| {
        format!("limits: {} ({why}; tsubo run --memory, --pids-limit say otherwise)", words.join(", "))
    })
}

fn text(one: &Reasoning, portable: &Portable) -> String {
    let amount = |number: u64| amount(one.unit, number);
    let observed = amount(one.observed);
    let seen = match (one.resource, one.steady) {
        ("memory", Some(steady)) => format!("{observed} at most, {} at rest", amount(steady)),
        ("processor", Some(busiest)) => {
            format!("{observed} on average, {} in its busiest second", amount(busiest))
        }
        ("processor", None) => format!("{observed} on average"),
        ("files", _) => format!("{observed} open in the fullest process"),
        ("written", _) => format!("{observed} to files"),
        _ => format!("{observed} at most"),
    };
    match (one.margin, one.limit) {
        (Some(margin), Some(limit)) => {
            let product = whole(one.unit, one.observed.saturating_mul(margin));
            let least = one.least.filter(|least| *least > product);
            let least =
                least.map_or_else(String::new, |least| format!(", and no less than {}", amount(least)));
            let follows = format!("{seen}; {margin} x {observed} = {}{least}", amount(product));
            match said(one.resource, &portable.limits) {
                Some(said) => format!("{follows}; but its definition says {said}"),
                None => format!("{follows}: limit {}", amount(limit)),
            }
        }
        _ => format!("{seen}: no limit ({})", one.why_none.unwrap_or_default()),
    }
}

/// Memory counts in whole MiB.
fn whole(unit: &str, number: u64) -> u64 {
    if unit == "bytes" { number.div_ceil(1 << 20).saturating_mul(1 << 20) } else { number }
}

/// What the definition says instead.
fn said(resource: &str, limits: &Limits) -> Option<String> {
    match resource {
        "memory" => limits.memory.map(|size| size.to_string()),
        "processes" => limits.pids.map(|count| count.to_string()),
        _ => None,
    }
}

fn amount(unit: &str, number: u64) -> String {
    match unit {
        "bytes" => rounded(number),
        "thousandths" => format!("{:.2}", number as f64 / 1000.0),
        _ => number.to_string(),
    }
}

fn graph(one: &Reasoning, curve: &Curve) -> String {
    let values: Vec<Option<f64>> = match one.resource {
        "memory" => columns(curve, |_, point| point.memory as f64),
        "processes" => columns(curve, |_, point| point.tasks as f64),
        "processor" => columns(curve, |before, point| {
            let time = point.millis.saturating_sub(before.millis).max(1);
            point.cpu.saturating_sub(before.cpu) as f64 / time as f64
        }),
        _ => Vec::new(),
    };
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    ui::graph::bars(&values, most)
}

/// The most in each of equal parts of the time; a part without a point is as the one before.
fn columns(curve: &Curve, value: impl Fn(&Point, &Point) -> f64) -> Vec<Option<f64>> {
    let points = curve.points();
    let Some(end) = points.iter().map(|point| u128::from(point.millis) + 1).max() else { return Vec::new() };
    let width = WIDTH.min(points.len());
    let mut columns: Vec<Option<f64>> = vec![None; width];
    let mut before = &Point::default();
    for point in points {
        let at = (u128::from(point.millis) * width as u128 / end) as usize;
        let value = value(before, point);
        if let Some(column) = columns.get_mut(at) {
            *column = Some(column.map_or(value, |other| other.max(value)));
        }
        before = point;
    }
    let mut last = None;
    columns.iter_mut().for_each(|column| {
        *column = column.or(last);
        last = *column;
    });
    columns
}

#[cfg(test)]
mod tests {
    use spec::observation::{Peak, Used};

    use super::*;

    fn curve(points: &[[u64; 4]]) -> Curve {
        let mut curve = Curve::default();
        points.iter().for_each(|point| curve.add((*point).into()));
        curve
    }

    #[test]
    fn from_what_was_seen_to_the_limit() {
        let mut portable = Portable::new("web".parse().expect("name"), vec!["x".into()]);
        assert!(lines(&portable, &Curve::default()).is_empty());
        let peak = Peak { memory: 50 << 20, tasks: 3, files: 9 };
        portable.used =
            Some(Used { peak, steady: 40 << 20, cpu: 500, busiest: 400, written: 0, millis: 2000 });
        portable.limits.pids = Some("7".parse().expect("count"));
        let curve = curve(&[[0, 1 << 20, 1, 0], [1000, 50 << 20, 3, 400], [2000, 40 << 20, 3, 500]]);
        let text = lines(&portable, &curve).join("\n");
        for word in [
            "memory     ▁█▇  50M at most, 40M at rest; 4 x 50M = 200M: limit 200M",
            "processes  ▃██  3 at most; 4 x 3 = 12, and no less than 64; but its definition says 7",
            "processor  ▁█▃  0.25 on average, 0.40 in its busiest second: no limit",
            "files           9 open in the fullest process: no limit",
            "2.0 s watched",
        ] {
            assert!(text.contains(word), "{word:?} is not in:\n{text}");
        }
    }

    #[test]
    fn a_curve_of_anybodys_making_is_shown_somehow() {
        for points in [vec![[u64::MAX; 4]], vec![[5, 1, 1, 9], [3, 0, 0, 0], [u64::MAX, 7, 7, 7]]] {
            let text = serde_json::to_string(&points).expect("json");
            let curve: Curve = serde_json::from_str(&text).expect("a curve");
            let columns = columns(&curve, |_, point| point.memory as f64);
            assert!(columns.len() <= WIDTH && !columns.is_empty());
        }
    }
}
