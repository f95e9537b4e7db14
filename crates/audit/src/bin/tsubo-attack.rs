//! The program `tsubo-attack`: what a container runs that attacks its own limits, and the neighbour
//! that feels it. `tsubo audit` starts both.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

sys::program!(run);

fn run() -> u8 {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("neighbour") => audit::neighbour::run(words.get(1).map_or("/var/tmp", String::as_str)),
        // For who only wants to start programs.
        Some("nothing") => 0,
        Some(_) => audit::inside::run(&words),
        None => {
            eprintln!("tsubo-attack is started by tsubo audit, in a container");
            2
        }
    }
}
