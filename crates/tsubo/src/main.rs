//! The command `tsubo`: watch a service, ship what it used, run that anywhere.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
