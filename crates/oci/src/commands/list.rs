//! `tsubo-oci list`: every container of a root.

use serde_json::Value;
use spec::{Error, Result};

use super::state::document;
use crate::cli::{Context, Verb};
use crate::container::Container;
use crate::line::{Line, Reach, switch, value};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "list",
    words: "",
    about: "List the containers",
    flags: &[
        value("format", Some('f'), "FORM", "table or json"),
        switch("quiet", Some('q'), "only their ids"),
    ],
    reach: Reach::All,
    example: "  tsubo-oci list\n  tsubo-oci list --format json",
    run,
};

/// Heads, and the fields below them.
const COLUMNS: [(&str, &str); 6] = [
    ("ID", "id"),
    ("PID", "pid"),
    ("STATUS", "status"),
    ("BUNDLE", "bundle"),
    ("CREATED", "created"),
    ("OWNER", "owner"),
];

fn run(context: &Context, line: &Line) -> Result<u8> {
    line.no_words()?;
    let mut all = Vec::new();
    for id in context.home.ids()? {
        let found = Container::find(&context.home, &id);
        match found.and_then(|container| container.as_ref().map(document).transpose()) {
            Ok(one) => all.extend(one),
            Err(error) => context.log.warning(&error.chain()),
        }
    }
    match line.text("format").unwrap_or("table") {
        _ if line.on("quiet") => all.iter().for_each(|one| say!("{}", text(&one["id"]))),
        "json" => {
            let list = serde_json::to_string(&all);
            say!("{}", list.map_err(|cause| Error::internal("encoding the list").because(cause))?);
        }
        "table" => table(&all),
        other => return Err(Error::user(format!("--format {other}: there are table and json"))),
    }
    Ok(0)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn table(all: &[Value]) {
    let mut rows: Vec<Vec<String>> = vec![COLUMNS.iter().map(|(head, _)| (*head).to_owned()).collect()];
    rows.extend(all.iter().map(|one| COLUMNS.iter().map(|(_, name)| text(&one[*name])).collect()));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say!("{}", cells.join("  ").trim_end());
    }
}
