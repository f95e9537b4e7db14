//! The program `tsubo-hook`: does one hook, or computes a definition. It is one of its own because it links a
//! scripting engine, and what starts containers stays small.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod bundle;
mod cli;
mod context;
mod eval;
mod facts;
mod fire;
mod follow_up;
mod last;
mod policy;
mod processes;
mod program;
mod reach;
mod repl;
mod scripted;
mod test;
mod try_out;

sys::program!(run);

fn run() -> u8 {
    cli::run()
}
