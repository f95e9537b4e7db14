//! `./x bench sampler`: what it takes to know the figures of a thousand idle containers.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::runtimes::{self, Ground};
use super::{Ask, Findings, State, row};
use crate::shell::{self, Result};

const COUNT: u32 = 1000;
const WATCHED: Duration = Duration::from_secs(60);
/// Its first steps read everything.
const SETTLED: Duration = Duration::from_secs(11);
/// /proc counts in these.
const TICKS: f64 = 100.0;

pub(crate) fn run(ask: &Ask) -> Result<Findings> {
    let state = State::on_hosts_network(&ask.dist, Path::new("/var/tmp"))?;
    let ground = Ground::lay(&state.file("g"))?;
    let all = runtimes::all(&state, &ground)?;
    let runtime = runtimes::select(&all, &["tsubo run --rm"]).pop().ok_or("no tsubo")?;
    let mut rows = vec![row(["running", "seconds", "user ms", "system ms", "of one core", "resident MB"])];
    let mut fleet = Fleet::new(&runtime, runtime.detach.as_ref().ok_or("nothing to leave running")?)?;
    for count in [10, ask.count.unwrap_or(COUNT)] {
        fleet.grow(count)?;
        let sampler = Sampler::start(state.tsubo(&["sampler"]))?;
        pause(SETTLED)?;
        let (before, began) = (sampler.time()?, Instant::now());
        pause(if ask.quick { WATCHED / 6 } else { WATCHED })?;
        let (after, seconds) = (sampler.time()?, began.elapsed().as_secs_f64());
        let spent = [after.0 - before.0, after.1 - before.1].map(|ticks| ticks / TICKS);
        rows.push(row([
            &count.to_string(),
            &format!("{seconds:.0}"),
            &format!("{:.0}", spent[0] * 1000.0),
            &format!("{:.0}", spent[1] * 1000.0),
            &format!("{:.2} %", (spent[0] + spent[1]) / seconds * 100.0),
            &format!("{:.1}", sampler.resident()? / 1e6),
        ]));
    }
    let note = "User and system time of `tsubo sampler` over a minute, after its first steps. Every container is looked at \
        every 5 seconds and read in full once a minute. Goal: less than 1 % of one core with 1,000 mostly idle containers.";
    Ok(Findings { title: "Sampler: figures of all containers", tables: vec![rows], notes: vec![note.into()] })
}

fn pause(time: Duration) -> Result {
    std::thread::sleep(time);
    shell::unless_interrupted()
}

/// One that ends with the benchmark.
struct Sampler(Child);

impl Sampler {
    fn start(mut command: Command) -> Result<Self> {
        Ok(Self(command.stdout(Stdio::null()).spawn()?))
    }

    fn read(&self, file: &str) -> Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/{file}", self.0.id()))?)
    }

    /// Ticks in programs and in the kernel.
    fn time(&self) -> Result<(f64, f64)> {
        let stat = self.read("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        Ok((number(11).ok_or("no time")?, number(12).ok_or("no time")?))
    }

    /// Bytes.
    fn resident(&self) -> Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(line.and_then(|size| size.parse::<f64>().ok()).ok_or("no size")? * 1024.0)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
