//! `./x bench burst`: many starts at once on two cores.

use std::path::Path;

use super::runtimes::{self, Ground, Runtime};
use super::samples::Samples;
use super::timer::{Timer, Until};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

const AT_ONCE: u32 = 200;
const ROUNDS: u32 = 5;
const WHO: [&str; 6] =
    ["tsubo run --rm", "floor", "floor, our default", "bubblewrap (no cgroup)", "crun", "runc"];

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let mut runtimes = runtimes::select(&runtimes::all(&state, &ground)?, &WHO);
    runtimes.insert(1, named(&runtimes[0]));
    let count = ask.count.unwrap_or(AT_ONCE);
    let title = format!("{count} at once");
    let mut rows = vec![row([&title, "failed", "median s", "slowest", "per second"])];
    let mut timers = runtimes.iter().map(timer).collect::<Result<Vec<_>>>()?;
    let mut all = vec![(Samples::default(), 0); timers.len()];
    for _ in 0..ask.rounds(ROUNDS) {
        for (timer, (seconds, failed)) in timers.iter_mut().zip(&mut all) {
            shell::unless_interrupted()?;
            let (taken, more) = timer.burst(0, count)?;
            seconds.extend([taken / 1e3]);
            *failed += more;
        }
    }
    for (runtime, (seconds, failed)) in runtimes.iter().zip(&all) {
        let (median, slowest) = (seconds.median(), seconds.quantile(1.0));
        let fine = f64::from(count) - *failed as f64 / f64::from(ask.rounds(ROUNDS));
        let rate = format!("{:.0}", fine / median);
        rows.push(row([
            &runtime.name,
            &failed.to_string(),
            &format!("{median:.2}"),
            &format!("{slowest:.2}"),
            &rate,
        ]));
    }
    Ok(Findings {
        title: "Burst: many starts at once on two cores",
        tables: vec![rows],
        notes: vec![note(ask)],
    })
}

/// tsubo, told the name of each container: without, all of them look for a free one.
fn named(tsubo: &Runtime) -> Runtime {
    let mut run = tsubo.run.clone();
    let options = run.iter().position(|word| word == "--rm").unwrap_or(run.len());
    run.splice(options..options, ["--name", "b{}"].map(str::to_owned));
    Runtime { name: format!("{} --name", tsubo.name), run, ..tsubo.clone() }
}

fn note(ask: &Ask) -> String {
    format!(
        "Medians of {} rounds in turns, from the first command to the exit status of the last. A start that fails counts; \
         none may of tsubo's.",
        ask.rounds(ROUNDS)
    )
}

/// A timer that has two cores, however many there are.
fn timer(runtime: &Runtime) -> Result<Timer> {
    let two = ["taskset", "-c", "0,1"].map(str::to_owned);
    let more = std::thread::available_parallelism()?.get() > 2;
    let wrapper = [if more { &two[..] } else { &[] }, &runtime.wrapper].concat();
    Timer::start(&wrapper, &[&runtime.run], Until::Burst)
}
