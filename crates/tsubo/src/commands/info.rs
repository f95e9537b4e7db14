//! `tsubo info`: what this host can do, what is missing, and why it matters.

mod counts;
mod limits;

use serde_json::json;
use spec::Result;
use workshop::host::{self, Fact};

use super::Place;
use crate::ui;

/// Show what this host can do, what is missing, and why it matters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo info\n  tsubo info --format json\n")]
pub struct Args {
    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let mut facts = host::facts();
    facts.extend(counts::facts());
    let limits = limits::Limits::look()?;
    let state =
        place.home().map(|home| home.lib().display().to_string()).unwrap_or_else(|error| error.chain());
    if args.format.is_json() {
        let rows = facts.iter().map(|fact| json!({ "name": fact.name, "present": fact.present, "value": fact.value, "matters": fact.matters }));
        ui::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": state,
            "facts": rows.collect::<Vec<_>>(),
            "limits": limits.json(),
        }))?;
        return Ok(0);
    }
    ui::line(format!("tsubo {}, state in {state}\n", env!("CARGO_PKG_VERSION")));
    let mut table = ui::table::new(&["HOST", "", "WHY IT MATTERS"]);
    for Fact { name, present, value, matters } in &facts {
        let mark = if *present { value.clone() } else { format!("missing: {value}") };
        table.add_row([(*name).to_owned(), mark, (*matters).to_owned()]);
    }
    ui::table::print(&table);
    limits.print();
    Ok(0)
}
