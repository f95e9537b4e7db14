//! `tsubo wait`: wait for the end of containers.

use lifecycle::Containers;
use spec::Result;

use super::Place;
use crate::ui;

/// Wait until containers have ended for good, and print their exit codes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo wait job                 prints its exit code, one line for each name\n  test \"$(tsubo wait job)\" = 0\n"
)]
pub struct Args {
    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        ui::line(containers.find(name)?.wait()?.to_string());
        Ok(())
    })
}
