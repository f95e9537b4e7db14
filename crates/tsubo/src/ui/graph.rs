//! Graphs of one line.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar for each value, the highest for `most`; a blank for what is not known.
pub fn bars(values: &[Option<f64>], most: f64) -> String {
    let bar = |value: f64| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        let at = (share * (BARS.len() - 1) as f64).round() as usize;
        BARS[at.min(BARS.len() - 1)]
    };
    values.iter().map(|value| value.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn as_high_as_the_values() {
        assert_eq!(super::bars(&[Some(0.0), None, Some(5.0), Some(10.0)], 10.0), "▁ ▅█");
        assert_eq!(super::bars(&[Some(0.0)], 0.0), "▁");
    }
}
