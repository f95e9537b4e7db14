//! `tsubo restart`: stop containers and start them again.

use std::time::Duration;

use lifecycle::Containers;
use spec::Result;

use super::{Place, start};
use crate::ui;

/// Stop containers, if they run, and start them again as they were made.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo restart web\n  tsubo restart -t 60 db         give it a minute to stop\n"
)]
pub struct Args {
    /// How long stopping may take before it is killed
    #[arg(short, long, value_name = "SECS", default_value_t = 10)]
    pub time: u64,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb. One failure does not keep the others from being restarted.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        let container = containers.find(name)?;
        container.restart(Duration::from_secs(args.time), start::launch(&container, false))?;
        ui::line(name);
        Ok(())
    })
}
