//! The program `tsubod`, which `tsubo gateway` executes. It is one of its own because `tsubo` starts
//! containers, and stays small for that.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod check;
mod cli;
mod serve;
mod status;

sys::program!(run);

fn run() -> u8 {
    cli::run()
}
