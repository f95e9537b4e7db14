//! `tsubo signal`: have the hooks of a signal done.

use lifecycle::Containers;
use spec::Result;

use super::{Place, run};
use crate::ui;

/// Have the hooks of a signal done; the container's processes hear nothing of it (that is `tsubo kill -s`).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo signal web USR1          does the hooks that wait for it (when = \"signal USR1\")\n  tsubo hooks web                shows how they went\n"
)]
pub struct Args {
    /// Name or id of the container
    pub name: String,

    /// The signal, by name or number
    #[arg(value_name = "SIGNAL", value_parser = run::signal)]
    pub signal: i32,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    Containers::of(&place.home()?).find(&args.name)?.fire(args.signal)?;
    ui::line(&args.name);
    Ok(0)
}
