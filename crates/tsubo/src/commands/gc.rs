//! `tsubo gc`: clean up what killed commands have left behind.

use lifecycle::Containers;
use spec::Result;

use super::Place;
use crate::ui;

/// Clean up what killed commands and keepers have left: control groups, run directories, half-made containers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  tsubo gc\n")]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: &Args, place: &Place) -> Result<u8> {
    let home = place.home()?;
    let mut removed = Containers::of(&home).gc()?;
    // Opening the store collects what killed installations left.
    place.store()?;
    removed.extend(place.developments()?.collect()?);
    removed.extend(super::audit::collect(place)?);
    removed.iter().for_each(|what| ui::line(format!("removed {what}")));
    ui::line(format!("{} leftovers removed", removed.len()));
    Ok(0)
}
