//! `./x bench`: measured beside the floor and the peers, in one run, as ratios.
//!
//! Absolute times drift from day to day; only what was measured in the same run may be compared.

mod machine;
mod minimal;
mod pack;
mod runtimes;
mod samples;
mod services;
mod size;
mod start;
mod state;
mod timer;
mod watch;

pub(crate) use state::State;
pub(crate) use timer::run as timer;

use crate::shell::{self, Result};
use crate::{apt, build, house, table};

/// What one benchmark found: a title, tables for people, and what to know when reading them.
pub(crate) struct Findings {
    title: &'static str,
    tables: Vec<Vec<Vec<String>>>,
    notes: Vec<String>,
}

type Bench = (&'static str, fn(&std::path::Path) -> Result<Findings>);

const BENCHES: [Bench; 5] = [
    ("start", start::run),
    ("size", size::run),
    ("minimal", minimal::run),
    ("watch", watch::run),
    ("pack", pack::run),
];

/// Runs the named benchmarks, or all; `--record` adds what they found to docs/benchmarks.md,
/// `--as-built` takes `dist/` as it is.
pub(crate) fn run(args: &[String]) -> Result {
    let (options, wanted): (Vec<&String>, Vec<&String>) = args.iter().partition(|a| a.starts_with("--"));
    let [record, as_built] = ["--record", "--as-built"].map(|o| options.iter().any(|a| *a == o));
    if let Some(unknown) = wanted.iter().find(|w| BENCHES.iter().all(|b| b.0 != **w)) {
        return Err(format!("no benchmark is called {unknown}").into());
    }
    if !shell::is_root() {
        return Err("benchmarks need root: sudo would be measured too".into());
    }
    apt::ensure(apt::BENCHES);
    let dist = if as_built { house::top().join("dist") } else { build::release()? };
    let mut all = Vec::new();
    for (name, bench) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|w| *w == name) {
            let found = bench(&dist)?;
            println!("\n{}\n", found.text(table::columns));
            all.push(found);
        }
    }
    if record { machine::record(&all) } else { Ok(()) }
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
