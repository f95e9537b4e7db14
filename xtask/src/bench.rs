//! `./x bench`: measured beside the floor and the peers, in one run, as ratios.

use crate::shell::Result;

pub(crate) fn run(_args: &[String]) -> Result {
    Err("being written".into())
}
