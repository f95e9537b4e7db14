//! `tsubo unpause`: let the processes of paused containers go on.

use lifecycle::Containers;
use spec::Result;

use super::Place;
use crate::ui;

/// Let the processes of paused containers go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo unpause db\n")]
pub struct Args {
    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        containers.find(name)?.unpause()?;
        ui::line(name);
        Ok(())
    })
}
