//! The command `tsubo`: watch a service, ship what it used, run that anywhere.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod cli;
mod commands;
mod quick;
mod ui;

sys::program!(run);

fn run() -> u8 {
    cli::run(std::env::args_os())
}
