//! `tsubo stop`: ask a container to stop, and end it if it does not.

use std::time::Duration;

use lifecycle::{Containers, Status};
use spec::{Error, Result};

use super::Place;
use crate::ui;

/// Ask containers to stop with their stop signal; end them if they do not in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo stop web\n  tsubo stop -t 60 db            give it a minute\n")]
pub struct Args {
    /// How long it may take before it is killed
    #[arg(short, long, value_name = "SECS", default_value_t = 10)]
    pub time: u64,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb. One failure does not keep the others from being stopped.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        let container = containers.find(name)?;
        // Stopping what has ended is no error, as with Docker.
        if !matches!(container.status()?, Status::Exited(_)) {
            container
                .stop(Duration::from_secs(args.time))
                .or_else(|error| ended_meanwhile(&container, error))?;
        }
        ui::line(name);
        Ok(())
    })
}

fn ended_meanwhile(container: &lifecycle::Container, error: Error) -> Result<()> {
    match container.status() {
        Ok(Status::Exited(_)) => Ok(()),
        _ => Err(error),
    }
}
