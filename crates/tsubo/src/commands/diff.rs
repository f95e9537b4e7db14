//! `tsubo diff`: what a container has changed.

use std::collections::BTreeMap;

use lifecycle::{Containers, Status};
use serde_json::json;
use spec::observation::Written;
use spec::{Error, ErrorKind, Name, Result, ResultExt, RootPath};
use workshop::changes;

use super::Place;
use crate::ui;

/// Show what a running container has changed in its fresh directories, or a development container in its base.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo diff web                 A added, C changed, D removed\n  tsubo diff --dev web           what was built into the development container\n"
)]
pub struct Args {
    /// The development container of this name
    #[arg(long)]
    pub dev: bool,

    /// Name or id
    pub name: String,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let found = match args.dev {
        true => development(&args.name.parse()?, place)?,
        false => match Containers::of(&place.home()?).find(&args.name) {
            Ok(container) => match container.status()? {
                Status::Running(running) => changes::of_running(running.first.pid, &container.record().spec)?,
                _ => {
                    return Err(Error::conflict(format!(
                        "container {} is not running: what it wrote in memory is gone",
                        args.name
                    ))
                    .hint("what it wrote in volumes is there: tsubo cp NAME:/PLACE - | tar -t"));
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => match args.name.parse::<Name>() {
                Ok(name) if place.developments()?.exists(&name) => development(&name, place)?,
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        },
    };
    show(&found, args.format.is_json())?;
    Ok(0)
}

fn development(name: &Name, place: &Place) -> Result<BTreeMap<RootPath, Written>> {
    let development = place.developments()?.open(name)?;
    sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
    changes::of_development(&development)
}

fn show(found: &BTreeMap<RootPath, Written>, json: bool) -> Result<()> {
    let letter = |written: &Written| match written {
        Written::Created { .. } => Some("A"),
        Written::Changed { .. } => Some("C"),
        Written::Removed => Some("D"),
        Written::Entries => None,
    };
    let rows = found.iter().filter_map(|(path, written)| Some((letter(written)?, path)));
    if json {
        return ui::json(&rows.map(|(kind, path)| json!({ "kind": kind, "path": path })).collect::<Vec<_>>());
    }
    rows.for_each(|(kind, path)| ui::line(format!("{kind} {path}")));
    Ok(())
}
