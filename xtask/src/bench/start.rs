//! `./x bench start`: a static program in a container, from the command to its exit status.

use std::path::Path;

use super::runtimes::{self, Ground, Runtime};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

/// Starts of each runtime in a row, then the next one's turn: what is near in time is comparable.
const BLOCK: u32 = 10;
const ROUNDS: u32 = 20;
const PAUSED_ROUNDS: u32 = 25;
const PAUSE_MS: u64 = 100;

type Measured = Vec<(String, Samples)>;

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    // Short paths: podman refuses a long one.
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let mut runtimes = runtimes::all(&state, &ground)?;
    runtimes.retain(|r| !r.run.is_empty());
    let mut timers = working(&runtimes);
    let hot = measure(&mut timers, ask.rounds(ROUNDS), |timer| Ok(timer.time(BLOCK, 0)?.split_off(1)))?;
    let paused = measure(&mut timers, ask.rounds(PAUSED_ROUNDS), |timer| timer.time(1, PAUSE_MS))?;
    Ok(Findings {
        title: "Start: a static program, from the command to its exit status",
        tables: vec![
            tabulate("hot loop", &hot),
            tabulate("100 ms pause before each", &paused),
            goals(&hot, &paused),
        ],
        notes: vec![NOTE.into()],
    })
}

const NOTE: &str = "Milliseconds. All in the same namespaces (mount, pid, ipc, uts, cgroup; the host's network), the same program, \
    in turns. The floor is bench/floor: namespaces, control groups, 7 mounts, pivot_root, exec, wait, nothing else; no state, no \
    filter, no log. The floor of our default makes the same and what tsubo's default is made of: a user namespace with 65,536 ids, \
    the tree shown in them through a read-only idmapped mount, no_new_privs, no capability, a filter of 297 instructions. \
    bubblewrap, crun, runc and lxc load no filter here and map no ids; lxc runs the program below an init of its own.";

/// Timers of those whose command works here.
fn working(runtimes: &[Runtime]) -> Vec<(String, Timer)> {
    let mut timers = Vec::new();
    for runtime in runtimes {
        match start(runtime) {
            Ok(timer) => timers.push((runtime.name.clone(), timer)),
            Err(error) => println!("SKIPPED: {} does not work on this host: {error}", runtime.name),
        }
    }
    timers
}

/// A timer whose command is known to work here.
pub(crate) fn start(runtime: &Runtime) -> Result<Timer> {
    let mut timer = Timer::start(&runtime.wrapper, &[&runtime.run], Until::Success)?;
    timer.time(3, 0)?;
    Ok(timer)
}

fn measure(
    timers: &mut [(String, Timer)],
    rounds: u32,
    turn: fn(&mut Timer) -> Result<Vec<f64>>,
) -> Result<Measured> {
    let mut all: Measured = timers.iter().map(|t| (t.0.clone(), Samples::default())).collect();
    for _ in 0..rounds {
        for ((name, timer), (_, samples)) in timers.iter_mut().zip(&mut all) {
            shell::unless_interrupted()?;
            samples.extend(turn(timer).map_err(|e| format!("{name}: {e}"))?);
        }
    }
    Ok(all)
}

fn median(all: &Measured, name: &str) -> f64 {
    all.iter().find(|a| a.0 == name).map_or(f64::NAN, |a| a.1.median())
}

fn tabulate(title: &str, all: &Measured) -> Vec<Vec<String>> {
    let against = ["floor", "floor, our default", "crun"].map(|name| median(all, name));
    let mut rows =
        vec![row([title, "median", "fastest", "90 %", "to the floor", "to our default's floor", "to crun"])];
    for (name, samples) in all {
        let times =
            [samples.median(), samples.quantile(0.0), samples.quantile(0.9)].map(|t| format!("{t:.2}"));
        let ratios = against.map(|other| format!("{:.2}", samples.median() / other));
        rows.push([vec![name.clone()], times.to_vec(), ratios.to_vec()].concat());
    }
    rows
}

/// What a pause costs each, and what was promised of tsubo.
fn goals(hot: &Measured, paused: &Measured) -> Vec<Vec<String>> {
    let mut rows = vec![row(["", "paused to hot", "goal"])];
    for (name, samples) in hot {
        let ratio = format!("{:.2}", median(paused, name) / samples.median());
        rows.push(row([name, &ratio, if name == TSUBO { "1.6" } else { "" }]));
    }
    let mut goal = |what: &str, over: f64, under: f64, goal: &str| {
        rows.push(row([what, &format!("{:.2}", over / under), goal]));
    };
    goal("tsubo to the floor, hot", median(hot, TSUBO), median(hot, "floor"), "1.6, aim 1.25");
    goal("tsubo to crun, paused", median(paused, TSUBO), median(paused, "crun"), "0.3");
    rows
}

const TSUBO: &str = "tsubo run --rm";
