//! The command `tsubo-oci`: what engines start containers by (OCI runtime-spec).
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

/// Prints a line. A reader that has gone away, as `grep -q` does, is no failure.
macro_rules! say {
    ($($line:tt)*) => {
        drop(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($line)*))))
    };
}

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

sys::program!(run);

fn run() -> u8 {
    cli::run(std::env::args_os())
}
