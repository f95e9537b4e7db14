//! `./x bench gateway`: services that come when they are called, beside the floor, the peers and what always runs.

mod asked;
mod cold;
mod day;
mod fleet;
mod gate;
mod many;
mod packed;
mod process;
mod step;
mod storm;
mod warm;

use std::path::{Path, PathBuf};

use super::runtimes::{self, Ground};
use super::{Ask, Findings, State};
use crate::shell::{self, Result};

pub(crate) const NAME: &str = "gateway";

/// Tables, and what to know when reading them.
struct Part {
    tables: Vec<Vec<Vec<String>>>,
    note: &'static str,
}

type Measure = fn(&Ask, &Home) -> Result<Part>;

/// Each of them says alone what it says among the others. Memory first: the kernel never forgets how much it once held.
const PARTS: [(&str, Measure); 7] = [
    ("fleet", fleet::measure),
    ("many", many::measure),
    ("cold", cold::measure),
    ("warm", warm::measure),
    ("storm", storm::measure),
    ("step", step::measure),
    ("day", day::measure),
];

/// Whether a word of the command line means one of them.
pub(crate) fn has_part(word: &str) -> bool {
    PARTS.iter().any(|part| part.0 == word)
}

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let home = Home::new(ask)?;
    let (mut tables, mut notes) = (Vec::new(), Vec::new());
    for (name, measure) in PARTS {
        if !ask.parts.is_empty() && !ask.parts.iter().any(|part| part == name) {
            continue;
        }
        shell::unless_interrupted()?;
        // One that does not work here is said and left out: the others are as good without it.
        match measure(ask, &home) {
            Ok(part) => {
                tables.extend(part.tables);
                notes.push(part.note.to_owned());
            }
            Err(error) => println!("SKIPPED: {name}: {error}"),
        }
        shell::unless_interrupted()?;
    }
    Ok(Findings { title: "Gateway: containers that come when they are called", tables, notes })
}

/// The programs of this benchmark, and the state of the tsubo that it measures.
struct Home {
    state: State,
    ground: Ground,
}

impl Home {
    fn new(ask: &Ask) -> Result<Self> {
        let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
        let ground = Ground::lay(&state.file("g"))?;
        runtimes::compile(NAME, &["server.c"], &ground.root.join("bin/server"))?;
        for program in ["ask", "day"] {
            runtimes::compile(NAME, &[&format!("{program}.c")], &ground.dir.join(program))?;
        }
        Ok(Self { state, ground })
    }

    /// The small server, on this host.
    fn server(&self) -> PathBuf {
        self.ground.root.join("bin/server")
    }
}

/// Milliseconds as people read them.
fn milliseconds(value: f64) -> String {
    format!("{value:.2}")
}

/// A port that nobody has, if nobody takes it at this very moment.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
