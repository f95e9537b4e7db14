//! The program `tsubo-top`, which `tsubo top` executes: all containers on a terminal screen, as they
//! change. It is one of its own because `tsubo` starts containers, and stays small for that.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod app;
mod cli;
mod depth;
mod list;
mod past;
mod words;

sys::program!(run);

fn run() -> u8 {
    cli::run()
}
