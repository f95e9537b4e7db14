//! A day of a hosting site in two minutes: what it takes of the memory when only what is asked for runs.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::asked::{self, Answer, Summary};
use super::gate::{Gate, Served, family_of};
use super::packed::{PORT, STATIC};
use super::{Home, Part};
use crate::bench::footprint::processes::{Share, called};
use crate::bench::samples::Samples;
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

const SITES: u32 = 100;
const VISITS: u32 = 1200;

/// A day lasts so many seconds.
const SECONDS: u32 = 120;
const DAY: f64 = 86_400.0;

/// What each site holds of the memory, as one with a program of its own does.
const HOLDS: &str = "hold=8";

/// The program of a site.
const SERVER: &str = "/bin/server";

/// How often somebody looks at the memory.
const LOOK: Duration = Duration::from_millis(500);

/// After what time without requests a site stops, in seconds of its day.
const IDLE: [(&str, f64); 2] = [("5 min", 300.0), ("30 min", 1800.0)];

pub(super) fn measure(ask: &Ask, home: &Home) -> Result<Part> {
    home.install_static()?;
    let seconds = if ask.quick { SECONDS / 4 } else { SECONDS };
    let numbers = [SITES, VISITS, seconds].map(|n| n.to_string());
    let schedule = shell::read(Command::new(home.ground.dir.join("day")).args(numbers))?;
    let mut rows = vec![row([
        "idle time",
        "requests",
        "errors",
        "starts",
        "cold of 100",
        "cold ms",
        "99 %",
        "slowest",
        "warm ms",
        "99 %",
        "slowest",
        "instances",
        "memory MiB",
        "to always-on",
    ])];
    let always = Day::live(home, "min = 1\nidle = \"never\"", &schedule, SITES as usize)?;
    for (name, idle) in IDLE {
        let idle = idle * f64::from(seconds) / DAY * 1e3;
        let day = Day::live(home, &format!("idle = \"{idle:.0}ms\""), &schedule, 0)?;
        rows.push(day.row(name, &always));
    }
    rows.push(always.row("always on", &always));
    Ok(Part { tables: vec![rows], note: NOTE })
}

const NOTE: &str = "Day: a hundred sites (bench/gateway/day.c: popularity after Zipf, visits of several pages along the curve of a day, and three crowds), each of which \
    keeps 8 MiB; 24 hours in \
    120 seconds, with idle times as much shorter; starts take as long as ever, so each is as if it took twelve minutes for every second. Cold: answers that are the first of a \
    server; instances and memory (PSS of the gateway, the keepers and the servers) are means over the day.";

/// One day.
struct Day {
    told: Summary,
    instances: f64,
    /// MiB.
    memory: f64,
}

impl Day {
    /// With all sites handled alike; `running` of them from the start.
    fn live(home: &Home, activation: &str, schedule: &str, running: usize) -> Result<Self> {
        let site = |n| Served {
            more: format!("command = [\"{SERVER}\", \"{PORT}\", \"{HOLDS}\"]"),
            ..Served::new(&format!("s{n}"), STATIC, PORT, activation)
        };
        let served: Vec<Served> = (0..SITES).map(site).collect();
        let gate = Gate::open(home, &served)?;
        gate.until_running(running)?;
        let (answers, looks) = watched(gate.pid(), || home.ask(gate.port, schedule))?;
        let mean = |which: fn(&Look) -> f64| looks.iter().map(which).sum::<f64>() / looks.len().max(1) as f64;
        Ok(Self {
            told: Summary::of(&answers),
            instances: mean(|look| look.instances),
            memory: mean(|look| look.memory),
        })
    }

    fn row(&self, name: &str, always: &Self) -> Vec<String> {
        let Self { told, instances, memory } = self;
        let share = told.starts as f64 / told.asked as f64 * 100.0;
        let counts = [told.asked.to_string(), told.failures(), told.starts.to_string()];
        let times = |samples: &Samples| asked::cells(samples);
        let ends =
            [format!("{instances:.1}"), format!("{memory:.1}"), format!("{:.2}", memory / always.memory)];
        [
            vec![name.to_owned()],
            counts.to_vec(),
            vec![format!("{share:.1}")],
            times(&told.cold),
            times(&told.warm),
            ends.to_vec(),
        ]
        .concat()
    }
}

/// What is there at one moment.
struct Look {
    instances: f64,
    memory: f64,
}

/// Looks now and then while something is done.
fn watched(gateway: u32, work: impl FnOnce() -> Result<Vec<Answer>>) -> Result<(Vec<Answer>, Vec<Look>)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                looks.push(look(gateway));
                thread::sleep(LOOK.saturating_sub(began.elapsed()));
            }
            looks
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        Ok((done?, looking.join().map_err(|_| "nobody looked")?))
    })
}

/// The sites that run, and the memory of the gateway and all that it has started.
fn look(gateway: u32) -> Look {
    let all = family_of(gateway);
    let running = all.iter().filter(|pid| called(**pid) == SERVER).count();
    Look { instances: running as f64, memory: Share::of(&all).pss as f64 / 1024.0 }
}
