//! `./x bench exec`: the time to the first byte of a command that is executed in a running container,
//! and of an attach to it.

use std::path::Path;

use super::fleet::Fleet;
use super::runtimes::{self, Ground, Runtime, Words};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

const ROUNDS: u32 = 60;
const PAUSED_ROUNDS: u32 = 20;
const PAUSE_MS: u64 = 100;

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::new(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let runtimes = runtimes::all(&state, &ground)?;
    let mut rows = vec![row(["time to the first byte", "median", "fastest", "90 %", "paused"])];
    for runtime in &runtimes {
        let name = runtime.name.split(" run").next().unwrap_or_default();
        let exec = runtime.detach.as_ref().zip(runtime.exec.as_ref());
        if let Some((detach, exec)) = exec {
            rows.extend(measure(&format!("{name} exec"), runtime, (detach, exec, Until::Byte), ask));
        }
        let attach = runtime.echo.as_ref().zip(runtime.attach.as_ref());
        if let Some((echo, attach)) = attach {
            rows.extend(measure(&format!("{name} attach"), runtime, (echo, attach, Until::Echo), ask));
        }
    }
    Ok(Findings {
        title: "Exec and attach: time to the first byte",
        tables: vec![rows],
        notes: vec![format!(
            "Milliseconds, hot and with a pause of {PAUSE_MS} ms before each. exec: a static program in a running container says one \
             line. attach: the container's process is sent a line and says it again. crun, runc and lxc cannot attach."
        )],
    })
}

/// A row; who does not work is said and left out.
fn measure(
    label: &str,
    runtime: &Runtime,
    (detach, command, until): (&Words, &Words, Until),
    ask: &Ask,
) -> Option<Vec<String>> {
    let times = || -> Result<[Samples; 2]> {
        let mut fleet = Fleet::new(runtime, detach)?;
        fleet.grow(1)?;
        let mut timer = Timer::start(&runtime.wrapper, &[command], until)?;
        let hot = sample(&mut timer, ask.rounds(ROUNDS), 0)?;
        Ok([hot, sample(&mut timer, ask.rounds(PAUSED_ROUNDS), PAUSE_MS)?])
    };
    match times() {
        Ok([hot, paused]) => {
            let times = [hot.median(), hot.quantile(0.0), hot.quantile(0.9), paused.median()];
            let cells = times.map(|t| format!("{t:.2}"));
            Some([vec![label.to_owned()], cells.to_vec()].concat())
        }
        Err(error) => {
            println!("SKIPPED: {label}: {error}");
            None
        }
    }
}

fn sample(timer: &mut Timer, rounds: u32, pause_ms: u64) -> Result<Samples> {
    let mut samples = Samples::default();
    for round in 0..=rounds {
        shell::unless_interrupted()?;
        let times = timer.laps(Fleet::first(), 1, pause_ms)?.concat();
        samples.extend(times.into_iter().filter(|_| round > 0));
    }
    Ok(samples)
}
