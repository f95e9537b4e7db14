//! The table of subcommands and the help that is made from it.

use std::process::ExitCode;

use crate::shell::{self, Result};
use crate::{bench, build, demo, floors, guest, lint, soak, test};

struct Subcommand {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand { name: "build", usage: "", about: "release programs into dist/", run: build::run },
    Subcommand { name: "demo", usage: "", about: "dev, test, pack, run with a real service", run: demo::run },
    Subcommand {
        name: "test",
        usage: "[--no-guest] [FILTER…]",
        about: "lint, then every test, then those of the guest",
        run: test::run,
    },
    Subcommand {
        name: "guest",
        usage: "[WORD…]",
        about: "tests on Debian's own kernel, in qemu",
        run: guest::run,
    },
    Subcommand { name: "lint", usage: "", about: "fmt, clippy, floors, shell scripts", run: lint::run },
    Subcommand {
        name: "floors",
        usage: "",
        about: "who may import whom, and where unsafe is",
        run: floors::run,
    },
    Subcommand {
        name: "bench",
        usage: "[WHICH…] [--record] [--as-built] [--count=N] [--quick]",
        about: "ratios to the floor and to peers from one run",
        run: bench::run,
    },
    Subcommand {
        name: "soak",
        usage: "[N] [--minutes M] [--only WORD]… [--record] [--list]",
        about: "every test of an attack or a fault up to N times (200)",
        run: soak::run,
    },
    // Not for people: the benchmarks' own far end, so not in the help.
    Subcommand { name: "timer", usage: "-- CMD…", about: "", run: bench::timer },
];

/// Runs the subcommand that `args` name; without one shows the way.
pub(crate) fn main(args: Vec<String>) -> ExitCode {
    let wanted = args.first().map_or("help", String::as_str);
    let Some(found) = SUBCOMMANDS.iter().find(|s| s.name == wanted) else {
        help();
        return if matches!(wanted, "help" | "--help" | "-h") {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(2)
        };
    };
    if let Err(error) = shell::outlive_interrupts() {
        eprintln!("x {wanted}: ^C will not clean up: {error}");
    }
    match (found.run)(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x {wanted}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help() {
    println!("./x COMMAND: builds, tests and shows Tsuboniwa. Missing Debian packages are installed.\n");
    for s in SUBCOMMANDS.iter().filter(|s| !s.about.is_empty()) {
        println!("  ./x {:<64} {}", format!("{} {}", s.name, s.usage), s.about);
    }
    println!("\nStart with ./x demo, or ./x build and then dist/tsubo.");
}
