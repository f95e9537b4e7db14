//! `tsubo group`: groups of containers that share limits.

use clap::Subcommand;
use lifecycle::Containers;
use lifecycle::tenants::{Tenants, members};
use serde_json::json;
use spec::limits::GroupName;
use spec::{Name, Result};

use super::Place;
use super::limit_flags::LimitFlags;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo group set tenant-a --memory 2g --cpus 1.5 --pids-limit 500
  tsubo group set tenant-a/batch --cpu-weight 20      a group inside it
  tsubo run -d --group tenant-a web.tsubo             what all in it use together is limited
  tsubo group set tenant-a --memory 3g                changed at once, for those that run too
  tsubo group ls
  tsubo group rm tenant-a/batch
";

/// Groups of containers that share limits.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

/// What is done about them.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Make a group, or change its limits; what is not named stays
    Set {
        /// As in tenant-a, or tenant-a/web for one inside another
        name: GroupName,

        #[command(flatten)]
        limits: Box<LimitFlags>,
    },
    /// List groups with their limits and containers
    Ls {
        #[command(flatten)]
        format: ui::FormatArg,
    },
    /// Forget groups that no container is in
    Rm {
        /// Names of groups
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let (tenants, containers) = (Tenants::of(&home), Containers::of(&home));
    match args.what {
        What::Set { name, limits } => {
            tenants.set(&name, limits.layer()?)?;
            ui::line(name.to_string());
            Ok(0)
        }
        What::Ls { format } => list(&tenants, &containers, format.is_json()),
        What::Rm { names } => super::for_each(&names, |name| {
            tenants.remove(&name.parse()?, &containers)?;
            ui::line(name);
            Ok(())
        }),
    }
}

fn list(tenants: &Tenants, containers: &Containers, as_json: bool) -> Result<u8> {
    let (mut rows, mut table) = (Vec::new(), ui::table::new(&["GROUP", "LIMITS", "CONTAINERS"]));
    for (name, limits) in tenants.all()? {
        let members = members(&name, containers)?;
        let words = serde_json::to_value(&limits).unwrap_or_default();
        let shown: Vec<String> = words
            .as_object()
            .into_iter()
            .flatten()
            .map(|(word, value)| format!("{word}={}", plain(value)))
            .collect();
        let list = members.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
        table.add_row([name.to_string(), shown.join(" "), list]);
        rows.push(json!({ "name": name, "limits": words, "containers": members }));
    }
    if as_json {
        ui::json(&rows)?;
    } else {
        ui::table::print(&table);
    }
    Ok(0)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
