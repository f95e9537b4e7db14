//! `tsubo audit`: a container attacks its own limits, and the host shows what it lost.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use spec::{Error, Result};

use super::Place;

/// The program that audits.
const AUDIT: &str = "tsubo-audit";

/// Let a container attack its own limits, and show what the host and a neighbour lose by that.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What tsubo-audit understands: tsubo audit --help shows it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<OsString>,
}

/// Executes the program beside us that audits: what starts containers does not carry it. Returns only
/// where that cannot be done.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let program = match std::env::current_exe() {
        Ok(own) => own.with_file_name(AUDIT),
        Err(cause) => return Err(Error::io("looking for our own program", cause)),
    };
    let mut command = Command::new(&program);
    if let Some(root) = place.root() {
        command.arg("--root").arg(root);
    }
    Err(match command.args(&args.args).exec() {
        cause if cause.kind() == ErrorKind::NotFound => {
            Error::unsupported(format!("the program {} is not there", program.display()))
                .hint("install tsubo-audit and tsubo-attack beside tsubo")
        }
        cause => Error::io(format!("executing {}", program.display()), cause),
    })
}
