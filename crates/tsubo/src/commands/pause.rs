//! `tsubo pause`: hold all processes of containers.

use lifecycle::Containers;
use spec::Result;

use super::Place;
use crate::ui;

/// Hold all processes of containers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo pause db; backup; tsubo unpause db\n")]
pub struct Args {
    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        containers.find(name)?.pause()?;
        ui::line(name);
        Ok(())
    })
}
