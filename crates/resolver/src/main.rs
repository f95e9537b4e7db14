//! The program `tsubo-resolver`: one for each network whose containers find each other by name.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    // Whoever begins it may have blocked signals, which programs inherit: it would not hear that it is to end.
    sys::signal::unblock_all();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    resolver::place::main(&words)
}
