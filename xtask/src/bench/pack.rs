//! `./x bench pack`: how long packing and installing take, for nginx.

use std::path::Path;
use std::time::Instant;

use super::samples::Samples;
use super::services::{self, NGINX};
use super::{Findings, State, row};
use crate::house;
use crate::shell::Result;

const ROUNDS: usize = 7;

pub(crate) fn run(dist: &Path) -> Result<Findings> {
    let state = State::on_hosts_network(dist, &house::target())?;
    let package = services::text(&state.file("nginx.tsubo"));
    NGINX.develop(&state)?;
    NGINX.test(&state, &[&NGINX.script("exercise")])?;
    let pack = time(|| state.quiet(&["pack", "nginx", "--no-replay", "-o", &package]).map(drop))?;
    let install = |options: &[&str]| {
        let words = [&["install", &package][..], options].concat();
        fresh(dist, &words)
    };
    let (synced, unsynced) = (install(&[])?, install(&["--no-sync"])?);
    let mut rows = vec![row(["nginx", "median ms", "fastest", "slowest", "goal"])];
    for (what, samples, goal) in [
        ("pack without the replay", pack, "1000"),
        ("install", synced, "-"),
        ("install without the final sync", unsynced, "50"),
    ] {
        let times =
            [samples.median(), samples.quantile(0.0), samples.quantile(1.0)].map(|t| format!("{t:.1}"));
        rows.push(row([what, &times[0], &times[1], &times[2], goal]));
    }
    Ok(Findings {
        title: "Packing and installing",
        tables: vec![rows],
        notes: vec![format!(
            "{ROUNDS} rounds each; every install goes into a state directory of its own, so nothing is there yet."
        )],
    })
}

fn time(mut work: impl FnMut() -> Result) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work()?;
        samples.extend([began.elapsed().as_secs_f64() * 1e3]);
    }
    Ok(samples)
}

/// Times a command, each time over an empty state directory.
fn fresh(dist: &Path, words: &[&str]) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let state = State::on_hosts_network(dist, &house::target())?;
        let began = Instant::now();
        state.quiet(words)?;
        samples.extend([began.elapsed().as_secs_f64() * 1e3]);
    }
    Ok(samples)
}
