//! `tsubo kill`: send a signal to a container.

use lifecycle::Containers;
use spec::Result;

use super::{Place, run};
use crate::ui;

/// Send a signal to the first process of containers; SIGKILL if no other is named.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tsubo kill web\n  tsubo kill -s HUP web          reload, as many services understand it\n"
)]
pub struct Args {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = run::signal)]
    pub signal: i32,

    /// Names or ids of containers
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    super::for_each(&args.names, |name| {
        containers.find(name)?.kill(args.signal)?;
        ui::line(name);
        Ok(())
    })
}
