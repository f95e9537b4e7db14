//! Figures in words that fit into columns.

use std::collections::VecDeque;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is not known.
pub(crate) const DASH: &str = "-";

/// The last values as bars, the highest for `most`.
pub(crate) fn bars(values: &VecDeque<f64>, width: usize, most: f64) -> String {
    let bar = |value: &f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        BARS[((share * (BARS.len() - 1) as f64).round() as usize).min(BARS.len() - 1)]
    };
    let shown = values.len().min(width);
    let bars: String = values.iter().skip(values.len() - shown).map(bar).collect();
    format!("{bars:>width$}")
}

/// The last values in whole numbers, as the widget takes them.
pub(crate) fn whole(values: &VecDeque<f64>, width: usize) -> Vec<u64> {
    let shown = values.len().min(width);
    values.iter().skip(values.len() - shown).map(|value| (value * 10.0) as u64).collect()
}

/// The largest.
pub(crate) fn most(values: &VecDeque<f64>) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

pub(crate) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_owned(), |value| format!("{value:.1}%"))
}

pub(crate) fn number(value: Option<u64>) -> String {
    value.map_or_else(|| DASH.to_owned(), |value| value.to_string())
}

pub(crate) fn size(value: Option<u64>) -> String {
    value.map_or_else(|| DASH.to_owned(), |bytes| humansize::format_size(bytes, humansize::DECIMAL))
}

pub(crate) fn rate(value: Option<f64>) -> String {
    size(value.map(|value| value as u64))
}

pub(crate) fn load(value: Option<[f64; 3]>) -> String {
    value.map_or_else(|| DASH.to_owned(), |[one, ..]| format!("{one:.2}"))
}

pub(crate) fn loads(value: Option<[f64; 3]>) -> String {
    value.map_or_else(|| DASH.to_owned(), |[one, five, fifteen]| format!("{one:.2} {five:.2} {fifteen:.2}"))
}

/// Names of images come from elsewhere.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_of_the_last_values() {
        let values: VecDeque<f64> = [9.0, 0.0, 5.0, 10.0].into();
        assert_eq!(bars(&values, 3, 10.0), "▁▅█");
        assert_eq!(bars(&values, 6, 10.0), "  ▇▁▅█");
        assert_eq!(whole(&values, 2), [50, 100]);
    }
}
