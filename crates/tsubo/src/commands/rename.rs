//! `tsubo rename`: give a container another name.

use lifecycle::Containers;
use spec::{Name, Result};

use super::Place;

/// Give a container another name; its declared volumes go along, its host name stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo rename web web-old\n")]
pub struct Args {
    /// Name or id of the container
    pub container: String,

    /// The new name
    pub name: Name,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    Containers::of(&place.home()?).find(&args.container)?.rename(&args.name)?;
    Ok(0)
}
