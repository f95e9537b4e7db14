//! `tsubo gateway`: services that start when they are called.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use spec::Result;

use super::{Place, sister};

/// The program that serves.
const DAEMON: &str = "tsubod";

/// Serve requests, and start the containers that answer them when they come.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What tsubod understands: tsubo gateway --help shows it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<OsString>,
}

/// Executes the program beside us that serves: what starts containers does not carry it. Returns only
/// where that cannot be done.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let cause = sister::command(DAEMON, place).args(&args.args).exec();
    Err(sister::missing(DAEMON, DAEMON, cause))
}
