//! Numbers, bars and tables for people; colours only on a terminal.

use std::io::IsTerminal;

/// Bytes with a decimal unit, three digits or so: `10.1 MB`.
pub(crate) fn bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// A bar of `width` cells, of which `share` (0 to 1) is full; what is not zero shows something.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let full = if share > 0.0 { full.max(1) } else { 0 };
    format!("{}{}", "█".repeat(full), "░".repeat(width - full))
}

/// Lays rows out in columns, the first to the left and the others to the right.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(i, (c, w))| if i == 0 { format!("{c:<w$}") } else { format!("{c:>w$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same rows as a Markdown table; the first row is the head.
pub(crate) fn markdown(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| format!("| {} |", row.join(" | "));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if let Some(head) = rows.first() {
        lines.insert(1, format!("|{}", " --- |".repeat(head.len())));
    }
    lines.join("\n")
}

/// Wraps `text` in an ANSI style (`1` bold, `32` green, …) where stdout is a terminal.
pub(crate) fn paint(style: &str, text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal();
    if plain { text.to_owned() } else { format!("\x1b[{style}m{text}\x1b[0m") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_bars_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(10_140_000), "10.1 MB");
        assert_eq!(bar(0.5, 4), "██░░");
        assert_eq!(bar(0.001, 4), "█░░░");
        assert_eq!(bar(0.0, 2), "░░");
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["long".into(), "22".into()]];
        assert_eq!(columns(&rows), "a      1\nlong  22");
        assert_eq!(markdown(&rows), "| a | 1 |\n| --- | --- |\n| long | 22 |");
    }
}
