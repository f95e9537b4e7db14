//! Tables without borders, as `ps` has them.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with these column heads.
pub fn new(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heads);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Prints it without trailing blanks.
pub fn print(table: &Table) {
    for line in table.to_string().lines() {
        super::line(super::error::printable(line.trim_end()));
    }
}

/// A text that stays on its line.
pub fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
