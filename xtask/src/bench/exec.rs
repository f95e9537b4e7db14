//! `./x bench exec`: the time to the first byte of a command that is executed in a running container,
//! and of an attach to it.

use std::path::Path;

use super::fleet::Fleet;
use super::runtimes::{self, Ground, Runtime, Words};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

const ROUNDS: u32 = 40;
const PAUSED_ROUNDS: u32 = 20;
const PAUSE_MS: u64 = 100;

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
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
        // An engine may close the container's input with the first who attached: to each a fresh one.
        let fresh = until == Until::Echo;
        let (hot, paused) = (ask.rounds(ROUNDS), ask.rounds(PAUSED_ROUNDS));
        let mut fleet = Fleet::new(runtime, detach)?;
        fleet.grow(if fresh { hot + paused + 2 } else { 1 })?;
        let mut timer = Timer::start(&runtime.wrapper, &[command], until)?;
        let mut sample = |first: u32, rounds: u32, pause_ms: u64| -> Result<Samples> {
            let mut samples = Samples::default();
            for round in 0..=rounds {
                shell::unless_interrupted()?;
                let number = Fleet::first() + if fresh { first + round } else { 0 };
                let times = timer.laps(number, 1, pause_ms)?.concat();
                samples.extend(times.into_iter().filter(|_| round > 0));
            }
            Ok(samples)
        };
        Ok([sample(0, hot, 0)?, sample(hot + 1, paused, PAUSE_MS)?])
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
