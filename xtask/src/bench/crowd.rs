//! `./x bench crowd`: create, start and delete, with ever more containers running.

use std::path::Path;

use super::fleet::{self, Fleet};
use super::runtimes::{self, Ground, Runtime, Words};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State};
use crate::shell::{self, Result};

const CROWD: u32 = 1000;
const ROUNDS: u32 = 30;
const WHO: [&str; 3] = ["tsubo run --rm", "floor", "crun"];

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let mut tables = Vec::new();
    for runtime in runtimes::select(&runtimes::all(&state, &ground)?, &WHO) {
        tables.push(table(&runtime, ask)?);
    }
    Ok(Findings {
        title: "Crowd: create, start and delete, while others run",
        tables,
        notes: vec![format!(
            "Medians of {} rounds, milliseconds from the command to its exit status. Goal: with {CROWD} running, a start takes at \
             most 1.3 times what it takes with one. Of the floor's, run is to the exit of what leaves the program running.",
            ask.rounds(ROUNDS)
        )],
    })
}

/// One row for each number of containers that are running.
fn table(runtime: &Runtime, ask: &Ask) -> Result<Vec<Vec<String>>> {
    let laps = laps(runtime);
    let name = runtime.name.split(" run").next().unwrap_or_default();
    let columns = laps.iter().flat_map(|lap| [&lap.names[..], &["to the first"]].concat());
    let mut rows = vec![[name, "running"].into_iter().chain(columns).map(str::to_owned).collect()];
    let detach = runtime.detach.as_ref().ok_or("nothing to leave running")?;
    let mut fleet = Fleet::new(runtime, detach)?;
    let mut first = Vec::new();
    for running in [1, 10, ask.count.unwrap_or(CROWD)] {
        fleet.grow(running)?;
        let mut row = vec![String::new(), running.to_string()];
        for (index, lap) in laps.iter().enumerate() {
            let medians = lap.measure(runtime, ask.rounds(ROUNDS))?;
            // All but the delete.
            let start: f64 = medians[..medians.len() - 1].iter().sum();
            first.resize(laps.len(), f64::NAN);
            first[index] = if first[index].is_nan() { start } else { first[index] };
            row.extend(medians.iter().map(|t| format!("{t:.2}")));
            row.push(format!("{:.2}", start / first[index]));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Commands that are timed one after the other, on one container; the last removes it.
struct Lap {
    names: Vec<&'static str>,
    commands: Vec<Words>,
}

/// In steps where the runtime has them, and in one.
fn laps(runtime: &Runtime) -> Vec<Lap> {
    let lap = |steps: &[(&'static str, &Option<Words>)]| {
        let commands = steps.iter().map(|s| s.1.clone()).collect::<Option<Vec<_>>>()?;
        Some(Lap { names: steps.iter().map(|s| s.0).collect(), commands })
    };
    let (create, start, remove) = (&runtime.create, &runtime.start, &runtime.remove);
    let steps = lap(&[("create", create), ("start", start), ("delete", remove)]);
    steps.into_iter().chain(lap(&[("run", &runtime.detach), ("delete", remove)])).collect()
}

impl Lap {
    /// The median of each command.
    fn measure(&self, runtime: &Runtime, rounds: u32) -> Result<Vec<f64>> {
        let commands: Vec<&Words> = self.commands.iter().collect();
        let mut timer = Timer::start(&runtime.wrapper, &commands, Until::Success)?;
        let mut samples = vec![Samples::default(); commands.len()];
        for round in 0..=rounds {
            shell::unless_interrupted()?;
            let times = timer.laps(round, 1, 0).inspect_err(|_| forget(runtime, round))?.concat();
            // The first pays for what the kernel and the disk have not yet got at hand.
            for (samples, time) in samples.iter_mut().zip(times).filter(|_| round > 0) {
                samples.extend([time]);
            }
        }
        Ok(samples.iter().map(Samples::median).collect())
    }
}

/// Removes what a lap that failed may have left.
fn forget(runtime: &Runtime, number: u32) {
    if let Some(remove) = &runtime.remove {
        let _ = fleet::remove_all(runtime, remove, number, 1);
    }
}
