//! The program `tsubo-hook`: does one hook, or computes a definition.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

sys::program!(run);

fn run() -> u8 {
    0
}
