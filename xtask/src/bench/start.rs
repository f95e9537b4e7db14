//! `./x bench start`: a static program in a container, from the command to its exit status.

use std::path::Path;

use super::runtimes::{Ground, Runtime};
use super::samples::Samples;
use super::timer::Timer;
use super::{Findings, State, row};
use crate::shell::Result;

/// Starts of each runtime in a row, then the next one's turn: what is near in time is comparable.
const BLOCK: u32 = 10;
const ROUNDS: u32 = 20;
const PAUSED_ROUNDS: u32 = 25;
const PAUSE_MS: u64 = 100;

pub(crate) fn run(dist: &Path) -> Result<Findings> {
    // Short paths: podman refuses a long one.
    let state = State::new(dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let mut runtimes = ground.runtimes();
    runtimes.insert(0, tsubo(&state, &ground)?);
    let mut timers = Vec::new();
    for runtime in &runtimes {
        match start(runtime) {
            Ok(timer) => timers.push((runtime.name.clone(), timer)),
            Err(error) => println!("SKIPPED: {} does not work on this host: {error}", runtime.name),
        }
    }
    let hot = measure(&mut timers, ROUNDS, |timer| Ok(timer.time(BLOCK, 0)?.split_off(1)))?;
    let paused = measure(&mut timers, PAUSED_ROUNDS, |timer| timer.time(1, PAUSE_MS))?;
    Ok(Findings {
        title: "Start: a static program, from the command to its exit status",
        tables: vec![tabulate("hot loop", &hot), tabulate("100 ms pause before each", &paused)],
        notes: vec![NOTE.into()],
    })
}

const NOTE: &str = "Milliseconds. All in the same namespaces (mount, pid, ipc, uts, cgroup; the host's network), the same program, \
    in turns. The floor is bench/floor/floor.c: namespaces, control groups, 7 mounts, pivot_root, exec, wait, nothing else; no \
    state, no filter, no log. crun and runc load no system call filter here, tsubo does.";

/// A package of the same program, installed.
fn tsubo(state: &State, ground: &Ground) -> Result<Runtime> {
    let package = state.file("idle.tsubo");
    let (root, package) = (ground.root.to_string_lossy(), package.to_string_lossy());
    state.quiet(&["dev", "idle", "--from", &root, "--", "/bin/idle", "true"])?;
    state.quiet(&["test", "idle", "--ready", "0.2", "--", "/bin/idle"])?;
    state.quiet(&["pack", "idle", "-o", &package])?;
    state.quiet(&["install", &package])?;
    let command = state.tsubo(&["run", "--rm", "idle", "/bin/idle", "true"]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let argv = words.map(|w| w.to_string_lossy().into_owned()).collect();
    Ok(Runtime { name: "tsubo run --rm".into(), wrapper: Vec::new(), argv })
}

/// A timer whose command is known to work here.
fn start(runtime: &Runtime) -> Result<Timer> {
    let mut timer = Timer::start(&runtime.wrapper, &runtime.argv)?;
    timer.time(3, 0)?;
    Ok(timer)
}

fn measure(
    timers: &mut [(String, Timer)],
    rounds: u32,
    turn: fn(&mut Timer) -> Result<Vec<f64>>,
) -> Result<Vec<(String, Samples)>> {
    let mut all: Vec<(String, Samples)> = timers.iter().map(|t| (t.0.clone(), Samples::default())).collect();
    for _ in 0..rounds {
        for ((name, timer), (_, samples)) in timers.iter_mut().zip(&mut all) {
            samples.extend(turn(timer).map_err(|e| format!("{name}: {e}"))?);
        }
    }
    Ok(all)
}

fn tabulate(title: &str, all: &[(String, Samples)]) -> Vec<Vec<String>> {
    let median = |name: &str| all.iter().find(|a| a.0 == name).map_or(f64::NAN, |a| a.1.median());
    let (floor, crun) = (median("floor"), median("crun"));
    let mut rows = vec![row([title, "median", "fastest", "90 %", "to the floor", "to crun"])];
    for (name, samples) in all {
        let times =
            [samples.median(), samples.quantile(0.0), samples.quantile(0.9)].map(|t| format!("{t:.2}"));
        let ratios = [samples.median() / floor, samples.median() / crun].map(|r| format!("{r:.2}"));
        rows.push([vec![name.clone()], times.to_vec(), ratios.to_vec()].concat());
    }
    rows
}
