//! The program `tsubo-audit`, which `tsubo audit` executes: a container attacks its own limits, and the
//! host shows what it lost. It is one of its own because `tsubo` starts containers, and stays small for that.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

sys::program!(run);

fn run() -> u8 {
    audit::host::cli::run()
}
