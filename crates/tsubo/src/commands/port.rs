//! `tsubo port`: which ports of the host lead to a container.

use lifecycle::Containers;
use serde_json::json;
use spec::{Error, Result};

use super::Place;
use super::network_words::{Passed, is_relayed, passed};
use crate::ui;

/// Show which ports of the host lead to a container.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo port web\n  tsubo port web 80                               where its port 80 is on the host\n  tsubo port web 53/udp --format json\n"
)]
pub struct Args {
    /// A container, by name or id
    pub name: String,

    /// A port of the container, as in 80 or 53/udp
    #[arg(value_name = "PORT[/udp]")]
    pub port: Option<String>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let container = Containers::of(&place.home()?).find(&args.name)?;
    let status = container.status()?;
    let relayed = is_relayed(&status);
    let mut all = passed(container.record(), &status);
    if let Some(port) = &args.port {
        let wanted = if port.contains('/') { port.to_lowercase() } else { format!("{port}/tcp") };
        all.retain(|one| one.inside() == wanted);
        if all.is_empty() {
            return Err(Error::not_found(format!(
                "no port of the host leads to {wanted} of {}",
                container.name()
            ))
            .hint(format!("tsubo port {} lists them", container.name())));
        }
    }
    if args.format.is_json() {
        let rows: Vec<_> = all
            .iter()
            .map(|Passed(port)| {
                json!({ "address": port.address, "host_port": (port.host != 0).then_some(port.host),
                    "container_port": port.container, "protocol": port.protocol.word(), "relayed": relayed })
            })
            .collect();
        ui::json(&rows)?;
        return Ok(0);
    }
    for one in &all {
        ui::line(match args.port {
            Some(_) => one.outside(),
            None if relayed => format!("{} -> {} (relayed)", one.inside(), one.outside()),
            None => format!("{} -> {}", one.inside(), one.outside()),
        });
    }
    Ok(0)
}
