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
    let containers = Containers::of(&home);
    let mut removed = containers.gc()?;
    // Opening the store collects what killed installations left.
    place.store()?;
    removed.extend(place.developments()?.collect()?);
    removed.extend(super::audit::collect(place)?);
    let (taken_back, mut stuck) = containers.take_back_from_others()?;
    removed.extend(taken_back);
    removed.iter().for_each(|what| ui::line(format!("removed {what}")));
    ui::line(format!("{} leftovers removed", removed.len()));
    let last = stuck.pop();
    stuck.iter().for_each(ui::error::show);
    last.map_or(Ok(0), Err)
}
