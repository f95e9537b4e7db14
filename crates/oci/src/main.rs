//! The command `tsubo-oci`: what engines start containers by (OCI runtime-spec).
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod bundle;
mod cli;
mod commands;
mod console;
mod container;
mod criu;
mod facts;
mod finish;
mod foreground;
mod groups;
mod home;
mod hooks;
mod joining;
mod line;
mod listener;
mod log;
mod net_devices;
mod pid_file;
mod program;
mod record;
mod relay;
mod rootless;
mod setup;
mod signals;

sys::program!(run);

fn run() -> u8 {
    cli::run(std::env::args_os())
}
