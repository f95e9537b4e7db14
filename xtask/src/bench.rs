//! `./x bench`: measured beside the floor and the peers, in one run, as ratios.
//!
//! Absolute times drift from day to day; only what was measured in the same run may be compared.

mod burst;
mod crowd;
mod exec;
mod fleet;
mod footprint;
mod gateway;
mod hooks;
mod machine;
mod minimal;
mod net;
mod oci;
mod pack;
mod parts;
mod runtimes;
mod sampler;
mod samples;
mod services;
mod size;
mod start;
mod state;
mod timer;
mod watch;
mod wrk;

pub(crate) use state::State;
pub(crate) use timer::run as timer;

use std::path::PathBuf;

use crate::shell::{self, Result};
use crate::{apt, build, house, table};

/// What one benchmark found: a title, tables for people, and what to know when reading them.
pub(crate) struct Findings {
    title: &'static str,
    tables: Vec<Vec<Vec<String>>>,
    notes: Vec<String>,
}

/// What the command line wants.
pub(crate) struct Ask {
    /// Where the programs are.
    dist: PathBuf,
    /// How many containers, where the benchmark does not decide.
    count: Option<u32>,
    /// Few rounds, to see whether a benchmark works.
    quick: bool,
    /// Which parts of a benchmark that has several; all, where none is named.
    parts: Vec<String>,
}

type Bench = (&'static str, fn(&Ask) -> Result<Findings>);

const BENCHES: [Bench; 15] = [
    ("start", start::run),
    ("parts", parts::run),
    ("burst", burst::run),
    ("exec", exec::run),
    ("oci", oci::run),
    // Before the crowd: the kernel never forgets how many mounts there were at once.
    ("footprint", footprint::run),
    ("crowd", crowd::run),
    ("net", net::run),
    (gateway::NAME, gateway::run),
    ("sampler", sampler::run),
    ("hooks", hooks::run),
    ("size", |ask| size::run(&ask.dist)),
    ("minimal", |ask| minimal::run(&ask.dist)),
    ("watch", |ask| watch::run(&ask.dist)),
    ("pack", |ask| pack::run(&ask.dist)),
];

/// Runs the named benchmarks, or all; `--record` adds what they found to docs/benchmarks.md,
/// `--as-built` takes `dist/` as it is, `--dist=DIR` others, `--count=N` so many containers,
/// `--quick` few rounds. Behind `gateway` the names of its parts.
pub(crate) fn run(args: &[String]) -> Result {
    let (options, wanted): (Vec<&String>, Vec<&String>) = args.iter().partition(|a| a.starts_with("--"));
    let [record, as_built, quick] =
        ["--record", "--as-built", "--quick"].map(|o| options.iter().any(|a| *a == o));
    let elsewhere = options.iter().find_map(|o| o.strip_prefix("--dist=")).map(PathBuf::from);
    let count = options.iter().find_map(|o| o.strip_prefix("--count=")).map(str::parse).transpose()?;
    let (parts, wanted): (Vec<&String>, Vec<&String>) =
        wanted.into_iter().partition(|word| gateway::has_part(word));
    if let Some(unknown) = wanted.iter().find(|w| BENCHES.iter().all(|b| b.0 != **w)) {
        let names = BENCHES.map(|b| b.0).join(", ");
        return Err(format!("no benchmark is called {unknown}; there are {names}").into());
    }
    if !shell::is_root() {
        return Err("benchmarks need root: sudo would be measured too".into());
    }
    apt::ensure(apt::BENCHES);
    let dist = match elsewhere {
        Some(dist) => dist,
        None if as_built => house::top().join("dist"),
        None => build::release()?,
    };
    machine::warn_if_busy();
    let ask = Ask { dist, count, quick, parts: parts.into_iter().cloned().collect() };
    let mut all = Vec::new();
    for (name, bench) in BENCHES {
        let named = wanted.iter().any(|w| *w == name) || name == gateway::NAME && !ask.parts.is_empty();
        if named || wanted.is_empty() && ask.parts.is_empty() {
            let found = bench(&ask)?;
            println!("\n{}\n", found.text(table::columns));
            all.push(found);
        }
    }
    if record { machine::record(&all) } else { Ok(()) }
}

impl Ask {
    /// So many rounds, or few.
    fn rounds(&self, many: u32) -> u32 {
        if self.quick { many.min(3) } else { many }
    }
}

impl Findings {
    fn text(&self, layout: fn(&[Vec<String>]) -> String) -> String {
        let tables = self.tables.iter().map(|t| layout(t));
        let parts =
            std::iter::once(format!("### {}", self.title)).chain(tables).chain(self.notes.iter().cloned());
        parts.collect::<Vec<_>>().join("\n\n")
    }
}

/// A row of a table.
fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
